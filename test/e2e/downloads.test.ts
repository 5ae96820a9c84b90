/** A fleet that really downloads what it is offered, from the server that offers it. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { runFleet } from "../../src/virtual/fleet.ts";
import type { FleetOptions } from "../../src/virtual/options.ts";
import { sha256 } from "../payloads/build.ts";
import { aHosting, type Hosting, MAIN, oem, payload, VERSION } from "../payloads/hosting.ts";
import { FLATCAR, STABLE_GROUP } from "./turnout.ts";

let hosting: Hosting;
afterEach(() => hosting.server.close());

const fleet = (nodes: number, options: Partial<FleetOptions> = {}) =>
  runFleet({
    server: `${hosting.server.url}/v1/update/`,
    nodes,
    version: "4081.2.0",
    oems: ["azure"],
    speed: Number.POSITIVE_INFINITY,
    connections: 8,
    fetch: true,
    forMs: 3 * 3_600_000,
    ...options,
  });
/** They all ask at the same time, again and again. */
const together = (nodes: number) => ({
  connections: nodes,
  timing: { jitterMs: 1_000 },
  forMs: 24 * 3_600_000,
  untilVersion: VERSION,
});
const anyNumber = { policy_max_updates_per_period: 900_000, policy_safe_mode: false };
const blob = (content: Buffer) => {
  const name = sha256(content).toString("hex");
  return join(hosting.server.dataDir, "payloads", name.slice(0, 2), name);
};
const damage = (content: Buffer) => {
  const bad = Buffer.from(content);
  bad[100] = (bad[100] ?? 0) ^ 1;
  writeFileSync(blob(content), bad);
};

describe("a fleet", () => {
  it("downloads through the server, goes on with what broke off, checks the hashes, and is updated", async () => {
    hosting = await aHosting({}, { hosting: "only" });
    await hosting.server.setPolicy(anyNumber);
    await hosting.hostAll();
    const report = await fleet(40);
    expect(report).toMatchObject({ end: "settled", onTarget: 40, target: VERSION });
    expect(report.downloads).toMatchObject({ files: 40, failed: 0, bytes: 40 * (payload.length + oem.length) });
    expect(report.downloads.resumed).toBeGreaterThan(10);
    const metrics = await (await fetch(`${hosting.server.url}/metrics`)).text();
    expect(Number(/^turnout_downloads_total\{status="206"\} (\d+)$/m.exec(metrics)?.[1])).toBe(
      report.downloads.resumed,
    );
  });

  it("goes to the package's own URL when the server has lost the file, as update_engine does", async () => {
    // A second server that has the files at the very same paths.
    const mirror = await aHosting();
    await mirror.hostAll();
    hosting = await aHosting({ TURNOUT_PAYLOAD_TOKEN: "t" }, { url: mirror.file(""), extra_files: [] });
    await hosting.server.setPolicy(anyNumber);
    await hosting.put(MAIN, payload);
    rmSync(blob(payload));
    expect(await fleet(8)).toMatchObject({ onTarget: 8, downloads: { files: 8, failed: 0 } });
    expect(await (await fetch(`${mirror.server.url}/metrics`)).text()).toMatch(/^turnout_download_bytes_total [1-9]/m);
    await mirror.server.close();
  });

  it.each([
    ["one download at a time", 6, { TURNOUT_DOWNLOADS: "1", TURNOUT_DOWNLOAD_RATE: "1 MiB" }],
    ["more nodes behind one address than strangers may open downloads", 110, { TURNOUT_DOWNLOAD_RATE: "16 MiB" }],
  ])(
    "loses no node to a limit of the server's own: %s",
    async (_, nodes, environment) => {
      hosting = await aHosting(environment, { hosting: "only" });
      await hosting.server.setPolicy({ ...anyNumber, strategy: { stages: [{ percent: 100 }], health: {} } });
      await hosting.hostAll();
      expect(await fleet(nodes, together(nodes))).toMatchObject({ onTarget: nodes, downloads: { failed: 0 } });
      const path = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`;
      const { rollouts } = await hosting.server.api<{ rollouts: unknown[] }>("GET", path);
      expect(rollouts[0]).toMatchObject({ state: "running", failed_by_cause: {} });
    },
    60_000,
  );

  it("reports a file that was damaged on the disk by its code, and none of it is installed", async () => {
    hosting = await aHosting();
    await hosting.server.setPolicy(anyNumber);
    await hosting.hostAll();
    damage(payload);
    const report = await fleet(5);
    expect(report).toMatchObject({ onTarget: 0, byStatus: { failed: 5 } });
    expect(report.downloads.failed).toBe(report.downloads.files);
    const rows = await hosting.server.turnout.store.read.selectFrom("nodes").select(["status", "error_code"]).execute();
    expect(rows.map((row) => row.error_code)).toEqual(Array(5).fill(10));
  });

  it("fails after the installation when its OEM image is not what it should be", async () => {
    hosting = await aHosting();
    await hosting.server.setPolicy(anyNumber);
    await hosting.hostAll();
    damage(oem);
    expect(await fleet(5)).toMatchObject({ onTarget: 0, byStatus: { failed: 5 } });
    const rows = await hosting.server.turnout.store.read.selectFrom("nodes").select("error_code").execute();
    expect(rows.map((row) => row.error_code)).toEqual(Array(5).fill(5));
  });
});
