/** A group in time: which versions its nodes ran, and what became of them. From rollups, whatever the fleet's size. */
import { type Kysely, sql } from "kysely";
import type { VersionOrder } from "../rollout/model/configuration.ts";
import { compareVersions } from "../rollout/version.ts";
import { censusOf, SLOT_MS, WITHIN, type Within } from "./census.ts";
import type { Tables } from "./tables.ts";

const HOUR = 3_600_000;
const STEP_MS = { "1h": SLOT_MS, "1d": HOUR, "7d": 24 * HOUR, "30d": 72 * HOUR } as const;

/** The points of a timeline, the oldest first: on full quarters of an hour, the last one in the present quarter. */
export function pointsOf(duration: Within, now: number): number[] {
  const last = Math.floor(now / SLOT_MS) * SLOT_MS;
  const steps = WITHIN[duration] / STEP_MS[duration];
  return Array.from({ length: steps + 1 }, (_, index) => last - (steps - index) * STEP_MS[duration]);
}

/** How many nodes there were of each version, of those seen within a day; by point. Each version is at every point. */
export async function versionTimeline(
  db: Kysely<Tables>,
  groupNo: number,
  order: VersionOrder,
  duration: Within,
  now: number,
): Promise<Map<number, Map<string, number>>> {
  const points = pointsOf(duration, now);
  const counts = new Map<number, Map<string, number>>();
  const taken = await takenAt(db, groupNo, points, STEP_MS[duration]);
  const rows = await db
    .selectFrom("census")
    .select(["slot", "version", (eb) => eb.fn.sum("within_1d").as("nodes")])
    .where("group_no", "=", groupNo)
    .where("slot", "in", [-1, ...taken.values()])
    .groupBy(["slot", "version"])
    .execute();
  for (const point of points) {
    const slot = taken.get(point);
    const here = rows.filter((row) => row.slot === slot && Number(row.nodes) > 0);
    counts.set(point, new Map(here.map(({ version, nodes }) => [version, Number(nodes)])));
  }
  const present = new Map<string, number>();
  for (const { version, nodes } of (await censusOf(db, [groupNo], "1d", now)).get(groupNo) ?? []) {
    present.set(version, (present.get(version) ?? 0) + nodes);
  }
  const last = points.at(-1);
  if (last !== undefined) counts.set(last, present);
  const seen = new Set([...counts.values()].flatMap((here) => [...here.keys()]));
  const versions = [...seen].sort((a, b) => compareVersions(a, b, order));
  return new Map(
    points.map((point) => [point, new Map(versions.map((version) => [version, counts.get(point)?.get(version) ?? 0]))]),
  );
}

/** By point: the census that tells of it, the last one taken within a step before it. Without one, nobody was there to count. */
async function takenAt(
  db: Kysely<Tables>,
  groupNo: number,
  points: readonly number[],
  stepMs: number,
): Promise<Map<number, number>> {
  const [first = 0] = points;
  const rows = await db
    .selectFrom("census")
    .select("slot")
    .distinct()
    .where("group_no", "=", groupNo)
    .where("slot", ">", (first - stepMs) / SLOT_MS)
    .orderBy("slot")
    .execute();
  const slots = rows.map(({ slot }) => slot);
  const taken = new Map<number, number>();
  for (const point of points) {
    const slot = slots.findLast((one) => one * SLOT_MS <= point && one * SLOT_MS > point - stepMs);
    if (slot !== undefined) taken.set(point, slot);
  }
  return taken;
}

export interface Entries {
  readonly status: string;
  readonly version: string;
  /** How many times a node came to it. */
  readonly entries: number;
}

/** What became of nodes, by the point that begins the step. */
export async function statusTimeline(
  db: Kysely<Tables>,
  groupNo: number,
  duration: Within,
  now: number,
): Promise<Map<number, Entries[]>> {
  const points = pointsOf(duration, now);
  const firstSlot = (points[0] ?? 0) / SLOT_MS;
  const step = sql<number>`cast((slot - ${firstSlot}) / ${STEP_MS[duration] / SLOT_MS} as integer)`;
  const rows = await db
    .selectFrom("status_slots")
    .select(["status", "version", step.as("step"), (eb) => eb.fn.sum("entries").as("entries")])
    .where("group_no", "=", groupNo)
    .where("slot", ">=", firstSlot)
    .groupBy(["status", "version", step])
    .execute();
  return new Map(
    points.map((point, index) => [
      point,
      rows.filter((row) => row.step === index).map((row) => ({ ...row, entries: Number(row.entries) })),
    ]),
  );
}
