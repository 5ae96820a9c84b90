import { beforeEach, expect, it, vi } from "vitest";
import { type Housekeeping, housekeeping } from "../../src/checkin/housekeeping.ts";
import { startWriter, type Writer } from "../../src/checkin/writer.ts";
import { afterwards } from "../afterwards.ts";
import { aCheckIn } from "../rollout/builders.ts";
import { aDatabase, type InProcess, NOW } from "../store/in-process.ts";
import { VirtualClock } from "../virtual-clock.ts";

const pauses: number[] = [];
/** Short ones end at once, those of an hour or more only with their signal. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  pauses.push(ms);
  if (ms < 3_600_000) return;
  await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

let world: InProcess;
let writer: Writer;
let chores: Housekeeping;
beforeEach(async () => {
  pauses.length = 0;
  const onError = (error: unknown) => expect.unreachable(String(error));
  world = await aDatabase();
  afterwards(() => world.close());
  writer = await startWriter(
    { databasePath: world.path, newNodesPerMinute: 0, now: NOW },
    { onFault: onError, onDeath: onError },
  );
  afterwards(() => writer.close());
  const clock = new VirtualClock(NOW);
  const days = { historyDays: 1, forgetSeenOnceDays: 1 };
  chores = housekeeping({ writer, store: world.store, clock, ...days, absence: null, onError, pause });
});

/** Whoever looks at the stopwatch finds that so much has passed since the last look. */
function everyLookTakes(ms: number): void {
  let elapsed = 0;
  const stopwatch = vi.spyOn(performance, "now").mockImplementation(() => {
    elapsed += ms;
    return elapsed;
  });
  afterwards(() => stopwatch.mockRestore());
}

it("marks are written within their time also where each chunk waits long: its pause is no longer than what is left", async () => {
  const machines = Array.from({ length: 600 }, (_, n) => aCheckIn({ machineId: `machine-${n}` }));
  await writer.ask({ kind: "batch", requests: [{ apps: machines, ip: "192.0.2.1", now: NOW }] });
  everyLookTakes(300);
  await chores.flushSeen();
  expect(pauses).toEqual([200]);
  expect(world.db.prepare("SELECT count(*) AS n FROM seen").get()).toEqual({ n: 600 });
});

it("stopping waits for no pause, however long one is", async () => {
  world.db.exec(
    "INSERT INTO events (node_no, at, type, result, version, previous_version) VALUES (1, 0, 3, 1, '', '')",
  );
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  afterwards(() => vi.useRealTimers());
  everyLookTakes(3_600_000);
  chores.start();
  vi.advanceTimersByTime(3_600_000);
  await vi.waitFor(() => expect(pauses).toHaveLength(1));
  await chores.stop();
  expect(world.db.prepare("SELECT no FROM events").all()).toEqual([]);
});
