/** What people set, what time does, and what happens when a process ends in the middle. */
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { editor, SYNC } from "../../src/admin/editor.ts";
import { bringIn } from "../../src/sync/bring-in.ts";
import { openSyncing } from "../../src/sync/open.ts";
import { aFolder } from "../afterwards.ts";
import { aProcess, apiClient, FLATCAR, STABLE_CHANNEL } from "../e2e/turnout.ts";
import { extraFile, sha256 } from "../payloads/build.ts";
import { VirtualClock } from "../virtual-clock.ts";
import {
  aFollower,
  aServer,
  aVersion,
  Follower,
  fileStates,
  handmade,
  MAIN,
  manifestOf,
  NO_UPDATE,
  OEM,
  packagesOf,
  point,
  versionOf,
} from "./world.ts";

const first = aVersion("4152.2.0");
const second = aVersion("4230.2.1", 64);
const file = `${second.version}/${MAIN}`;

describe("a channel that follows", () => {
  it("is moved only when the release is old enough, and not to one that upstream has taken back meanwhile", async () => {
    const upstream = await handmade();
    upstream.offer(first);
    const site = await aFollower(upstream.omaha, { min_age: "3d" });
    const { clock } = site.server;
    expect((await site.sync()).held_back).toBe(
      "4152.2.0 is too young; the channel is moved to it at 2026-03-07T12:00:00.000Z",
    );
    clock.move({ days: 2 });
    upstream.offer(aVersion("4200.0.0"), second);
    await site.sync();
    expect(await site.version()).toBeNull();
    clock.move({ days: 1 });
    expect(await site.sync()).toMatchObject({ moved_to: "4152.2.0", next_check_ts: expect.anything() });
    expect(await site.version()).toBe("4152.2.0");
    const floors = async () => (await site.server.api("GET", `/channels/${STABLE_CHANNEL}/floors`)).packages;
    expect(await floors()).toEqual([]);

    upstream.offer(first); // 4230.2.1 was no good
    clock.move({ days: 4 });
    await site.sync();
    expect(await site.version()).toBe("4152.2.0");
    upstream.offer(aVersion("4200.0.0"), second);
    await site.check();
    expect(await site.version()).toBe("4230.2.1");
    expect(await floors()).toMatchObject([{ version: "4200.0.0" }]);
  });

  it("stays where a person has moved it back to, until something newer comes", async () => {
    const upstream = await handmade();
    upstream.offer(first, second);
    const site = await aFollower(upstream.omaha);
    await site.sync();
    const { "4152.2.0": before } = await packagesOf(site.server);
    await point(site.server, String(before?.id));
    expect((await site.check()).held_back).toMatch(
      /^the channel had 4230\.2\.1 from here, and somebody has moved it since/,
    );
    expect(await site.version()).toBe("4152.2.0");
    upstream.offer(aVersion("4230.2.2"));
    await site.check();
    expect(await site.version()).toBe("4230.2.2");
  });

  it("is not moved to a release that was taken back, when a newer one is still too young", async () => {
    const upstream = await handmade();
    upstream.offer(first);
    const site = await aFollower(upstream.omaha);
    await site.sync();
    await site.set({ min_age: "3d" });
    upstream.offer(second);
    await site.check();
    upstream.answer = NO_UPDATE; // 4230.2.1 was no good
    await site.check();
    site.server.clock.move({ days: 4 });
    upstream.offer(aVersion("4230.2.2"));
    expect((await site.check()).held_back).toMatch(/^4230\.2\.2 is too young/);
    expect(await site.version()).toBe("4152.2.0");
  });

  describe("on its way to a release that is here, while upstream leads beyond the pin", () => {
    const floor = aVersion("4200.0.0");
    const beyond = aVersion("4593.2.0");

    async function pinned() {
      const upstream = await handmade();
      upstream.offer(first, second);
      const site = await aFollower(upstream.omaha, { policy: "import-only" });
      await site.sync();
      upstream.offer(first, floor, beyond);
      return { upstream, site };
    }
    const follow = async (site: Follower) => {
      await site.set({ policy: "follow", up_to: "4230.2.1" });
      return site.check();
    };

    it("passes no floor whose package is here, and whose files are not", async () => {
      const { upstream, site } = await pinned();
      upstream.files.delete(`${floor.version}/${OEM}`);
      expect((await site.check()).last_error).toMatch(/^4200\.0\.0: .* answers 404$/);
      expect(Object.keys(await packagesOf(site.server))).toContain(floor.version);
      expect((await follow(site)).held_back).toBe("the package of 4230.2.1, or of a floor before it, is not here");
      expect(await site.version()).toBeNull();
    });

    it("passes no floor that can't be offered", async () => {
      const { upstream, site } = await pinned();
      const whole = manifestOf(floor, ' is_floor="true"');
      const bare = whole.replace(/(<package name="oem-azure.gz") hash="[^"]+" hash_sha256="[^"]+"/, "$1");
      upstream.answer = String(upstream.answer).replace(whole, bare);
      expect(await follow(site)).toMatchObject({ found: { incomplete: [{ version: "4200.0.0" }] } });
      expect(await site.version()).toBeNull();
    });
  });

  it("is left to people by import-only, and brought nothing that the pins are against", async () => {
    const upstream = await handmade();
    upstream.offer(first);
    const site = await aFollower(upstream.omaha, { policy: "import-only", up_to: "4200.0.0" });
    expect((await site.sync()).held_back).toBe("4152.2.0 is here; by the policy, a person moves the channel");
    upstream.offer(second);
    expect((await site.check()).held_back).toBe(
      "4152.2.0 is here; by the policy, a person moves the channel; 4230.2.1 is beyond 4200.0.0, the pinned one",
    );
    expect(Object.keys(await packagesOf(site.server))).toEqual(["4152.2.0"]);
    await site.set({ policy: "off" });
    site.server.clock.move({ days: 1 });
    const asked = upstream.asked.length;
    await site.sync();
    expect(upstream.asked).toHaveLength(asked);
    await expect(site.check()).rejects.toThrow(/409 .*policy is off/);
  });
});

describe("what is brought in by several at once", () => {
  it("is asked for by one process of two", async () => {
    const upstream = await handmade();
    upstream.offer(second);
    const site = await aFollower(upstream.omaha);
    const { store } = site.server.turnout;
    const { payloads } = await opened(site);
    const other = openSyncing({
      store,
      payloads,
      clock: site.server.clock,
      editor: editor(store, site.server.clock, SYNC),
      version: "0",
      proxy: null,
      mirrorKeys: [],
      syncDirs: [],
      onChecked() {},
      onBytes() {},
      onError: (error) => {
        throw error;
      },
    });
    await Promise.all([site.sync(), other.run()]);
    await other.stop();
    expect(upstream.asked).toHaveLength(1);
    expect(await site.version()).toBe("4230.2.1");
  });

  it("is made once, and whole", async () => {
    const site = await aFollower("http://127.0.0.1:9/", { policy: "off" });
    const context = await opened(site);
    const { no } = await context.store.read.selectFrom("applications").select("no").executeTakeFirstOrThrow();
    const release = {
      type: 1,
      arch: 1,
      version: second.version,
      url: "https://updates.example.org/",
      description: "",
      payload: {
        name: MAIN,
        sizeBytes: second.payload.length,
        sha1: null,
        sha256: sha256(second.payload).toString("hex"),
      },
      extraFiles: [{ name: OEM, sizeBytes: second.oem.length, sha1: extraFile(OEM, second.oem).hash, sha256: null }],
      action: {},
    };
    let opens = 0;
    const bytes = {
      sourcesOf: ({ name }: { name: string }) => {
        const open = async (from: number) => {
          opens += 1;
          const whole = name === MAIN ? second.payload : second.oem;
          return (async function* () {
            for (let at = from; at < whole.length; at += 10_000) yield whole.subarray(at, at + 10_000);
          })();
        };
        return [{ place: "here", open }];
      },
    };
    const wanted = { applicationNo: no, release, bytes, signal: new AbortController().signal };
    const kinds = (await Promise.all([1, 2, 3].map(() => bringIn(context, wanted)))).map(({ kind }) => kind);
    expect(kinds).toContain("here");
    expect(kinds.every((kind) => kind === "here" || kind === "unfinished")).toBe(true);
    expect(await bringIn(context, wanted)).toMatchObject({ kind: "here", made: false });
    expect(opens).toBe(2);
    const { "4230.2.1": one } = await packagesOf(site.server);
    expect(await fileStates(site.server, one?.id)).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });
  });
});

/** What bringing in needs, of a server that runs. */
async function opened(site: Follower) {
  const { Payloads } = await import("../../src/payloads/payloads.ts");
  const { store } = site.server.turnout;
  const payloads = await Payloads.open({ folder: join(site.server.dataDir, "payloads"), reserve: 0 });
  return { store, payloads, editor: editor(store, site.server.clock, SYNC) };
}

describe("a download that is under way", () => {
  const stalled = async (upstream: Awaited<ReturnType<typeof handmade>>) => {
    const begun = Promise.withResolvers<void>();
    upstream.files.set(file, (_, response) => {
      response.writeHead(200, { "Content-Length": second.payload.length });
      response.write(second.payload.subarray(0, 100_000), () => begun.resolve());
    });
    return begun.promise;
  };

  it("is shown, is broken off when the server stops, and goes on at once after its start", async () => {
    const upstream = await handmade();
    upstream.offer(second);
    const waiting = stalled(upstream);
    const dataDir = aFolder();
    const clock = new VirtualClock();
    const before = await aServer({}, { dataDir, clock });
    const site = await aFollower(upstream.omaha, {}, before);
    await before.api("POST", `${site.path}/check`);
    await waiting;
    await expect.poll(async () => (await site.state()).downloading?.received, { interval: 20 }).toBe(100_000);
    expect((await site.upstream()).state).toMatchObject({
      checking: true,
      downloading: { version: "4230.2.1", file: MAIN, received: 100_000, total: second.payload.length },
    });
    const began = performance.now();
    await before.close();
    expect(performance.now() - began).toBeLessThan(8_000);

    upstream.files.set(file, second.payload);
    const after = new Follower(await aServer({}, { dataDir, clock }), site.id);
    expect(await after.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1", consecutive_failures: 0 });
    expect(upstream.fetched).toContain(`${file} bytes=100000-`);
  });

  it("moves nothing, and notes nothing, when the upstream is another one by the time that it ends", async () => {
    const [wrong, right] = [await handmade(), await handmade()];
    wrong.offer(second);
    right.offer(first);
    const begun = Promise.withResolvers<ServerResponse>();
    wrong.files.set(file, (_, response) => {
      response.writeHead(200, { "Content-Length": second.payload.length });
      response.write(second.payload.subarray(0, 100_000), () => begun.resolve(response));
    });
    const site = await aFollower(wrong.omaha);
    await site.server.api("POST", `${site.path}/check`);
    const response = await begun.promise;
    // As another process would, which is told of the change.
    const changed = { url: right.omaha, found: null, lease: null, lease_until: null, next_check_at: 0 };
    await site.server.turnout.store.write((tx) => tx.updateTable("upstreams").set(changed).execute());
    // Even if the new one has brought in what the old one leads to: floors would be the old one's.
    await site.server.turnout.store.write(async (tx) => {
      const { no } = await tx.selectFrom("upstreams").select("no").executeTakeFirstOrThrow();
      const seen = { upstream_no: no, version: second.version, first_seen_at: 0, is_target: 1, here: 1 };
      await tx.deleteFrom("upstream_releases").execute();
      await tx.insertInto("upstream_releases").values(seen).execute();
    });
    response.end(second.payload.subarray(100_000));
    await site.server.turnout.syncing.idle();
    expect(await site.version()).toBeNull();
    expect(await site.state()).toMatchObject({ found: null, last_error: null, last_success_ts: null, moved_to: null });
    expect(await site.sync()).toMatchObject({ moved_to: "4152.2.0", found: { target: "4152.2.0" } });
    const metrics = await (await fetch(`${site.server.url}/metrics`)).text();
    expect(metrics).toContain('turnout_upstream_checks_total{result="ok"} 1\n');
  });

  it("is broken off at once when somebody changes the upstream, and the new one is asked", async () => {
    const [wrong, right] = [await handmade(), await handmade()];
    wrong.offer(second);
    right.offer(first);
    const waiting = stalled(wrong);
    const site = await aFollower(wrong.omaha);
    await site.server.api("POST", `${site.path}/check`);
    await waiting;
    await site.set({ url: right.omaha });
    await site.server.turnout.syncing.idle(); // it is the lease's renewal else that ends it, after a minute
    expect(await site.sync()).toMatchObject({ moved_to: "4152.2.0", last_error: null });
  }, 30_000);

  it("is broken off at once when somebody deletes the upstream", async () => {
    const upstream = await handmade();
    upstream.offer(second);
    const waiting = stalled(upstream);
    const site = await aFollower(upstream.omaha);
    await site.server.api("POST", `${site.path}/check`);
    await waiting;
    await site.server.api("DELETE", site.path);
    await site.server.turnout.syncing.idle();
    expect(await site.version()).toBeNull();
  }, 30_000);

  it.each([
    ["channel", `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`],
    ["application", `/apps/${FLATCAR}`],
  ])("is not begun when its %s is deleted while the upstream thinks", async (_, path) => {
    const upstream = await handmade();
    upstream.offer(second);
    const { answer } = upstream;
    const faults: unknown[] = [];
    const server = await aServer();
    await aFollower(upstream.omaha, {}, server);
    upstream.answer = async (_request, response) => {
      await server.api("DELETE", path).catch((error) => faults.push(error));
      response.end(answer);
    };
    await server.turnout.syncing.run();
    expect([faults, upstream.asked.length, upstream.fetched]).toEqual([[], 1, []]);
    expect(await server.turnout.store.read.selectFrom("packages").select("version").execute()).toEqual([]);
  });

  it("survives a process that is killed: another goes on with it when the lease has ended", async () => {
    const upstream = await handmade();
    upstream.offer(second);
    const waiting = stalled(upstream);
    const dataDir = aFolder();
    const { url, child, ended } = await aProcess(dataDir, { TURNOUT_DISK_RESERVE: "0" });
    const api = apiClient(url);
    const { id } = await api<{ id: string }>("POST", `/apps/${FLATCAR}/upstreams`, {
      url: upstream.omaha,
      track: "stable",
      channel_id: STABLE_CHANNEL,
      policy: "follow",
      private_addresses: true,
    });
    await api("POST", `/apps/${FLATCAR}/upstreams/${id}/check`);
    await waiting;
    child.kill("SIGKILL");
    await ended;

    upstream.files.set(file, second.payload);
    const server = await aServer({}, { dataDir, clock: new VirtualClock(Date.now()) });
    const site = new Follower(server, id);
    await site.sync();
    expect(await versionOf(server)).toBeNull();
    server.clock.move({ minutes: 6 });
    expect(await site.sync()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
  });
});
