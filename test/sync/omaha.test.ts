/** How an Omaha server is asked, and what is made of what it answers. Source: OMAHA.md, CLIENTS.md §3, NEBRASKA.md §1.9 and §4. */
import { describe, expect, it } from "vitest";
import { FLATCAR, STABLE_CHANNEL } from "../e2e/turnout.ts";
import {
  aFollower,
  answerOf,
  aServer,
  aVersion,
  type Follower,
  handmade,
  host,
  MAIN,
  manifestOf,
  NO_UPDATE,
  OEM,
  packagesOf,
  point,
  versionOf,
} from "./world.ts";

const [floor, step, target, later] = ["4081.2.0", "4152.2.0", "4230.2.1", "4593.2.0"].map((one) => aVersion(one));
if (!floor || !step || !target || !later) throw new Error("four versions are needed");

const floorsOf = async (site: Follower) => {
  const { packages } = await site.server.api<{ packages: { version: string; floor_reason: string }[] | null }>(
    "GET",
    `/channels/${STABLE_CHANNEL}/floors`,
  );
  return (packages ?? []).map((one) => `${one.version}: ${one.floor_reason}`);
};

describe("an Omaha server is asked", () => {
  it("as syncers ask, by the same one each time", async () => {
    const upstream = await handmade();
    upstream.offer(step);
    const site = await aFollower(upstream.omaha, { track: 'a "b" & <c>' });
    await site.sync();
    upstream.answer = NO_UPDATE;
    await site.check();
    const bootIds = upstream.asked.map((asked) => /bootid="(\{[\da-f-]{36}\})"/.exec(asked)?.[1] ?? "");
    const request = (version: string, bootId: string) =>
      '<?xml version="1.0" encoding="UTF-8"?>\n' +
      '<request protocol="3.0" version="CoreOSUpdateEngine-0.1.0.0" updaterversion="CoreOSUpdateEngine-0.1.0.0"' +
      ' installsource="scheduler" ismachine="1">' +
      `<os platform="CoreOS" version="Chateau" sp="${version}_x86_64" arch="x64"></os>` +
      `<app appid="{${FLATCAR}}" version="${version}" track="a &#34;b&#34; &#38; &#60;c&#62;" bootid="${bootId}"` +
      ` machineid="{${site.id}}" multi_manifest_ok="true"><updatecheck></updatecheck></app></request>`;
    expect(upstream.asked).toEqual([request("0.0.0", bootIds[0] ?? ""), request("4152.2.0", bootIds[1] ?? "")]);
  });

  it("for Flatcar by its UUID, also where it has another name here", async () => {
    const upstream = await handmade();
    upstream.offer(step);
    const server = await aServer();
    const app = await server.api("GET", `/apps/${FLATCAR}`);
    await server.api("PUT", `/apps/${FLATCAR}`, { ...app, product_id: "org.example.os" });
    const site = await aFollower(upstream.omaha, {}, server);
    expect(await site.sync()).toMatchObject({ last_error: null });
    expect(upstream.asked[0]).toContain(`appid="{${FLATCAR}}"`);
  });

  it.each([
    ["error-unknownApplicationOrGroup", "it does not know it, or not the track for this architecture"],
    ["error-updatesDisabled", "updates are switched off there, or only given at certain hours"],
    ["error-somethingNew", '"error-somethingNew" for the application'],
  ])("and when it answers %s, that is said in words", async (status, words) => {
    const upstream = await handmade();
    upstream.answer = NO_UPDATE.replace('status="ok"', `status="${status}"`);
    const { last_error: error } = await (await aFollower(upstream.omaha)).sync();
    expect(error).toContain(status);
    expect(error?.endsWith(words)).toBe(true);
  });
});

describe("a floor", () => {
  it("that is the channel's own package at a Turnout stays one when that channel leads beyond it", async () => {
    const central = await aServer();
    const stepId = await host(central, step);
    await point(central, stepId);
    await central.api("PUT", `/channels/${STABLE_CHANNEL}/floors/${stepId}`, { floor_reason: "cgroups" });
    const site = await aFollower(`${central.url}/v1/update/`);
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4152.2.0" });
    expect(await floorsOf(site)).toEqual(["4152.2.0: cgroups"]);
    await point(central, await host(central, target));
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
    expect(await floorsOf(site)).toEqual(["4152.2.0: cgroups"]);
  });

  it("is brought in when there are only floors, and is the next step, and none of them is passed later", async () => {
    const upstream = await handmade();
    upstream.offer(floor, step);
    const marked = (version: typeof floor) => manifestOf(version, ' is_floor="true" floor_reason="why"');
    upstream.answer = answerOf(`${upstream.url}/files/4152.2.0/`, marked(floor) + marked(step));
    const site = await aFollower(upstream.omaha);
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4152.2.0" });
    upstream.offer(target);
    expect(await site.check()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
    expect(await floorsOf(site)).toEqual(["4081.2.0: why", "4152.2.0: why"]);
  });

  it("is told from the target however truth is written", async () => {
    const upstream = await handmade();
    upstream.offer(floor, target);
    // The target is not the last one.
    const manifests = manifestOf(target, ' is_target="1"') + manifestOf(floor, ' is_floor="True"');
    upstream.answer = answerOf(`${upstream.url}/files/4230.2.1/`, manifests);
    const site = await aFollower(upstream.omaha);
    expect(await site.sync()).toMatchObject({ moved_to: "4230.2.1", found: { floors: ["4081.2.0"] } });
  });

  it("of a Nebraska that hosts files by their version's name is found, though all are in one folder", async () => {
    const upstream = await handmade();
    const named = (text: string, version: string) =>
      text.replace(MAIN, `flatcar-amd64-${version}.gz`).replace(OEM, `extrafile-amd64-${version}-${OEM}`);
    for (const { version, payload, oem } of [floor, target]) {
      upstream.files.set(`flatcar-amd64-${version}.gz`, payload);
      upstream.files.set(`extrafile-amd64-${version}-${OEM}`, oem);
    }
    const manifests =
      named(manifestOf(floor, ' is_floor="true"'), floor.version) +
      named(manifestOf(target, ' is_target="true"'), target.version);
    upstream.answer = answerOf(`${upstream.url}/files/`, manifests);
    const site = await aFollower(upstream.omaha);
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
    expect(Object.keys(await packagesOf(site.server))).toEqual(["4230.2.1", "4081.2.0"]);
  });
});

describe("a release", () => {
  it("that a package is here of, by another tool and not whole, makes it whole", async () => {
    const upstream = await handmade();
    upstream.offer(target);
    const site = await aFollower(upstream.omaha);
    const url = "https://mirror.example/a/";
    const body = {
      type: 1,
      arch: 1,
      version: target.version,
      url,
      filename: "",
      size: "",
      flatcar_action: { sha256: "" },
    };
    await site.server.api("POST", `/apps/${FLATCAR}/packages`, body);
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
    expect((await packagesOf(site.server))["4230.2.1"]).toMatchObject({ url, filename: MAIN, missing: [] });
  });

  const withoutAction = (text: string) => text.replace(/<actions>.*<\/actions>/, "<actions></actions>");

  it("of Flatcar that has no action is not offered: every node would fail with it", async () => {
    const upstream = await handmade();
    upstream.offer(target);
    upstream.answer = withoutAction(String(upstream.answer));
    const site = await aFollower(upstream.omaha);
    expect(await site.sync()).toMatchObject({
      last_error: "4230.2.1 can't be offered: it has no action for postinstall, without which no node takes it",
      moved_to: null,
    });
    expect(await packagesOf(site.server)).toEqual({});
  });

  it.each([
    ["semver", "4230.2.1", "0.0.0"],
    ["four-part", "1.3.36.102", "0.0.0.0"],
  ])("of another application needs none, but a hash that shows what has come: %s", async (scheme, version, none) => {
    const upstream = await handmade();
    upstream.offer(target);
    const server = await aServer();
    const { id: app } = await server.api<{ id: string }>("POST", "/apps", {
      name: "x",
      product_id: "org.example.x",
      version_scheme: scheme,
    });
    const channel = { name: "main", color: "#14b9d6", arch: 1, application_id: app };
    const { id: channelId } = await server.api<{ id: string }>("POST", `/apps/${app}/channels`, channel);
    const { id } = await server.api<{ id: string }>("POST", `/apps/${app}/upstreams`, {
      url: upstream.omaha,
      track: "main",
      channel_id: channelId,
      policy: "follow",
      private_addresses: true,
    });
    const site = { path: `/apps/${app}/upstreams/${id}` };
    const checked = async () => {
      await server.api("POST", `${site.path}/check`);
      await server.turnout.syncing.idle();
      return (await server.api<{ state: { last_error: string | null } }>("GET", site.path)).state;
    };
    const theirs = withoutAction(String(upstream.answer)).replace(`{${FLATCAR}}`, "org.example.x");
    const answer = theirs.replaceAll('version="4230.2.1"', `version="${version}"`);
    upstream.answer = answer.replace(/(name="flatcar_production_update.gz") hash="[^"]*"/, "$1");
    expect((await checked()).last_error).toBe(
      `${version} can't be offered: its file flatcar_production_update.gz has no hash`,
    );
    upstream.answer = answer;
    expect(await checked()).toMatchObject({ last_error: null, moved_to: version });
    expect(upstream.asked[0]).toContain(`version="${none}"`);
    expect(await versionOf(server)).toBeNull();
    upstream.answer = answer.replace(`version="${version}"`, 'version="4230.2"');
    expect((await checked()).last_error).toContain('"4230.2" is no version');
  });
});
