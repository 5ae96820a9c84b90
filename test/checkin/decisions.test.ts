import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CheckInRequest, Decisions } from "../../src/checkin/decisions.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import { NO_LIMITS } from "../../src/rollout/model/server.ts";
import { recount } from "../../src/store/recount.ts";
import { moveRevision, SYSTEM, settleConfiguration } from "../../src/store/rollouts.ts";
import { StoreUnavailable } from "../../src/store/store.ts";
import { APP_ID, aCheckIn, anEvent, aPing, aReport, HOUR, MINUTE } from "../rollout/builders.ts";
import { aDatabase, type InProcess, NOW, planIn, releaseIn } from "../store/in-process.ts";

let world: InProcess;
let decisions: Decisions;
const faults: unknown[] = [];
let now = NOW;

beforeEach(async () => {
  now = NOW;
  faults.length = 0;
  world = await aDatabase();
  decisions = new Decisions(world.checkIns, { newNodesPerMinute: 0, onFault: (error) => faults.push(error) });
});
afterEach(() => world.close());

const machine = (n: number) => n.toString(16).padStart(32, "0");
const request = (...apps: CheckIn[]): CheckInRequest => ({ apps, ip: "192.0.2.1", now });
const reasons = async (...requests: CheckInRequest[]) =>
  (await decisions.run(requests)).flat().map(({ reason }) => reason);
const all = <T>(sql: string) => world.db.prepare<[], T>(sql).all();

const release = (version: string) => releaseIn(world, version);
const setPolicy = (policy: Record<string, number | string>) =>
  world.store.write(async (tx) => {
    await tx.updateTable("groups").set(policy).where("track", "=", "stable").execute();
    await settleConfiguration(tx, SYSTEM, NOW);
  });

/** A version's file is here. */
const keepFiles = (version: string) =>
  world.store.write(async (tx) => {
    const { no } = await tx
      .selectFrom("packages")
      .select("no")
      .where("version", "=", version)
      .executeTakeFirstOrThrow();
    const content = { no, sha256: String(no).padStart(64, "0"), sha1: String(no).padStart(40, "0"), size: 5 };
    await tx
      .insertInto("payloads")
      .values({ ...content, state: "stored", stored_at: NOW, checked_at: NOW })
      .execute();
    const file = { package_no: no, name: "flatcar_production_update.gz", payload_no: no };
    await tx
      .insertInto("hosted_files")
      .values({ ...file, created_at: NOW, look_again: 0, refused: null })
      .execute();
    await moveRevision(tx);
  });

/** The laws that hold after every batch. */
async function checkLaws(): Promise<void> {
  expect(await recount(world.store.read, false)).toEqual([]);
  const kept = all("SELECT group_no, version, status, count FROM node_counts ORDER BY 1, 2, 3");
  expect(kept).toEqual(
    all("SELECT group_no, version, status, count(*) AS count FROM nodes GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"),
  );
}

describe("a batch", () => {
  it("grants, logs and counts in one go, and what it wrote is read again", async () => {
    await release("4230.2.1");
    expect(await reasons(request(aCheckIn()), request(aCheckIn({ machineId: machine(2) })))).toEqual([
      "granted",
      "granted",
    ]);
    expect(
      await reasons(request(aReport(anEvent(13, 1))), request(aReport(anEvent(3, 0, { errorCode: 268435466 })))),
    ).toEqual(["no-update-check", "no-update-check"]);
    expect(all("SELECT status FROM status_history ORDER BY no")).toMatchObject([
      { status: "granted" },
      { status: "granted" },
      { status: "downloading" },
      { status: "failed" },
    ]);
    expect(all("SELECT error_code FROM events")).toEqual([{ error_code: null }, { error_code: 268435466 }]);
    expect(all("SELECT class, instance_id FROM activity ORDER BY no")).toEqual([
      { class: 2, instance_id: null },
      { class: 5, instance_id: aCheckIn().machineId },
    ]);
    await checkLaws();
  });

  it("lets a node's later request see what its earlier one did, also for a new node", async () => {
    await release("4230.2.1");
    const order = [
      request(aCheckIn()),
      request(aReport(anEvent(13, 1))),
      request(aCheckIn()),
      request(aCheckIn({ version: "4230.2.1" })),
    ];
    expect(await reasons(...order)).toEqual(["granted", "no-update-check", "offered-again", "up-to-date"]);
    expect(all("SELECT status, version FROM nodes")).toEqual([{ status: "complete", version: "4230.2.1" }]);
    await checkLaws();
  });

  it("keeps the limit also when all ask at once", async () => {
    await setPolicy({ policy_max_updates_per_period: 3, policy_period_interval: "1 hours" });
    await release("4230.2.1");
    const asked = Array.from({ length: 50 }, (_, n) => request(aCheckIn({ machineId: machine(n) })));
    expect((await reasons(...asked)).filter((reason) => reason === "granted")).toHaveLength(3);
    expect(await reasons(...asked)).toEqual([...Array(3).fill("offered-again"), ...Array(47).fill("max-in-flight")]);
    await checkLaws();
  });

  describe("of a server that keeps the files", () => {
    const server = { ...NO_LIMITS, downloads: 3 };
    const fresh = () =>
      new Decisions(world.checkIns, { newNodesPerMinute: 0, server, onFault: (error) => faults.push(error) });
    const limit = [...Array(3).fill("granted"), ...Array(47).fill("downloads-busy")];

    it("offers no more than can be downloaded, also when all ask at once, and after a restart", async () => {
      decisions = fresh();
      await release("4230.2.1");
      await keepFiles("4230.2.1");
      const asked = Array.from({ length: 50 }, (_, n) => request(aCheckIn({ machineId: machine(n) })));
      expect(await reasons(...asked)).toEqual(limit);
      decisions = fresh();
      expect((await reasons(...asked)).slice(2, 4)).toEqual(["offered-again", "downloads-busy"]);
      const through = aReport(anEvent(14, 1), { machineId: machine(0) });
      expect(await reasons(request(through), ...asked.slice(3, 5))).toEqual([
        "no-update-check",
        "granted",
        "downloads-busy",
      ]);
      await checkLaws();
    });

    it("counts nodes that still fetch what another release has taken the place of", async () => {
      decisions = fresh();
      await release("4152.0.0");
      await keepFiles("4152.0.0");
      const check = (n: number) => request(aCheckIn({ machineId: machine(n) }));
      expect(await reasons(check(0), check(1))).toEqual(["granted", "granted"]);
      await reasons(request(aReport(anEvent(13, 1), { machineId: machine(0) })));
      await release("4230.2.1");
      await keepFiles("4230.2.1");
      expect(await reasons(check(2), check(3))).toEqual(["granted", "downloads-busy"]);
      expect(await reasons(request(aReport(anEvent(14, 1), { machineId: machine(0) })), check(3), check(4))).toEqual([
        "no-update-check",
        "granted",
        "downloads-busy",
      ]);
      // One that is offered the newer one in place of the other has its place already.
      expect(await reasons(check(1), check(4))).toEqual(["granted", "downloads-busy"]);
      await checkLaws();
    });

    it("takes from a request what was cut off at its address, and says which of it explained something", async () => {
      decisions = fresh();
      await release("4230.2.1");
      await keepFiles("4230.2.1");
      const cut = { applicationId: APP_ID, version: "4230.2.1", errorCode: 9 as const };
      const failed = request(aReport(anEvent(3, 0, { errorCode: 268435465 })));
      await reasons(request(aCheckIn()));
      expect((await decisions.run([{ ...failed, cut: [cut] }])).flat()).toMatchObject([{ excused: cut }]);
      expect(all("SELECT status, rollout_no FROM nodes")).toEqual([{ status: "on-hold", rollout_no: null }]);
      expect(await reasons(request(aCheckIn()))).toEqual(["granted"]);
      expect((await decisions.run([failed])).flat()).toMatchObject([{ excused: null }]);
      expect(all("SELECT status, attempt FROM nodes")).toEqual([{ status: "failed", attempt: 1 }]);
      await checkLaws();
    });

    it("asks for that without reading the rollouts in which nobody has anything to fetch", async () => {
      const plan = (sql: string) => all<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`).map(({ detail }) => detail);
      expect(plan("SELECT rollout_no FROM rollout_counters AS c WHERE c.granted + c.downloading > 0").join()).toContain(
        "rollouts_fetching",
      );
      expect(
        plan("SELECT count(*) FROM nodes WHERE ip = 'a' AND status IN ('granted', 'downloading', 'downloaded')").join(),
      ).toContain("nodes_fetching (ip=?)");
    });
  });

  it("of heartbeats writes nothing", async () => {
    await reasons(request(aCheckIn()));
    const before = world.db.prepare("SELECT total_changes() AS n").get();
    for (let i = 0; i < 5; i += 1) await reasons(request(aCheckIn()), request(aPing()));
    expect(world.db.prepare("SELECT total_changes() AS n").get()).toEqual(before);
  });

  it("writes what a node says anew of itself without touching where it stands", async () => {
    await release("4230.2.1");
    await reasons(request(aCheckIn()));
    await reasons(request(aCheckIn({ bootId: "{boot-9}", machineAlias: "web" })));
    expect(all("SELECT boot_id, grant_boot_id, machine_alias, status FROM nodes")).toEqual([
      { boot_id: "{boot-9}", grant_boot_id: "{boot-9}", machine_alias: "web", status: "granted" },
    ]);
  });

  it("keeps who was heard before and who shares an id through a restart, and counts the update no more", async () => {
    await release("4230.2.1");
    const restarted = () =>
      new Decisions(world.checkIns, { newNodesPerMinute: 0, onFault: (error) => faults.push(error) });
    const heard: unknown[] = [];
    for (const bootId of ["{a}", "{b}", "{a}", "{b}"]) {
      decisions = restarted();
      heard.push(...(await reasons(request(aCheckIn({ bootId })))));
      await checkLaws();
      now += 20 * MINUTE;
    }
    expect(heard).toEqual(["granted", "offered-again", "shared-machine-id", "shared-machine-id"]);
    expect(all("SELECT shared_since, shared_at, status, rollout_no FROM nodes")).toEqual([
      { shared_since: NOW + 20 * MINUTE, shared_at: NOW + 60 * MINUTE, status: "on-hold", rollout_no: null },
    ]);
    expect(all("SELECT withdrawn, granted, failed FROM rollout_counters")).toEqual([
      { withdrawn: 1, granted: 0, failed: 0 },
    ]);
    expect(all("SELECT class, instance_id FROM activity ORDER BY no")).toEqual([
      { class: 2, instance_id: null },
      { class: 108, instance_id: aCheckIn().machineId },
    ]);
    // The other one has an id of its own by now.
    now += 25 * HOUR;
    decisions = restarted();
    expect(await reasons(request(aCheckIn({ bootId: "{a}" })))).toEqual(["granted"]);
    expect(all("SELECT former_boots, shared_since, shared_at FROM nodes")).toEqual([
      { former_boots: null, shared_since: null, shared_at: null },
    ]);
    await checkLaws();
  });

  it("shows the new version of what needs no reboot at once, and counts the node there", async () => {
    await release("4230.2.1");
    await world.store.write(async (tx) => {
      await tx.updateTable("packages").set({ type: 4 }).execute();
      await settleConfiguration(tx, SYSTEM, NOW);
    });
    const app = { bootId: "", updateEngine: false };
    await reasons(request(aCheckIn(app)));
    for (const type of [14, 2, 3, 3]) await reasons(request(aReport(anEvent(type, 1), app)));
    decisions = new Decisions(world.checkIns, { newNodesPerMinute: 0, onFault: (error) => faults.push(error) });
    await reasons(request(aReport(anEvent(14, 1), app)));
    expect(all("SELECT version, status FROM nodes")).toEqual([{ version: "4230.2.1", status: "complete" }]);
    expect(all("SELECT version, status, count FROM node_counts")).toEqual([
      { version: "4230.2.1", status: "complete", count: 1 },
    ]);
    await checkLaws();
  });

  it("answers several apps each by itself, in order", async () => {
    await release("4230.2.1");
    const [answers] = await decisions.run([
      request(aCheckIn({ appId: "io.example.none" }), aCheckIn(), aCheckIn({ version: "x" })),
    ]);
    expect(answers?.map(({ status }) => status)).toEqual([
      "error-unknownApplication",
      "ok",
      "error-instanceRegistrationFailed",
    ]);
    expect(all("SELECT id FROM nodes")).toHaveLength(1);
  });

  it("pulls safe mode's brake for those behind it, too", async () => {
    await setPolicy({ policy_safe_mode: 1 });
    await release("4230.2.1");
    await reasons(request(aCheckIn()));
    expect(await reasons(request(aReport(anEvent(3, 0))), request(aCheckIn({ machineId: machine(2) })))).toEqual([
      "no-update-check",
      "stopped-by-safe-mode",
    ]);
    // What a person has set is left alone.
    const [group] = all<{ enabled: number; stopped: string }>(
      "SELECT policy_updates_enabled AS enabled, updates_stopped AS stopped FROM groups WHERE name = 'Stable (AMD64)'",
    );
    expect(group?.enabled).toBe(1);
    expect(JSON.parse(group?.stopped ?? "null")).toEqual({
      by: "safe-mode",
      at: NOW,
      why: "the first node did not come through",
      version: "4230.2.1",
      rolloutId: all<{ id: string }>("SELECT id FROM rollouts")[0]?.id,
      nodeId: aCheckIn().machineId,
    });
    expect(all("SELECT class FROM activity ORDER BY no")).toEqual([{ class: 2 }, { class: 5 }, { class: 4 }]);
  });

  it("notes a missing package once a day, however many nodes ask", async () => {
    for (let n = 0; n < 5; n += 1) await reasons(request(aCheckIn({ machineId: machine(n) })));
    expect(all("SELECT class FROM activity")).toEqual([{ class: 1 }]);
    now += 25 * HOUR;
    await reasons(request(aCheckIn()));
    expect(all("SELECT class FROM activity")).toHaveLength(2);
  });

  it("does nothing at all when the gate can't be closed: no batch is written by half", async () => {
    await planIn(world, { health: { min_finished: 1, max_failure_percent: 0 } });
    await release("4230.2.1");
    await reasons(request(aCheckIn()));
    world.db.exec(
      "CREATE TRIGGER no_history BEFORE INSERT ON rollout_history BEGIN SELECT RAISE(ABORT, 'no room'); END",
    );
    const failure = request(aReport(anEvent(3, 0)));
    await expect(decisions.run([failure, request(aCheckIn({ machineId: machine(7) }))])).rejects.toThrow("no room");
    expect(all("SELECT state FROM rollouts")).toEqual([{ state: "running" }]);
    expect(all("SELECT status FROM nodes")).toEqual([{ status: "granted" }]);
    world.db.exec("DROP TRIGGER no_history");
    await reasons(failure);
    expect(all("SELECT state FROM rollouts")).toEqual([{ state: "halted" }]);
    await checkLaws();
  });

  it("does not store what a bug of ours fails on, and answers the others", async () => {
    await release("4230.2.1");
    const broken = { ...aCheckIn({ machineId: machine(7) }), events: null } as unknown as CheckIn; // what no parser makes
    expect(await reasons(request(broken), request(aCheckIn()))).toEqual(["fault", "granted"]);
    expect(faults).toHaveLength(1);
    expect(all("SELECT id FROM nodes")).toHaveLength(1);
  });

  it("that can't be written is undone whole, and the next one goes through", async () => {
    await release("4230.2.1");
    const other = new Database(world.path);
    other.exec("BEGIN IMMEDIATE");
    await expect(decisions.run([request(aCheckIn())])).rejects.toBeInstanceOf(StoreUnavailable);
    expect(all("SELECT id FROM nodes")).toEqual([]);
    other.exec("ROLLBACK");
    other.close();
    expect(await reasons(request(aCheckIn()))).toEqual(["granted"]);
    await checkLaws();
  });

  it("sees a change of the configuration at once", async () => {
    await release("4230.2.1");
    await setPolicy({ policy_updates_enabled: 0 });
    expect(await reasons(request(aCheckIn()))).toEqual(["updates-disabled"]);
    await setPolicy({ policy_updates_enabled: 1 });
    expect(await reasons(request(aCheckIn()))).toEqual(["granted"]);
  });
});

describe("new nodes beyond an address's share", () => {
  it("are answered and not stored, until the next minute; also after the clock was set back", async () => {
    decisions = new Decisions(world.checkIns, { newNodesPerMinute: 2, onFault: (error) => faults.push(error) });
    const ask = (n: number, ip = "192.0.2.1") =>
      decisions.run([{ apps: [aCheckIn({ machineId: machine(n) })], ip, now }]);
    for (let n = 0; n < 5; n += 1) await ask(n);
    await ask(10, "192.0.2.2");
    expect(all("SELECT id FROM nodes")).toHaveLength(3);
    expect((await ask(0))[0]?.[0]?.reason).toBe("no-package");
    now -= HOUR;
    await ask(11);
    expect(all("SELECT id FROM nodes")).toHaveLength(4);
    now += MINUTE;
    await ask(12);
    expect(all("SELECT id FROM nodes")).toHaveLength(5);
  });
});

describe("time", () => {
  it("ends grants whose deadline has passed, and looks at marks that are not written yet", async () => {
    await release("4230.2.1");
    await reasons(request(aCheckIn()), request(aCheckIn({ machineId: machine(2) })));
    await reasons(request(aReport(anEvent(3, 1), { machineId: machine(2) })));
    now += HOUR - MINUTE;
    await reasons(request(aPing({ machineId: machine(2) })));
    now += 2 * MINUTE;
    expect(await decisions.expireDue(now)).toBe(false);
    expect(all("SELECT status FROM nodes ORDER BY no")).toEqual([{ status: "timed-out" }, { status: "installed" }]);
    now += HOUR;
    await decisions.expireDue(now);
    expect(all("SELECT status FROM nodes ORDER BY no")).toEqual([{ status: "timed-out" }, { status: "lost" }]);
    await checkLaws();
  });

  it("ends a thousand at once, a chunk at a time", async () => {
    await release("4230.2.1");
    for (let from = 0; from < 1200; from += 400) {
      await decisions.run(Array.from({ length: 400 }, (_, n) => request(aCheckIn({ machineId: machine(from + n) }))));
    }
    now += 2 * HOUR;
    let chunks = 1;
    while (await decisions.expireDue(now)) chunks += 1;
    expect(chunks).toBe(3);
    expect(all("SELECT timed_out FROM rollout_counters")).toEqual([{ timed_out: 1200 }]);
    await checkLaws();
  });

  it("pulls safe mode's brake when the first node never ends", async () => {
    await setPolicy({ policy_safe_mode: 1 });
    await release("4230.2.1");
    await reasons(request(aCheckIn()));
    now += 2 * HOUR;
    await decisions.expireDue(now);
    expect(await reasons(request(aCheckIn({ machineId: machine(2) })))).toEqual(["stopped-by-safe-mode"]);
  });

  it("writes marks in chunks, the newest of each node, and keeps them when that fails", async () => {
    for (let from = 0; from < 1500; from += 500) {
      await decisions.run(Array.from({ length: 500 }, (_, n) => request(aCheckIn({ machineId: machine(from + n) }))));
    }
    now += MINUTE;
    await reasons(request(aCheckIn({ machineId: machine(3) })));
    const other = new Database(world.path);
    other.exec("BEGIN IMMEDIATE");
    await expect(decisions.flushSeen()).rejects.toBeInstanceOf(StoreUnavailable);
    other.exec("ROLLBACK");
    other.close();
    while (await decisions.flushSeen());
    expect(await decisions.flushSeen()).toBe(false);
    expect(all("SELECT count(*) AS n, max(at) AS at FROM seen")).toEqual([{ n: 1500, at: now }]);
  });

  it("keeps the newer mark of a node when writing an older one fails", async () => {
    await decisions.run(Array.from({ length: 300 }, (_, n) => request(aCheckIn({ machineId: machine(n) }))));
    expect(await decisions.flushSeen()).toBe(true);
    now += MINUTE;
    await reasons(request(aCheckIn({ machineId: machine(299) })));
    const other = new Database(world.path);
    other.exec("BEGIN IMMEDIATE");
    await expect(decisions.flushSeen()).rejects.toBeInstanceOf(StoreUnavailable);
    other.close();
    while (await decisions.flushSeen());
    const seen = (n: number) =>
      all(`SELECT at FROM seen WHERE node_no = (SELECT no FROM nodes WHERE id = '${machine(n)}')`);
    expect([seen(298), seen(299)]).toEqual([[{ at: now - MINUTE }], [{ at: now }]]);
  });

  it("deletes what is old and forgets nodes seen once, but none with a grant", async () => {
    await reasons(
      request(aCheckIn({ machineId: machine(1) })),
      request(aReport(anEvent(13, 1), { machineId: machine(2) })),
    );
    await release("4230.2.1");
    await reasons(request(aCheckIn({ machineId: machine(3) })));
    while (await decisions.flushSeen());
    expect(await decisions.deleteHistory(now + 1)).toBe(true);
    expect(await decisions.deleteHistory(now + 1)).toBe(false);
    expect(all("SELECT no FROM events")).toEqual([]);
    expect(await decisions.forgetSeenOnce(now + 1, 0)).toBeNull();
    expect(all("SELECT id FROM nodes")).toEqual([{ id: machine(3) }]);
    await checkLaws();
  });

  it("forgets no node seen once that has just come again, though that is not written yet", async () => {
    await reasons(request(aCheckIn({ machineId: machine(1) })), request(aCheckIn({ machineId: machine(2) })));
    while (await decisions.flushSeen());
    now += 48 * HOUR;
    await reasons(request(aCheckIn({ machineId: machine(2) })));
    expect(await decisions.forgetSeenOnce(now - HOUR, 0)).toBeNull();
    expect(all("SELECT id FROM nodes")).toEqual([{ id: machine(2) }]);
    await checkLaws();
  });

  it("forgets a node seen once whose mark was lost with a process that was killed", async () => {
    await reasons(request(aCheckIn({ machineId: machine(1) })));
    decisions = new Decisions(world.checkIns, { newNodesPerMinute: 0, onFault: (error) => faults.push(error) });
    expect(await decisions.forgetSeenOnce(now + 1, 0)).toBeNull();
    expect(all("SELECT id FROM nodes")).toEqual([]);
  });
});
