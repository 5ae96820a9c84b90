/** A server that is killed under load, again and again. */
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { aFolder, afterwards } from "../afterwards.ts";
import {
  aProcess,
  apiClient,
  checks,
  FLATCAR,
  postOmaha,
  release,
  reports,
  STABLE_GROUP,
  type TurnoutProcess,
} from "./turnout.ts";

const machine = (n: number) => n.toString(16).padStart(32, "0");
/** `npm run test:kills` has a hundred. */
const KILLS = Number(process.env.TURNOUT_TEST_KILLS ?? 4);

describe("kill -9 under load", () => {
  it(
    `loses nothing that was acknowledged in ${KILLS} kills, and no quota is exceeded`,
    async () => {
      const quota = 30 + 30 * KILLS;
      const dataDir = aFolder();
      // It is the quota that is to hold, not the ramp.
      const environment = { TURNOUT_LOG_LEVEL: "error", TURNOUT_DEFAULT_STRATEGY: "none" };
      let server: TurnoutProcess = await aProcess(dataDir, environment);
      afterwards(() => server.child.kill("SIGKILL"));
      const api = apiClient(server.url);
      await release(api, "4230.2.1");
      const group = await api("GET", `/apps/${FLATCAR}/groups/${STABLE_GROUP}`);
      await api("PUT", `/apps/${FLATCAR}/groups/${STABLE_GROUP}`, {
        ...group,
        policy_max_updates_per_period: quota,
        policy_period_interval: "1 days",
        policy_update_timeout: "1 days",
      });

      const granted = new Set<string>();
      const downloading = new Set<string>();
      let next = 0;
      for (let round = 0; round < KILLS; round += 1) {
        const { url, child, ended } = server;
        let alive = true;
        void ended.then(() => {
          alive = false;
        });
        const talk = async () => {
          while (alive) {
            const machineId = machine(next++);
            try {
              const answer = await postOmaha(url, checks({ machineId }));
              if (!answer.includes("<manifest")) continue;
              granted.add(machineId);
              await postOmaha(url, reports(13, 1, { machineId }));
              downloading.add(machineId);
            } catch {
              // It died in the middle: not acknowledged.
            }
          }
        };
        const before = granted.size;
        const talkers = Array.from({ length: 16 }, talk);
        while (granted.size < before + 20 && granted.size < quota) await new Promise((turn) => setImmediate(turn));
        child.kill("SIGKILL");
        await ended;
        await Promise.all(talkers);
        server = await aProcess(dataDir, environment);
      }
      server.child.kill("SIGTERM");
      expect(await server.ended).toBe(0);

      const db = new Database(join(dataDir, "turnout.db"), { readonly: true });
      afterwards(() => db.close());
      const status = new Map(db.prepare<[], [string, string]>("SELECT id, status FROM nodes").raw().all());
      for (const id of granted) expect(status.get(id), id).toMatch(/granted|downloading/);
      for (const id of downloading) expect(status.get(id), id).toBe("downloading");
      const inFlight = [...status.values()].filter((state) => state === "granted" || state === "downloading").length;
      expect(inFlight).toBeGreaterThanOrEqual(granted.size);
      expect(inFlight).toBeLessThanOrEqual(quota);
      const counted = db.prepare<[], number>("SELECT granted + downloading FROM rollout_counters").pluck().get();
      expect(counted).toBe(inFlight);
      expect(db.pragma("integrity_check", { simple: true })).toBe("ok");
    },
    60_000 + KILLS * 5_000,
  );
});

describe("kill -9 while the gate closes", () => {
  it("leaves a rollout that is running or halted, never half of it, with counters that are right", async () => {
    const dataDir = aFolder();
    let server: TurnoutProcess = await aProcess(dataDir, { TURNOUT_LOG_LEVEL: "error" });
    afterwards(() => server.child.kill("SIGKILL"));
    const path = `/apps/${FLATCAR}/groups/${STABLE_GROUP}`;
    const group = await apiClient(server.url)("GET", path);
    await apiClient(server.url)("PUT", path, {
      ...group,
      policy_max_updates_per_period: 900_000,
      strategy: { health: {} },
    });
    let next = 0;
    for (let round = 1; round <= 6; round += 1) {
      const version = `4230.2.${round}`;
      await release(apiClient(server.url), version);
      let alive = true;
      let failed = 0;
      void server.ended.then(() => {
        alive = false;
      });
      const { url, child, ended } = server;
      const talk = async () => {
        while (alive) {
          const machineId = machine(next++);
          try {
            await postOmaha(url, checks({ machineId }));
            await postOmaha(url, reports(13, 1, { machineId }));
            await postOmaha(url, reports(3, 0, { machineId }, 9));
            failed += 1;
          } catch {
            // It died in the middle: not acknowledged.
          }
        }
      };
      const talkers = Array.from({ length: 8 }, talk);
      // The fifth failure closes the gate: now a little before, now a little after.
      while (failed < round + 1) await new Promise((turn) => setImmediate(turn));
      child.kill("SIGKILL");
      await ended;
      await Promise.all(talkers);
      const acknowledged = failed;

      server = await aProcess(dataDir, { TURNOUT_LOG_LEVEL: "error" });
      const api = apiClient(server.url);
      const { rollouts } = await api<{ rollouts: { id: string }[] }>("GET", `${path}/rollouts?perpage=1`);
      const view = await api<{
        version: string;
        state: string;
        revision: number;
        counters: Record<string, number>;
        history: { to_state: string }[];
      }>("GET", `${path}/rollouts/${rollouts[0]?.id}`);
      expect(view.version).toBe(version);
      const { failed: counted = 0 } = view.counters;
      expect(counted).toBeGreaterThanOrEqual(Math.min(acknowledged, 5));
      // The failure that closes the gate and the halt are one transaction.
      expect(view.state).toBe(counted >= 5 ? "halted" : "running");
      expect(view.history.map(({ to_state: state }) => state)).toEqual(
        counted >= 5 ? ["running", "halted"] : ["running"],
      );
      expect(view.revision).toBe(view.history.length);
      expect(await api("POST", "/counters/recount", { repair: false })).toMatchObject({ differences: [] });
    }
  });
});
