import { describe, expect, it } from "vitest";
import { answering, type CheckInBatches } from "../../src/checkin/answer.ts";
import { Batches } from "../../src/checkin/batch.ts";
import type { CheckInRequest, Decision } from "../../src/checkin/decisions.ts";
import type { PollingOptions } from "../../src/checkin/polling.ts";
import { Unavailable } from "../../src/omaha/handler.ts";
import { APP_ID, aCheckIn, anEvent, aReport } from "../rollout/builders.ts";

const polling: PollingOptions = {
  normalSeconds: null,
  longestMs: 4 * 3_600_000,
  adaptive: true,
  overloadWaitMs: 1_000,
};
const NOTHING: Decision = {
  status: "ok",
  reason: "up-to-date",
  offer: null,
  groupId: null,
  notBefore: null,
  excused: null,
};
const turn = () => new Promise((done) => setImmediate(done));

/** Batches of two on a writer that takes as long for each as it is told. */
function aSlowWriter() {
  let now = 0;
  const finish: (() => void)[] = [];
  const batches: CheckInBatches = new Batches<CheckInRequest, readonly Decision[]>({
    run: (requests) =>
      new Promise((done) => finish.push(() => done(requests.map(({ apps }) => apps.map(() => NOTHING))))),
    maxBatch: 2,
    maxWaiting: 1_000,
    stopwatch: () => now,
  });
  const answer = answering({
    batches,
    now: () => 0,
    polling,
    payloadsAt: () => "",
    cutDownloads: () => [],
    onDecision: () => {},
  });
  return {
    answer,
    /** Time goes by, and nothing is done. */
    hang: (milliseconds: number) => {
      now += milliseconds;
    },
    /** One batch is done, after so many milliseconds. */
    async done(milliseconds: number) {
      await turn();
      now += milliseconds;
      finish.shift()?.();
      await turn();
    },
  };
}

describe("under load", () => {
  it("asks nodes to come less often, then turns checks away, and still takes what nodes report", async () => {
    const { answer, done } = aSlowWriter();
    const check = () => answer([aCheckIn({})], "192.0.2.1");
    const intervals = async (answers: ReturnType<typeof check>) => (await answers)[0]?.updateCheck?.pollIntervalSeconds;

    const alone = check();
    await done(10_000);
    expect(await intervals(alone)).toBeNull(); // nobody else waits: batches have become slow, and that is all

    // Two seconds a batch: while one more waits than the next batch takes, nodes are asked to come less often.
    const pair = [check(), check()];
    await turn();
    const next = [check(), check(), check()];
    await done(2_000);
    for (const one of pair) expect(await intervals(one)).toBeGreaterThan(3_600);
    await done(2_000);
    await done(2_000);
    for (const one of next) expect(await intervals(one)).toBeNull();

    // Three batches wait: six seconds.
    const many = Array.from({ length: 4 }, check);
    await turn();
    const report = () => answer([aReport(anEvent(13, 1))], "192.0.2.1");
    const fallenBack = () => answer([aCheckIn({ events: [anEvent(3, 0, { errorCode: 44 })] })], "192.0.2.1");
    const reports = Array.from({ length: 4 }, report);
    const back = fallenBack();
    await expect(check()).rejects.toThrow(Unavailable);
    for (let batch = 0; batch < 5; batch += 1) await done(2_000);
    expect(await Promise.all(many)).toHaveLength(4);
    for (const one of reports) expect(await one).toMatchObject([{ events: 1, updateCheck: null }]);
    expect(await back).toMatchObject([{ events: 1, updateCheck: { offer: null } }]);

    // All is well again.
    for (let calm = 0; calm < 20; calm += 1) {
      const one = check();
      await done(1);
      await one;
    }
    const last = check();
    await done(1);
    expect(await intervals(last)).toBeNull();
  });

  it("turns checks away while the disk hangs, and not only when it has been slow before", async () => {
    const { answer, done, hang } = aSlowWriter();
    const check = () => answer([aCheckIn({})], "192.0.2.1");
    const stuck = [check(), check()];
    await turn();
    stuck.push(check());
    hang(4_999);
    stuck.push(check());
    hang(1);
    await expect(check()).rejects.toThrow(Unavailable);
    await done(0);
    await done(1);
    expect(await Promise.all(stuck)).toHaveLength(4);
  });
});

describe("a download that a node reports as failed", () => {
  it("is told with what was cut off at its address, which is asked for with no other report", async () => {
    const cut = { applicationId: APP_ID, version: "4230.2.1", errorCode: 9 as const };
    const asked: string[] = [];
    const excused: (readonly [string, string])[] = [];
    const batches: CheckInBatches = new Batches<CheckInRequest, readonly Decision[]>({
      run: async (requests) =>
        requests.map((one) => one.apps.map(() => ({ ...NOTHING, excused: one.cut?.[0] ?? null }))),
      maxBatch: 9,
      maxWaiting: 9,
    });
    const answer = answering({
      batches,
      now: () => 0,
      polling,
      payloadsAt: () => "",
      cutDownloads(ip) {
        asked.push(ip);
        return ip === "192.0.2.1" ? [cut] : [];
      },
      onDecision: (_, decision, ip) => {
        if (decision.excused !== null) excused.push([ip, decision.excused.version]);
      },
    });
    for (const one of [aCheckIn(), aReport(anEvent(14, 1)), aReport(anEvent(3, 0, { errorCode: 10 })), aReport(anEvent(3, 9, { errorCode: 9 }))]) await answer([one], "192.0.2.1"); // biome-ignore format: one line
    expect([asked, excused]).toEqual([[], []]);
    await answer([aReport(anEvent(3, 0, { errorCode: 0x50000009 }))], "192.0.2.1");
    await answer([aReport(anEvent(3, 0, { errorCode: 5 }))], "192.0.2.2");
    expect([asked, excused]).toEqual([["192.0.2.1", "192.0.2.2"], [["192.0.2.1", "4230.2.1"]]]);
  });
});
