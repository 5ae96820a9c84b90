/** One Turnout follows another: real servers, real payloads, a fleet that downloads them. */
import { describe, expect, it } from "vitest";
import { runFleet } from "../../src/virtual/fleet.ts";
import { FLATCAR, STABLE_CHANNEL } from "../e2e/turnout.ts";
import { aFollower, aServer, aVersion, fileStates, host, MAIN, OEM, packagesOf, point } from "./world.ts";

const [floor, first, second] = ["4081.2.0", "4152.2.0", "4230.2.1"].map((version) => aVersion(version));
if (floor === undefined || first === undefined || second === undefined) throw new Error("three versions are needed");

describe("a server with another Turnout as upstream", () => {
  it("brings in floors and target with all their files, moves the channel, and its fleet downloads them from it", async () => {
    const central = await aServer();
    const floorId = await host(central, floor);
    await point(central, await host(central, first));
    await central.api("PUT", `/channels/${STABLE_CHANNEL}/floors/${floorId}`, { floor_reason: "the disk's layout" });
    const site = await aFollower(`${central.url}/v1/update/`);

    expect(await site.sync()).toMatchObject({
      last_error: null,
      held_back: null,
      moved_to: "4152.2.0",
      found: { target: "4152.2.0", floors: ["4081.2.0"], incomplete: [] },
      consecutive_failures: 0,
      downloading: null,
    });
    expect(await site.version()).toBe("4152.2.0");
    const packages = await packagesOf(site.server);
    expect(Object.keys(packages)).toEqual(["4152.2.0", "4081.2.0"]);
    for (const { id } of Object.values(packages)) {
      expect(await fileStates(site.server, id)).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });
    }
    const { packages: floors } = await site.server.api<{ packages: unknown[] }>(
      "GET",
      `/channels/${STABLE_CHANNEL}/floors`,
    );
    expect(floors).toMatchObject([{ version: "4081.2.0", floor_reason: "the disk's layout" }]);
    const { entries } = await site.server.api<{ entries: { actor: string; actor_kind: string; action: string }[] }>(
      "GET",
      "/audit?actor=sync&perpage=100",
    );
    expect(new Set(entries.map(({ action }) => action))).toEqual(new Set(["bringIn", "keepFile", "followUpstream"]));
    expect(entries.every((entry) => entry.actor_kind === "system")).toBe(true);
    const { activities } = await site.server.api<{ activities: { class: number; version: string }[] }>(
      "GET",
      `/activity?channelID=${STABLE_CHANNEL}`,
    );
    expect(activities.map((one) => `${one.class} ${one.version}`)).toEqual([
      "6 4152.2.0",
      "120 4152.2.0",
      "120 4081.2.0",
    ]);

    await central.close();
    await site.server.setPolicy({ policy_max_updates_per_period: 900_000, policy_safe_mode: false });
    const report = await runFleet({
      server: `${site.server.url}/v1/update/`,
      nodes: 10,
      version: "3815.2.0",
      oems: ["azure"],
      speed: Number.POSITIVE_INFINITY,
      connections: 4,
      fetch: true,
      forMs: 12 * 3_600_000,
    });
    expect(report).toMatchObject({ onTarget: 10, target: "4152.2.0", downloads: { failed: 0 } });
  });

  it("asks for what is newer each hour, and changes nothing when there is nothing new", async () => {
    const central = await aServer();
    await point(central, await host(central, first));
    const site = await aFollower(`${central.url}/v1/update/`);
    await site.sync();
    const audited = async () => (await site.server.api<{ totalCount: number }>("GET", "/audit")).totalCount;
    const before = await audited();
    const { next_check_ts: next } = await site.state();
    const wait = Date.parse(next ?? "") - site.server.clock.now();
    expect(wait).toBeGreaterThanOrEqual(0.9 * 3_600_000);
    expect(wait).toBeLessThanOrEqual(1.1 * 3_600_000);
    await site.sync();
    expect((await site.state()).next_check_ts).toBe(next);
    site.server.clock.move({ hours: 2 });
    expect(await site.sync()).toMatchObject({ found: { target: null }, last_error: null });
    expect(await audited()).toBe(before);

    await point(central, await host(central, second));
    site.server.clock.move({ hours: 2 });
    await site.sync();
    expect(await site.version()).toBe("4230.2.1");
    const metrics = await (await fetch(`${site.server.url}/metrics`)).text();
    expect(metrics).toContain('turnout_upstream_checks_total{result="ok"} 3');
    const bytes = [first, second].reduce((sum, { payload, oem }) => sum + payload.length + oem.length, 0);
    expect(metrics).toContain(`turnout_upstream_bytes_total ${bytes}`);
    expect(metrics).toContain(`turnout_upstream_success_age_seconds{upstream="${site.id}"} 0`);
  });

  it("may leave the files where they are", async () => {
    const central = await aServer();
    await point(central, await host(central, first));
    const site = await aFollower(`${central.url}/v1/update/`, { download: false });
    await site.sync();
    expect(await site.version()).toBe("4152.2.0");
    const { "4152.2.0": one } = await packagesOf(site.server);
    expect(one?.url).toBe(`${central.url}/payloads/${FLATCAR}/amd64/4152.2.0/`);
    expect(await fileStates(site.server, one?.id)).toEqual({ [MAIN]: "missing", [OEM]: "missing" });
  });
});
