/** Other servers that mirror this one: seen in the API, on the command line and in the metrics, also after a restart. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { asking } from "../cli/asking.ts";
import { caught } from "../cli/caught.ts";
import { asksAsNebraska, readAsNebraska } from "../clients/nebraska-syncer.ts";
import { aTurnout, checks, FLATCAR, STABLE_CHANNEL, STABLE_GROUP, type TestTurnout } from "./turnout.ts";

const SETTINGS = { TURNOUT_TRUST_PROXY: "loopback", TURNOUT_MIRRORS: "192.0.2.0/24, 2001:db8::/32" };
const NEBRASKA = "192.0.2.9:5000";
const STRANGER = "198.51.100.5";

let server: TestTurnout;
beforeAll(async () => {
  server = await aTurnout(SETTINGS, { dataDir: mkdtempSync(join(tmpdir(), "turnout-")) });
  await server.release("4230.2.1");
});
afterAll(async () => {
  await server.close();
  rmSync(server.dataDir, { recursive: true, force: true });
});

async function ask(body: string, address: string): Promise<string> {
  const response = await fetch(`${server.url}/v1/update/`, { method: "POST", headers: { "X-Forwarded-For": address }, body }); // biome-ignore format: one line
  return response.text();
}
const listed = async () =>
  (await server.api<{ totalCount: number; servers: Record<string, unknown>[] }>("GET", "/mirroring-servers")).servers;
const { done } = asking(() => server.url);

async function restart(): Promise<void> {
  const { dataDir, clock } = server;
  await server.close();
  server = await aTurnout(SETTINGS, { dataDir, clock });
}

describe("a server that mirrors this one", () => {
  it("is given everything where it may mirror, told nothing where it may not, and is listed either way after a restart", async () => {
    expect(await listed()).toEqual([]);
    expect(await done("status")).not.toContain("MIRROR");
    expect(readAsNebraska(await ask(asksAsNebraska(), NEBRASKA))?.target).toBe("4230.2.1");
    server.clock.move({ minutes: 5 });
    expect(await ask(asksAsNebraska({ multiManifest: false }), STRANGER)).toContain(
      'status="ok"><updatecheck status="noupdate">',
    );
    await ask(asksAsNebraska({ track: "none" }), NEBRASKA);
    await ask(checks(), NEBRASKA);
    await restart();
    const common = { application: FLATCAR, arch: 1, version: "766.0.0", left_out: [], asked: 1 };
    const later = { first_ts: "2026-03-04T12:05:00.000Z", last_ts: "2026-03-04T12:05:00.000Z" };
    expect(await listed()).toEqual([
      { ...common, ...later, address: "192.0.2.9", track: "none", group_id: null, multi_manifest: true, refused: false, reason: "unknown-group" }, // biome-ignore format: one line
      { ...common, ...later, address: STRANGER, track: "stable", group_id: STABLE_GROUP, multi_manifest: false, refused: true, reason: "mirror-not-allowed" }, // biome-ignore format: one line
      {
        ...common,
        address: "192.0.2.9",
        track: "stable",
        group_id: STABLE_GROUP,
        multi_manifest: true,
        refused: false,
        reason: "mirror",
        first_ts: "2026-03-04T12:00:00.000Z",
        last_ts: "2026-03-04T12:00:00.000Z",
      },
    ]);
    const nodes = await server.turnout.store.read.selectFrom("nodes").select("ip").execute();
    expect(nodes).toEqual([{ ip: "192.0.2.9" }]);
  });

  it("is in turnout status by its address, with what it asks for and what it was answered", async () => {
    const out = await done("status");
    expect(out).toMatch(/^MIRROR +ASKS FOR +LAST ASKED +ANSWER$/m);
    expect(out).toMatch(
      /^192\.0\.2\.9 +none \(amd64\), stable \(amd64\) +2026-03-04 12:05 UTC +served, unknown-group$/m,
    );
    expect(out).toMatch(/^198\.51\.100\.5 +stable \(amd64\) +2026-03-04 12:05 UTC +refused$/m);
    const { mirroring_servers: shown, needs } = JSON.parse(await done("status", "--json"));
    expect([shown.length, needs]).toEqual([3, []]);
    for (const line of (await caught(["status", "--server", server.url], { columns: 80 })).out.split("\n")) {
      expect(line.length, line).toBeLessThanOrEqual(80);
    }
  });

  it("is counted in the metrics by what it was answered, for a day", async () => {
    const metrics = async () =>
      (await (await fetch(`${server.url}/metrics`)).text()).match(/^turnout_mirroring_servers\{.*$/gm);
    expect(await metrics()).toEqual([
      'turnout_mirroring_servers{answer="served"} 1',
      'turnout_mirroring_servers{answer="refused"} 1',
    ]);
    server.clock.move({ days: 2 });
    expect(await metrics()).toEqual([
      'turnout_mirroring_servers{answer="served"} 0',
      'turnout_mirroring_servers{answer="refused"} 0',
    ]);
  });

  it("is told of what it was not told, where that is more than one codebase can express", async () => {
    for (const [version, host] of [
      ["4081.2.0", "a"],
      ["4152.2.0", "a"],
      ["4200.2.0", "b"],
    ]) {
      const id = await server.release(String(version), { url: `https://${host}.example.org/${version}/` });
      if (version !== "4200.2.0") await server.api("PUT", `/channels/${STABLE_CHANNEL}/floors/${id}`, {});
    }
    await ask(asksAsNebraska(), NEBRASKA);
    await server.turnout.housekeeping.flushSeen();
    expect((await listed())[0]).toMatchObject({
      reason: "mirror",
      left_out: [{ version: "4200.2.0", what: "release" }],
    });
    expect(await done("status")).toMatch(/^192\.0\.2\.9 .* served without 4200\.2\.0, unknown-group$/m);
  });
});
