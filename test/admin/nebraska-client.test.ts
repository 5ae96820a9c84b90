/** What tools and pages written for Nebraska's API do with it, on the real server, by a client that takes nothing else. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  type Group,
  type GroupConfig,
  KEYS,
  NebraskaClient,
  type Package,
  type PackageConfig,
  Refused,
} from "../clients/nebraska-api.ts";
import { aTurnout, checks, FLATCAR, reports, STABLE_CHANNEL, STABLE_GROUP, type TestTurnout } from "../e2e/turnout.ts";
import { NOWHERE } from "./api.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const PAGE = readFileSync(resolve(ROOT, "docs/nebraska-compatibility.md"), "utf8");
const SHA1 = "r3nufcxgMTZaxYEqL+x2zIoeClk=";
const SHA256 = "LIkAKVZY2EJFiwTmltiJZLFLA5xT/FodbjVgqkyF/y8=";

let turnout: TestTurnout;
let client: NebraskaClient;
beforeEach(async () => {
  turnout = await aTurnout();
  client = new NebraskaClient(turnout.url);
});
afterEach(() => turnout.close());

const aRelease = (version: string, changes: Partial<PackageConfig> = {}): PackageConfig => ({
  application_id: FLATCAR,
  type: 1,
  arch: 1,
  version,
  url: `https://update.release.flatcar-linux.net/amd64-usr/${version}/`,
  filename: "flatcar_production_update.gz",
  description: `Flatcar Container Linux ${version}`,
  size: "465881871",
  hash: SHA1,
  flatcar_action: { sha256: SHA256 },
  channels_blacklist: [],
  ...changes,
});
const aGroup = (changes: Partial<GroupConfig> = {}): GroupConfig => ({
  name: "Lab",
  policy_updates_enabled: true,
  policy_safe_mode: false,
  policy_office_hours: false,
  policy_timezone: "Europe/Berlin",
  policy_period_interval: "15 minutes",
  policy_max_updates_per_period: 10,
  policy_update_timeout: "60 minutes",
  ...changes,
});

/** The status of what must be refused, with a message that its caller can show. */
async function refusal(call: Promise<unknown>): Promise<number> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    expect(error.message).not.toBe("");
    return error.status;
  }
  throw new Error("it was not refused");
}

describe("a release script", () => {
  it("adds a package with its further files, marks a floor, and points the channel", async () => {
    const packages = client.packages(FLATCAR);
    expect(await packages.list({ searchVersion: "4230.2.1" })).toEqual({ total: 0, items: [] });
    const floor = await packages.create(aRelease("4100.0.0"));
    const made = await packages.create(aRelease("4230.2.1"));
    expect(await refusal(packages.create(aRelease("4230.2.1")))).toBe(409);

    const azure = { name: "oem-azure.gz", size: "41870233", hash: SHA1, hash256: "df".repeat(32) };
    const vmware = { ...azure, name: "oem-vmware.gz", hash: "", hash256: "" };
    const { id, version } = made;
    const withFiles = await packages.update(id, aRelease(version, { extra_files: [azure, vmware] }));
    expect(withFiles.extra_files).toMatchObject([
      { ...azure, package_id: id },
      { ...vmware, package_id: id },
    ]);
    // The action is known by the package: sending its hash again, with its id or without, makes no second one.
    expect(withFiles.flatcar_action).toEqual(made.flatcar_action);
    const action = { id: withFiles.flatcar_action?.id ?? "", sha256: SHA256 };
    const [kept] = withFiles.extra_files ?? [];
    const smaller = aRelease(version, { flatcar_action: action, extra_files: [{ ...azure, id: kept?.id ?? 0 }] });
    expect((await packages.update(id, smaller)).extra_files).toEqual([kept]);

    const channels = client.channels(FLATCAR);
    const stable = (await channels.list({ page: 1, perpage: 100 })).items.find(({ id }) => id === STABLE_CHANNEL);
    expect(stable).toMatchObject({ name: "stable", arch: 1, package_id: null, package: null });
    await client.setFloor(STABLE_CHANNEL, floor.id, "it brings the new bootloader");
    const body = { name: "stable", color: "#14b9d6", arch: 1, application_id: FLATCAR };
    const pointed = await channels.update(STABLE_CHANNEL, { ...body, package_id: id });
    expect(pointed.package).toEqual(await packages.read(id));
    expect((await packages.list({ searchVersion: "4230" })).items.map((one) => one.id)).toEqual([id]);

    expect(await turnout.omaha(checks({ version: "4081.2.0" }))).toContain('<manifest version="4100.0.0"');
    expect(await turnout.omaha(checks({ version: "4100.0.0" }))).toContain('<manifest version="4230.2.1"');
    const since = { start: "2020-01-01T00:00:00Z", end: "2099-01-01T00:00:00Z" };
    const moves = await client.activity({ ...since, channelID: STABLE_CHANNEL, page: 1, perpage: 10 });
    expect(moves.items).toMatchObject([{ class: 6, severity: 2, version, group_id: null, channel_name: "stable" }]);
  });

  it("lists packages by the number of their version, page by page, none twice", async () => {
    const versions = ["9.0.0", "10.0.0", "10.0.0-rc1", "2.11.3", "2.9.30"];
    for (const version of versions) await client.packages(FLATCAR).create(aRelease(version));
    for (let minor = 0; minor < 8; minor += 1) await client.packages(FLATCAR).create(aRelease(`1.${minor}.0`));
    const pages = [];
    for (const page of [0, 1, 2, 3])
      pages.push(await client.packages(FLATCAR).list({ page, ...(page > 0 && { perpage: 10 }) }));
    const [zeroth, first, second, third] = pages.map(({ items }) => items.map(({ version }) => version));
    expect(zeroth).toEqual(first);
    expect(first?.slice(0, 5)).toEqual(["10.0.0", "10.0.0-rc1", "9.0.0", "2.11.3", "2.9.30"]);
    expect(new Set([...(first ?? []), ...(second ?? [])]).size).toBe(13);
    expect(third).toEqual([]);
    expect(pages.map(({ total }) => total)).toEqual([13, 13, 13, 13]);
  });

  it("adds packages of other kinds with what it has to say of them", async () => {
    const app = await client.apps.create({ name: "Billing", product_id: "io.example.billing" });
    const body = aRelease("1.0.0", {
      application_id: app.id,
      type: 4,
      url: "registry.example.org/billing",
      filename: "",
      size: "",
      hash: "sha256:0f9a",
      flatcar_action: { sha256: "" },
    });
    const made = await client.packages("IO.Example.Billing").create(body);
    expect(made).toMatchObject({ type: 4, filename: "", size: "", hash: "sha256:0f9a", flatcar_action: null });
    expect(await client.packages(app.id).update(made.id, { ...body, application_id: "io.example.billing" })).toEqual(
      made,
    );
    for (const wrong of [
      { filename: ".." },
      { filename: "a/b" },
      { size: "1 MB" },
      { url: "a b" },
      { hash: "x".repeat(65) },
    ]) {
      expect(await refusal(client.packages(app.id).update(made.id, { ...body, ...wrong })), JSON.stringify(wrong)).toBe(
        400,
      );
    }
    // As a Flatcar package it has an address and a hash that update_engine can't read.
    expect(await refusal(client.packages(app.id).update(made.id, { ...body, type: 1 }))).toBe(400);
    const nearly = aRelease("1.0.0", { application_id: app.id, type: 1 });
    // update_engine reads no base64 without its padding, or with another alphabet.
    for (const hash of [SHA1.slice(0, -1), SHA1.replace("+", "-"), ` ${SHA1}`, "x"]) {
      expect(await refusal(client.packages(app.id).update(made.id, { ...nearly, hash })), hash).toBe(400);
    }
    expect((await client.packages(app.id).update(made.id, nearly)).flatcar_action).toMatchObject({ sha256: SHA256 });
  });
});

describe("a tool that keeps objects as they are declared", () => {
  it("reads each one as it wrote it, changes every field, and finds it gone after its deletion", async () => {
    const app = await client.apps.create({ name: "Lab", description: "", product_id: "io.example.Lab" });
    expect(app).toMatchObject({ product_id: "io.example.Lab", groups: null, channels: null, instances: { count: 0 } });
    const renamed = await client.apps.update(app.id, { name: "Laboratory", description: "tries", product_id: null });
    expect(renamed).toEqual({ ...app, name: "Laboratory", description: "tries", product_id: null });
    expect(await client.apps.read(app.id.toUpperCase())).toEqual(renamed);
    expect((await client.apps.update(app.id, { name: "Laboratory", product_id: "io.example.lab" })).description).toBe(
      "",
    );
    expect((await client.apps.update(app.id, { name: "Laboratory", product_id: "" })).product_id).toBeNull();

    const packages = client.packages(app.id);
    const pack = await packages.create(aRelease("1.0.0", { application_id: app.id, arch: 2 }));
    expect(await packages.read(pack.id)).toEqual(pack);
    expect(await packages.read(pack.id.toUpperCase())).toEqual(pack);

    const channels = client.channels(app.id);
    const wanted = { name: "canary", color: "#ffcc00", arch: 2, application_id: app.id };
    const channel = await channels.create({ ...wanted, package_id: pack.id });
    expect(channel).toMatchObject({ ...wanted, package_id: pack.id, package: pack });
    expect(await channels.read(channel.id)).toEqual(channel);
    const moved = { ...wanted, name: "dev", color: "red" };
    expect(await channels.update(channel.id, { ...moved, arch: 1 })).toMatchObject({
      ...moved,
      package_id: null,
      package: null,
    });

    const groups = client.groups(app.id);
    const group = await groups.create(aGroup());
    expect(group).toMatchObject({ ...aGroup(), description: "", channel_id: null, track: group.id });
    expect(group).not.toHaveProperty("channel");
    const other: GroupConfig = {
      name: "Canaries",
      description: "They go first.",
      channel_id: channel.id,
      track: "canary",
      policy_updates_enabled: false,
      policy_safe_mode: true,
      policy_office_hours: true,
      policy_timezone: "America/New_York",
      policy_period_interval: "2 days",
      policy_max_updates_per_period: 2_147_483_647,
      policy_update_timeout: "36 hours",
    };
    const changed = await groups.update(group.id, other);
    expect(changed).toMatchObject({ ...other, id: group.id, created_ts: group.created_ts, rollout_in_progress: false });
    expect(changed.channel).toEqual(await channels.read(channel.id));
    expect(await groups.read(group.id)).toEqual(changed);
    // What is left out is cleared: no channel, its own id for a track.
    expect(await groups.update(group.id, aGroup())).toEqual(group);
    // Without office hours nobody needs to know what time it is.
    const timeless = aGroup({ policy_timezone: "" });
    const without = await groups.update(group.id, timeless);
    expect(without.policy_timezone).toBeNull();
    expect(await turnout.api("PUT", `/apps/${app.id}/groups/${group.id}`, without)).toMatchObject(without);
    expect(await refusal(groups.update(group.id, { ...timeless, policy_office_hours: true }))).toBe(400);

    for (const [resource, id] of [
      [groups, group.id],
      [channels, channel.id],
      [packages, pack.id],
      [client.apps, app.id],
    ] as const) {
      await resource.delete(id);
      expect(await refusal(resource.read(id))).toBe(404);
      expect(await refusal(resource.delete(id))).toBe(404);
    }
    await expect(client.apps.read(app.id)).rejects.toThrow(`App not found for :${app.id}`);
  });

  it("sends whole objects back as they came, and nothing has changed", async () => {
    const id = await turnout.release("4230.2.1", { extra_files: [{ name: "oem-azure.gz", size: 12 }] });
    const all = async () => JSON.stringify([await client.apps.read(FLATCAR), await client.packages(FLATCAR).read(id)]);
    const before = await all();
    for (const path of [
      `/apps/${FLATCAR}`,
      `/apps/${FLATCAR}/groups/${STABLE_GROUP}`,
      `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`,
      `/apps/${FLATCAR}/packages/${id}`,
    ]) {
      const whole = await turnout.api("GET", path);
      expect(await turnout.api("PUT", path, whole)).toEqual(whole);
    }
    const [floor] = await client.floors(STABLE_CHANNEL);
    expect(floor).toBeUndefined();
    await client.setFloor(STABLE_CHANNEL, id, "x");
    const { packages } = await turnout.api<{ packages: unknown[] }>("GET", `/channels/${STABLE_CHANNEL}/floors`);
    await turnout.api("PUT", `/apps/${FLATCAR}/packages/${id}`, packages[0]);
    await client.deleteFloor(STABLE_CHANNEL, id);
    expect(await all()).toBe(before);
  });

  it("keeps what it made apart: two applications have channels, groups and versions of the same names", async () => {
    const made = await client.apps.create({ name: "Second" });
    for (const app of [FLATCAR, made.id]) {
      await client.channels(app).create({ name: "same", color: "red", arch: 1, application_id: app });
      await client.groups(app).create(aGroup({ name: "Same", track: "same" }));
      await client.packages(app).create(aRelease("1.0.0", { application_id: app }));
      await client.packages(app).create(aRelease("1.0.0", { application_id: app, arch: 2 }));
    }
    await client.channels(made.id).create({ name: "same", color: "red", arch: 2, application_id: made.id });
    const twice = { name: "same", color: "red", arch: 2, application_id: made.id };
    expect(await refusal(client.channels(made.id).create(twice))).toBe(409);
    expect(await refusal(client.groups(made.id).create(aGroup({ name: "Same" })))).toBe(409);
  });

  it("can change groups whose channels were deleted, though they share a track now", async () => {
    const channels = client.channels(FLATCAR);
    const groups = client.groups(FLATCAR);
    const arm = (await groups.list({ perpage: 100 })).items.find(
      ({ track, id }) => track === "stable" && id !== STABLE_GROUP,
    );
    await channels.delete(STABLE_CHANNEL);
    await channels.delete(arm?.channel_id ?? "");
    const { channel_id, policy_timezone, ...alone } = await groups.read(STABLE_GROUP);
    expect([channel_id, policy_timezone]).toEqual([null, "Europe/Berlin"]);
    const changed = { ...alone, policy_timezone: "UTC", description: "alone" };
    expect(await groups.update(STABLE_GROUP, changed)).toMatchObject({ track: "stable" });
    expect(await refusal(groups.create(aGroup({ track: "stable" })))).toBe(409);
  });
});

/** What its six acceptance tests ask for, with every field as it sends it: what a configuration leaves out is empty. */
describe("a Terraform provider", () => {
  const path = `/apps/${FLATCAR}`;
  const bare = (version: string, changes: object = {}) => ({
    application_id: FLATCAR,
    arch: 1,
    channels_blacklist: null,
    description: "",
    filename: "",
    flatcar_action: { sha256: "" },
    hash: "",
    size: "",
    type: 1,
    url: "http://fake-address/",
    version,
    ...changes,
  });
  interface Made {
    readonly id: string;
    readonly name: string;
    readonly arch: number;
  }
  const make = (plural: string, body: object) => turnout.api<Made>("POST", `${path}/${plural}`, body);
  const aChannelOf = (id: string, changes: object = {}) =>
    make("channels", { name: "terraform-test", color: "", package_id: id, application_id: "", arch: 1, ...changes });
  /** Reads each as it stands, and takes all of it away again, what depends on others first. */
  async function readAndDestroy(...made: readonly (readonly [plural: string, one: Made])[]): Promise<void> {
    for (const [plural, one] of made) expect(await turnout.api("GET", `${path}/${plural}/${one.id}`)).toEqual(one);
    for (const [plural, one] of made) await turnout.api("DELETE", `${path}/${plural}/${one.id}`);
  }
  const found = async (plural: string, query: string, { id }: Made): Promise<void> => {
    const answer = await turnout.api(`GET`, `${path}/${plural}?page=1&perpage=${query}`);
    expect(answer[plural]).toContainEqual(expect.objectContaining({ id }));
  };

  it("makes a channel of a package that says only where it is, and finds it in the list", async () => {
    const pack = await make("packages", bare("0.0.0"));
    const channel = await aChannelOf(pack.id, { name: "test-terraform", color: "#1fbb86" });
    expect(channel).toMatchObject({ name: "test-terraform", arch: 1, package_id: pack.id, color: "#1fbb86", application_id: FLATCAR }); // biome-ignore format: one line
    await found("channels", "100000", channel);
    await readAndDestroy(["channels", channel], ["packages", pack]);
  });

  it("makes a package that a channel must not point to, and finds it in the list", async () => {
    const other = await make("packages", bare("0.1.0"));
    const channel = await aChannelOf(other.id);
    const wanted = { description: "Test package", filename: "test.tgz", size: "465881871", hash: SHA1 };
    const pack = await make("packages", bare("0.0.0", { ...wanted, channels_blacklist: [channel.id] }));
    expect(pack).toMatchObject({ ...wanted, version: "0.0.0", type: 1, arch: 1, url: "http://fake-address/", missing: ["flatcar_action.sha256"] }); // biome-ignore format: one line
    await found("packages", "100000&searchVersion=0.0.0", pack);
    await readAndDestroy(["packages", pack], ["channels", channel], ["packages", other]);
  });

  it("makes a group of such a channel, changes it, and finds it in the list", async () => {
    const pack = await make("packages", bare("0.0.0"));
    const channel = await aChannelOf(pack.id);
    const wanted = {
      name: "terraform-test",
      track: "terraform-test",
      description: "Test description",
      channel_id: channel.id,
      policy_updates_enabled: false,
      policy_safe_mode: true,
      policy_office_hours: true,
      policy_timezone: "Europe/Berlin",
      policy_period_interval: "10 minutes",
      policy_max_updates_per_period: 10,
      policy_update_timeout: "35 minutes",
    };
    const group = await make("groups", wanted);
    expect(group).toMatchObject({ ...wanted, rollout_in_progress: false, application_id: FLATCAR });
    expect(await turnout.api("PUT", `${path}/groups/${group.id}`, wanted)).toEqual(group);
    await found("groups", "10000", group);
    // Whoever asks there is offered nothing, also when updates are on.
    const open = { ...wanted, policy_updates_enabled: true, policy_safe_mode: false, policy_office_hours: false };
    await turnout.api("PUT", `${path}/groups/${group.id}`, open);
    expect(await turnout.omaha(checks({ track: "terraform-test", version: "0.0.0-dev" }))).toContain('"noupdate"');
    await turnout.api("PUT", `${path}/groups/${group.id}`, wanted);
    await readAndDestroy(["groups", group], ["channels", channel], ["packages", pack]);
  });
});

describe("the rules between objects", () => {
  it("are those that scripts count on", async () => {
    const packages = client.packages(FLATCAR);
    const channels = client.channels(FLATCAR);
    const stable = { name: "stable", color: "#14b9d6", arch: 1, application_id: FLATCAR };
    const target = await packages.create(aRelease("2.0.0"));
    const floor = await packages.create(aRelease("1.0.0"));
    const arm = await packages.create(aRelease("2.0.0", { arch: 2 }));
    const listed = await packages.create(aRelease("3.0.0", { channels_blacklist: [STABLE_CHANNEL.toUpperCase()] }));
    expect(listed.channels_blacklist).toEqual([STABLE_CHANNEL]);
    await channels.update(STABLE_CHANNEL, { ...stable, package_id: target.id.toUpperCase() });
    await client.setFloor(STABLE_CHANNEL, floor.id);

    // A channel takes what is for its architecture and does not blacklist it; floors are the same.
    for (const [id, status, floorStatus] of [
      [arm.id, 400, 400],
      [listed.id, 409, 409],
      [NOWHERE, 400, 404],
    ] as const) {
      expect(await refusal(channels.update(STABLE_CHANNEL, { ...stable, package_id: id }))).toBe(status);
      expect(await refusal(client.setFloor(STABLE_CHANNEL, id))).toBe(floorStatus);
    }
    await expect(client.setFloor(STABLE_CHANNEL, arm.id)).rejects.toThrow(
      /^Architecture mismatch between channel and package$/,
    );
    // What a channel points to, or has for a floor, can't blacklist it; a floor can't be deleted.
    for (const [{ id }, version] of [
      [target, "2.0.0"],
      [floor, "1.0.0"],
    ] as const) {
      const body = aRelease(version, { channels_blacklist: [STABLE_CHANNEL] });
      expect(await refusal(packages.update(id, body))).toBe(409);
    }
    expect(await refusal(packages.delete(floor.id))).toBe(409);
    expect(await client.floorChannels(FLATCAR, floor.id)).toEqual({
      count: 1,
      channels: [{ channel: await channels.read(STABLE_CHANNEL), floor_reason: null }],
    });
    expect(await client.floorChannels(FLATCAR, arm.id)).toEqual({ count: 0, channels: [] });
    // Setting it again changes its reason.
    await client.setFloor(STABLE_CHANNEL, floor.id, "the bootloader");
    expect(await client.floors(STABLE_CHANNEL, { page: 0, perpage: 1 })).toMatchObject([
      { id: floor.id, is_floor: true, floor_reason: "the bootloader" },
    ]);
    expect((await packages.read(floor.id)).floor_reason).toBeNull();
    await client.deleteFloor(STABLE_CHANNEL, floor.id);
    expect(await refusal(client.deleteFloor(STABLE_CHANNEL, floor.id))).toBe(404);
    expect(await client.floors(STABLE_CHANNEL)).toEqual([]);
    // Whatever pointed to a package that goes points to nothing.
    await packages.delete(target.id);
    expect(await channels.read(STABLE_CHANNEL)).toMatchObject({ package_id: null, package: null });
    await channels.delete(STABLE_CHANNEL);
    expect((await packages.read(listed.id)).channels_blacklist).toBeNull();
  });

  it("hold between applications: no path and no body reaches into another one", async () => {
    const { id: other } = await client.apps.create({ name: "Other", product_id: "io.example.other" });
    const foreign = await client.packages(FLATCAR).create(aRelease("1.0.0"));
    const wanted = { name: "x", color: "red", arch: 1, application_id: other };
    const mine = await client.channels(other).create(wanted);
    for (const reach of [
      () => client.groups(other).update(STABLE_GROUP, aGroup()),
      () => client.groups(other).delete(STABLE_GROUP),
      () => client.channels(other).update(STABLE_CHANNEL, wanted),
      () => client.packages(other).update(foreign.id, aRelease("1.0.0", { application_id: other })),
      () => client.packages(other).delete(foreign.id),
      () => client.floorChannels(other, foreign.id),
    ]) {
      expect(await refusal(reach())).toBe(404);
    }
    for (const reach of [
      () => client.channels(other).update(mine.id, { ...wanted, package_id: foreign.id }),
      () => client.channels(other).update(mine.id, { ...wanted, application_id: FLATCAR }),
      () => client.groups(other).create(aGroup({ channel_id: STABLE_CHANNEL })),
      () => client.packages(other).create(aRelease("1.0.0")),
      () =>
        client
          .packages(other)
          .create(aRelease("1.0.0", { application_id: other, channels_blacklist: [STABLE_CHANNEL] })),
      () => client.setFloor(mine.id, foreign.id),
    ]) {
      expect(await refusal(reach())).toBe(400);
    }
    await expect(client.setFloor(mine.id, foreign.id)).rejects.toThrow(
      /^Package does not belong to the same application as the channel$/,
    );
  });
});

describe("the pages of a web console", () => {
  it("start with what they are told of the server", async () => {
    const config = z.object({
      access_management_url: z.string(),
      auth_mode: z.literal("noop"),
      header_style: z.enum(["light", "dark"]),
      login_url: z.string(),
      logo: z.string(),
      nebraska_version: z.string(),
      oidc_audience: z.null(),
      oidc_client_id: z.null(),
      oidc_issuer_url: z.null(),
      oidc_logout_url: z.null(),
      oidc_scopes: z.null(),
      title: z.string(),
    });
    const answer = await client.ask("GET", "/config", { schema: z.looseObject(config.shape) });
    expect(answer.authMode).toBe("noop");
    expect(await (await fetch(`${turnout.url}/health`)).text()).toBe("OK");
  });

  it("list applications with all that is in them, and make one from another", async () => {
    await turnout.release("4230.2.1");
    const { items } = await client.apps.list({ page: 1, perpage: 10 });
    expect(items.map(({ id }) => id)).toEqual([FLATCAR]);
    const names = (list: readonly { name: string; arch: number }[] | null | undefined) =>
      list?.map(({ name, arch }) => `${name} ${arch}`);
    expect(names(items[0]?.channels)).toEqual(
      ["alpha", "beta", "edge", "stable"].flatMap((name) => [`${name} 1`, `${name} 2`]),
    );
    expect(items[0]?.groups).toEqual((await client.groups(FLATCAR).list({ perpage: 100 })).items);

    const lab = await client.groups(FLATCAR).create(aGroup({ policy_updates_enabled: false }));
    const copy = await client.apps.create({ name: "Copy" }, { clone_from: FLATCAR });
    expect(names(copy.channels)).toEqual(names(items[0]?.channels));
    expect(copy.channels?.every(({ package_id, package: pack }) => package_id === null && pack === null)).toBe(true);
    expect((await client.packages(copy.id).list()).total).toBe(0);
    const comparable = ({ id, application_id: _, channel_id: __, created_ts: ___, channel, track, ...rest }: Group) =>
      [rest.name, { ...rest, track: track === id ? null : track, channel: channel && names([channel]) }] as const;
    const enabled = { ...lab, policy_updates_enabled: true };
    expect(Object.fromEntries((copy.groups ?? []).map(comparable))).toEqual(
      Object.fromEntries(
        [...(items[0]?.groups ?? []), enabled].map((one) => comparable({ ...one, rollout_in_progress: false })),
      ),
    );
    expect(await refusal(client.apps.create({ name: "Third" }, { clone_from: NOWHERE }))).toBe(404);
    expect((await client.apps.list()).total).toBe(2);
    expect(await client.apps.list({ page: 2, perpage: 10 })).toEqual({ total: 2, items: [] });
  });

  it("show the activity of the last seven days, filtered, page by page", async () => {
    for (const version of ["1.0.0", "1.0.1", "1.0.2"]) {
      await turnout.release(version);
      turnout.clock.move({ hours: 1 });
    }
    await turnout.omaha(checks({ version: "0.9.0" }));
    const end = new Date(turnout.clock.now()).toISOString();
    const start = new Date(turnout.clock.now() - 7 * 86_400_000).toISOString();
    const first = await client.activity({ start, end, page: 1, perpage: 10 });
    expect(first.items.map((one) => [one.class, one.version])).toEqual([
      [2, "1.0.2"],
      [6, "1.0.2"],
      [6, "1.0.1"],
      [6, "1.0.0"],
    ]);
    expect(first.items[0]).toMatchObject({ app_id: FLATCAR, group_id: STABLE_GROUP, group_name: "Stable (AMD64)" });
    const filters = { appIDorProductID: FLATCAR.toUpperCase(), severity: 2, version: "1.0.2" };
    expect((await client.activity({ start, end, ...filters })).total).toBe(2);
    expect((await client.activity({ start, end, groupID: STABLE_GROUP })).total).toBe(1);
    const local = `${new Date(turnout.clock.now() - 90 * 60_000 + 7_200_000).toISOString().slice(0, 19)}+02:00`;
    expect((await client.activity({ start: local, end })).total).toBe(2);
    expect((await client.activity({ start, end: start })).items).toEqual([]);
    expect(await refusal(client.activity({ start, end, appIDorProductID: "io.example.none" }))).toBe(404);
  });

  it("show a group's nodes: counted, in time, listed, and one by one", async () => {
    const nodes = client.nodes(FLATCAR, STABLE_GROUP);
    expect(await nodes.list({ status: 0, duration: "1d" })).toMatchObject({ total: 0 });
    await turnout.release("4230.2.1");
    const [failed, granted, current] = ["a", "b", "c"].map((digit) => digit.repeat(32)) as [string, string, string];
    await turnout.omaha(checks({ machineId: failed, version: "4081.2.0", alias: "web-1" }));
    await turnout.omaha(reports(3, 0, { machineId: failed }, 10));
    turnout.clock.move({ minutes: 20 });
    await turnout.omaha(checks({ machineId: granted, version: "4081.2.0" }));
    turnout.clock.move({ minutes: 1 });
    await turnout.omaha(checks({ machineId: current, version: "4230.2.1" }));
    await turnout.omaha(checks({ machineId: `{${NOWHERE}}`, version: "4230.2.1" }));

    const none = { undefined: 0, installed: 0, downloaded: 0, downloading: 0, onhold: 0 };
    expect(await nodes.statistics("1d")).toEqual({ ...none, total: 3, update_granted: 1, error: 1, complete: 1 });
    expect(await nodes.count("1h")).toEqual({ count: 3 });
    expect(await nodes.breakdown()).toEqual([
      { version: "4230.2.1", instances: 1, percentage: 100 / 3 },
      { version: "4081.2.0", instances: 2, percentage: 200 / 3 },
    ]);
    for (const [duration, points] of [
      ["1h", 5],
      ["1d", 25],
      ["7d", 8],
      ["30d", 11],
    ] as const) {
      const versions = await nodes.versionTimeline(duration);
      expect(Object.keys(versions)).toHaveLength(points);
      expect(Object.values(versions).at(-1)).toEqual({ "4230.2.1": 1, "4081.2.0": 2 });
      expect(Object.keys(await nodes.statusTimeline(duration))).toHaveLength(points);
    }

    const found = async (query: Record<string, string | number>) =>
      (await nodes.list({ status: 0, duration: "1d", ...query })).instances?.map(({ id }) => id) ?? [];
    expect(await found({ sortFilter: 2, sortOrder: 1 })).toEqual([current, granted, failed]);
    expect(await found({ sortFilter: 2, sortOrder: 0, page: 1, perpage: 10 })).toEqual([failed, granted, current]);
    expect(await found({ status: 3 })).toEqual([failed]);
    expect(await found({ status: 1 })).toEqual([current]);
    expect(await found({ version: "4230.2.1" })).toEqual([current]);
    expect(await found({ searchFilter: "All", searchValue: "WEB" })).toEqual([failed]);
    expect(await found({ searchFilter: "id", searchValue: "bbb" })).toEqual([granted]);
    expect(await found({ searchFilter: "ip", searchValue: "127.0" })).toHaveLength(3);
    expect(await found({ page: 2, perpage: 10 })).toEqual([]);
    expect(await refusal(nodes.list({ status: 0, duration: "2d" }))).toBe(400);

    expect(await nodes.read(failed)).toMatchObject({ id: failed, alias: "web-1", application: { status: 3 } });
    expect(await nodes.history(failed)).toMatchObject([
      { status: 3, version: "4230.2.1", error_code: "10" },
      { status: 2, version: "4230.2.1", error_code: null },
    ]);
    expect(await nodes.history(failed, { limit: 1 })).toHaveLength(1);
    expect(await client.rename(failed, "rack 7")).toMatchObject({ id: failed, alias: "rack 7" });
    expect(await found({ searchFilter: "alias", searchValue: "rack" })).toEqual([failed]);
    expect(await refusal(nodes.read("d".repeat(32)))).toBe(404);
    expect(await refusal(client.rename("d".repeat(32), "x"))).toBe(404);
  });
});

describe("moving over", () => {
  const script = (url: string, ...words: string[]): Promise<string> =>
    run(process.execPath, [resolve(ROOT, "docs/examples/from-nebraska.mjs"), url, ...words]);

  it("by the commands of the page takes along all that the old server answers, with every id that nodes know", async () => {
    const lab = await client.apps.create({ name: "Lab", product_id: "io.example.lab" }, { clone_from: FLATCAR });
    const file = { name: "oem-azure.gz", size: "41870233", hash: SHA1, hash256: "df".repeat(32) };
    const target = await turnout.release("4230.2.1", { extra_files: [file] });
    await turnout.release("4593.2.5");
    await client.packages(FLATCAR).create(aRelease("2.0.0", { channels_blacklist: [STABLE_CHANNEL] }));
    await client.setFloor(STABLE_CHANNEL, target, "the bootloader");
    const policy = { policy_office_hours: true, policy_period_interval: "2 hours", description: "They go first." };
    await client.groups(lab.id).create(aGroup(policy));
    await client.groups(lab.id).create(aGroup({ name: "Timeless", policy_timezone: "" }));
    const other = { application_id: lab.id, type: 4, filename: "", size: "", hash: "" };
    await client.packages(lab.id).create(aRelease("1.0.0", other));

    const fresh = await aTurnout();
    const directory = mkdtempSync(join(tmpdir(), "turnout-moving-"));
    try {
      const commands = [...PAGE.matchAll(/^ *```sh moving\n([\s\S]*?)^ *```$/gm)].map(([, code = ""]) => code);
      expect(commands).toHaveLength(2);
      const shell = commands
        .join("\n")
        .replace("https://nebraska.example.org", turnout.url)
        .replace("http://127.0.0.1:8000", fresh.url)
        .replaceAll("docs/examples", `${ROOT}/docs/examples`);
      const turnoutCommand = `turnout() { node ${ROOT}/bin/turnout "$@"; }`;
      const said = await run("bash", ["-euc", `${turnoutCommand}\ncd ${directory}\n${shell}`]);
      expect(said).toContain("applied");
      const [old, present] = [await script(turnout.url), await script(fresh.url)].map((text) => JSON.parse(text));
      expect(sorted(present)).toEqual(sorted(old));
      expect((await turnout.api("POST", "/fleet/plan", { fleet: present, prune: true })).changes).toEqual([]);
      expect(await fresh.omaha(checks({ version: "4081.2.0", track: STABLE_GROUP }))).toContain('version="4230.2.1"');
    } finally {
      rmSync(directory, { recursive: true });
      await fresh.close();
    }
    const { applications } = JSON.parse(await script(turnout.url, "--used-only"));
    const versions = applications.map(({ packages }: { packages: Package[] }) =>
      packages.map(({ version }) => version),
    );
    expect(versions).toEqual([[], ["4593.2.5", "4230.2.1"]]);
    const strategies = async (...words: string[]) =>
      new Set(
        JSON.parse(await script(turnout.url, ...words)).applications.flatMap(
          ({ groups }: { groups: { strategy?: object }[] }) => groups.map(({ strategy }) => JSON.stringify(strategy)),
        ),
      );
    expect(await strategies()).toEqual(new Set([undefined]));
    expect(await strategies("--strategy", "careful")).toEqual(new Set(['{"preset":"careful"}']));
    expect(await strategies("--strategy=none")).toEqual(new Set(["{}"]));
    await expect(script(turnout.url, "--strategy", "slow")).rejects.toThrow("there is no such preset");
  });
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
}

/** @returns what it has written */
function run(program: string, words: readonly string[]): Promise<string> {
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
  return new Promise((done, failed) => {
    execFile(program, words, { env }, (error, out) => (error === null ? done(out) : failed(error)));
  });
}

/** Groups that were made at once have no order of their own. */
function sorted(value: unknown): unknown {
  if (!Array.isArray(value)) {
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, sorted(inner)]));
  }
  return value.map(sorted).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

describe("docs/nebraska-compatibility.md", () => {
  it("names every key and attribute that is ours", async () => {
    const { components } = await turnout.api<{ components: { schemas: Record<string, Schema> } }>(
      "GET",
      "/openapi.json",
    );
    const [, ours = ""] = PAGE.split("## Keys and attributes of its own");
    const unnamed: string[] = [];
    for (const [name, theirs] of Object.entries(KEYS)) {
      const [object = "", inner] = name.split(".");
      const schema = components.schemas[object];
      const { properties = {} } = (inner === undefined ? schema : schema?.properties?.[inner]) ?? {};
      expect(Object.keys(properties).length, name).toBeGreaterThan(3);
      for (const key of Object.keys(properties)) {
        if (!theirs.includes(key) && !ours.includes(`\`${key}\``)) unnamed.push(`${name}: ${key}`);
      }
    }
    expect(unnamed).toEqual([]);
    // Source of what is there: NEBRASKA.md, 1.3.
    await turnout.release("4230.2.1");
    const answer = await turnout.omaha(checks({ version: "4081.2.0" }));
    const [, head = ""] = /<manifest[^>]*><packages>(<package [^>]*>)/.exec(answer) ?? [];
    for (const [tag, theirs] of [
      [head, ["name", "hash", "size", "required"]],
      [/<daystart [^>]*>/.exec(answer)?.[0] ?? "", ["elapsed_seconds"]],
      [/<updatecheck [^>]*>/.exec(answer)?.[0] ?? "", ["status"]],
    ] as const) {
      const attributes = [...tag.matchAll(/ (\w+)="/g)].map(([, name = ""]) => name);
      expect(attributes.length, tag).toBeGreaterThan(0);
      for (const name of attributes) if (!theirs.includes(name as never)) expect(ours, tag).toContain(`\`${name}\``);
    }
  });

  it("names every path that the ecosystem's clients know", () => {
    const rows = [...PAGE.matchAll(/^\| ([A-Z, ]+) \| `([^`]+)` \|/gm)];
    const named = rows.flatMap(([, methods = "", path = ""]) =>
      methods.split(", ").map((method) => `${method} ${path.replace(/\?.*/, "").replace(/\{[^}]+\}/g, "{}")}`),
    );
    const known = readFileSync(resolve(ROOT, "test/admin/known-paths.txt"), "utf8").split("\n");
    expect(known.filter((line) => /^[A-Z]/.test(line) && !named.includes(line))).toEqual([]);
  });
});
