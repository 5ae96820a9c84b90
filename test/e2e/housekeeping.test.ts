import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { aTurnout, checks, FLATCAR, reports, STABLE_GROUP, type TestTurnout } from "./turnout.ts";

let server: TestTurnout;
beforeEach(async () => {
  server = await aTurnout();
});
afterEach(async () => {
  vi.useRealTimers();
  await server.close();
});

const machine = (n: number) => n.toString(16).padStart(32, "0");
const stateOfRollout = async () => {
  const { rollouts } = await server.api<{ rollouts: { state: string }[] }>(
    "GET",
    `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`,
  );
  return rollouts[0]?.state;
};

describe("a rollout is completed", () => {
  beforeEach(async () => {
    await server.release("4230.2.1");
    await server.omaha(checks({ machineId: machine(1) }));
    await server.omaha(checks({ machineId: machine(1), version: "4230.2.1", bootId: "{boot-2}" }));
    await server.setPolicy({ policy_updates_enabled: false });
    await server.omaha(checks({ machineId: machine(2) }));
    await server.turnout.housekeeping.flushSeen();
  });

  it("not while an active node is below it, but when that one is idle for a day", async () => {
    await server.turnout.housekeeping.moveRollouts();
    expect(await stateOfRollout()).toBe("running");
    server.clock.move({ days: 1, minutes: 1 });
    await server.turnout.housekeeping.moveRollouts();
    expect(await stateOfRollout()).toBe("completed");
  });

  it("also when the last node has failed, and grants go on for those that come later", async () => {
    await server.setPolicy({ policy_updates_enabled: true });
    await server.omaha(checks({ machineId: machine(2) }));
    await server.omaha(reports(3, 0, { machineId: machine(2) }, 268435465));
    await server.turnout.housekeeping.moveRollouts();
    expect(await stateOfRollout()).toBe("completed");
    const { activities } = await server.api<{ activities: { class: number }[] }>("GET", "/activity");
    expect(activities[0]).toMatchObject({ class: 3, severity: 1, version: "4230.2.1", group_id: STABLE_GROUP });
    expect(await server.omaha(checks({ machineId: machine(3) }))).toContain("4230.2.1");
  });
});

describe("the timers", () => {
  it("end grants and write marks by themselves, and stop with the server", async () => {
    await server.release("4230.2.1");
    await server.omaha(checks());
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    server.turnout.housekeeping.start();
    server.clock.move({ hours: 2 });
    vi.advanceTimersByTime(5_000);
    await vi.waitFor(async () => {
      const rows = await server.turnout.store.read.selectFrom("nodes").select("status").execute();
      expect(rows).toEqual([{ status: "timed-out" }]);
      expect(await server.turnout.store.read.selectFrom("seen").select("at").execute()).toHaveLength(1);
    });
    await server.turnout.housekeeping.stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("starting", () => {
  it("is refused with one clear line for a database of a newer Turnout, which stays as it is", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "turnout-newer-"));
    const first = await aTurnout({}, { dataDir });
    await first.close();
    const db = new Database(join(dataDir, "turnout.db"));
    db.exec("INSERT INTO migrations VALUES (9999, '9999_future.sql', 0)");
    db.close();
    const start = (environment: Record<string, string>) =>
      spawnSync(process.execPath, [resolve(import.meta.dirname, "../../src/main.ts")], {
        env: { PATH: process.env.PATH, TURNOUT_DATA_DIR: dataDir, TURNOUT_PORT: "0", ...environment },
        encoding: "utf8",
      });
    const { status, stderr } = start({});
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^turnout: the database .* was written by a newer Turnout: it has migration 9999, this version knows \d+\..*\n$/,
    );
    const wrong = start({ TURNOUT_PORT: "http" });
    expect([wrong.status, wrong.stderr]).toEqual([1, "turnout: TURNOUT_PORT: must be a whole number\n"]);
    rmSync(dataDir, { recursive: true, force: true });
  });

  it("keeps everything over a restart, and a secret hides the update path", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "turnout-restart-"));
    const first = await aTurnout({}, { dataDir });
    await first.release("4230.2.1");
    await first.omaha(checks());
    await first.close();
    const again = await aTurnout(
      { TURNOUT_OMAHA_SECRET: "s3cret", TURNOUT_POLL_INTERVAL: "90 minutes" },
      { dataDir, clock: first.clock },
    );
    const post = async (path: string) => {
      const response = await fetch(`${again.url}${path}`, { method: "POST", body: checks() });
      return [response.status, await response.text()] as const;
    };
    for (const path of ["/v1/update", "/v1/update/", "/v1/update/wrong", "/v1/update/s3cret/more"])
      expect((await post(path))[0]).toBe(404);
    const [status, text] = await post("/v1/update/s3cret/");
    expect(status).toBe(200);
    expect(text).toContain('<updatecheck status="ok" PollInterval="5400">');
    const state = await again.api<{ application: { state: string } }>(
      "GET",
      `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances/b7d94e2c61f84a0f9d3355aa10c2e8f4`,
    );
    expect(state.application.state).toBe("granted");
    await again.close();
    rmSync(dataDir, { recursive: true, force: true });
  });
});
