/**
 * How many nodes of a group run which version in which status, of those seen lately. A big group is not counted when
 * somebody asks: it is counted in the background every quarter of an hour, and what has moved since is known from the
 * counts that are kept with the check-ins.
 */
import { type Insertable, type Kysely, type RawBuilder, type Selectable, sql } from "kysely";
import { isSteady, steadyMissedFrom } from "./missed.ts";
import type { Store } from "./store.ts";
import type { Tables } from "./tables.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
export const SLOT_MS = 900_000;

/** How lately a node must have been seen. */
export const WITHIN = { "1h": HOUR, "1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY } as const;
export type Within = keyof typeof WITHIN;

/** So many nodes are counted when somebody asks: that takes some 30 ms. */
export const COUNTED_AT_ONCE = 20_000;
/** Nodes counted at a time in the background, so that other readers come in between. */
const PORTION = 50_000;
/** Of a group's versions and statuses, the most common; what nodes make up is not to fill the disk. */
const MAX_ROWS_OF_A_GROUP = 1_000;

/** Nodes of one version and status. */
export interface Counted {
  readonly version: string;
  readonly status: string;
  readonly nodes: number;
}

/** Ids of the form `{uuid}` are mirrors' and counted nowhere. */
export const FAKE_ID = "{________-____-____-____-____________}";

export function isFake(id: string): boolean {
  return /^\{.{8}-.{4}-.{4}-.{4}-.{12}\}$/s.test(id);
}

/** Nodes seen since then. */
export function realNodesSince(db: Kysely<Tables>, since: number) {
  return db
    .selectFrom("nodes")
    .leftJoin("seen", "seen.node_no", "nodes.no")
    .where((eb) => eb(eb.fn.coalesce("seen.at", "nodes.created_at"), ">", since))
    .where("nodes.id", "not like", FAKE_ID);
}

/**
 * By group number. Where nodes stand is always of now; whether they were seen lately is at most a quarter of an hour old
 * where `countedAtOnce` nodes are not enough.
 */
export async function censusOf(
  db: Kysely<Tables>,
  groupNos: readonly number[],
  within: Within,
  now: number,
  countedAtOnce: number = COUNTED_AT_ONCE,
): Promise<ReadonlyMap<number, readonly Counted[]>> {
  if (groupNos.length === 0) return new Map();
  const live = await db.selectFrom("node_counts").selectAll().where("group_no", "in", groupNos).execute();
  const known = new Map<number, number>();
  for (const { group_no, count } of live) known.set(group_no, (known.get(group_no) ?? 0) + count);
  const [few, many] = [[] as number[], [] as number[]];
  let left = countedAtOnce;
  for (const [groupNo, nodes] of [...known].sort((a, b) => a[1] - b[1])) {
    left -= nodes;
    (left >= 0 ? few : many).push(groupNo);
  }
  const census = new Map<number, readonly Counted[]>();
  for (const groupNo of many) {
    const then = await newestOf(db, groupNo);
    if (then.length === 0) few.push(groupNo);
    else
      census.set(
        groupNo,
        movedOn(
          then,
          live.filter((row) => row.group_no === groupNo),
          within,
        ),
      );
  }
  const counted = Map.groupBy(await count(db, few, within, now), (row) => row.group_no);
  for (const groupNo of few) census.set(groupNo, counted.get(groupNo) ?? []);
  return census;
}

type CensusRow = Selectable<Tables["census"]>;

/** A node that has moved since the census has been seen since. */
function movedOn(then: readonly CensusRow[], live: readonly Selectable<Tables["node_counts"]>[], within: Within) {
  const counted = new Map<string, Counted>();
  const add = ({ version, status }: { version: string; status: string }, delta: number) => {
    const key = `${status} ${version}`;
    counted.set(key, { version, status, nodes: (counted.get(key)?.nodes ?? 0) + delta });
  };
  for (const row of then) add(row, row[`within_${within}`] - row.total);
  for (const row of live) add(row, row.count);
  return [...counted.values()].filter(({ nodes }) => nodes > 0);
}

async function newestOf(db: Kysely<Tables>, groupNo: number): Promise<CensusRow[]> {
  return db
    .selectFrom("census")
    .selectAll()
    .where("group_no", "=", groupNo)
    .where("slot", "=", (eb) =>
      eb
        .selectFrom("census as other")
        .select((of) => of.fn.max("other.slot").as("slot"))
        .where("other.group_no", "=", groupNo),
    )
    .execute();
}

async function count(db: Kysely<Tables>, groupNos: readonly number[], within: Within, now: number) {
  if (groupNos.length === 0) return [];
  const rows = await realNodesSince(db, now - WITHIN[within])
    .where("nodes.group_no", "in", groupNos)
    .select(["nodes.group_no", "nodes.status", "nodes.version", (eb) => eb.fn.countAll().as("nodes")])
    .groupBy(["nodes.group_no", "nodes.status", "nodes.version"])
    .execute();
  return rows.map((row) => ({ ...row, nodes: Number(row.nodes) }));
}

export function nodesIn(counted: readonly Counted[] = []): number {
  return counted.reduce((sum, { nodes }) => sum + nodes, 0);
}

/**
 * Counts every group, once in a quarter of an hour, whichever process is first. Answers whether it did.
 * @param silentAfterMs when a node is missed; null: nobody can tell now, since not all could be heard.
 */
export async function takeCensus(store: Store, now: number, silentAfterMs: number | null = null): Promise<boolean> {
  const slot = Math.floor(now / SLOT_MS);
  if (await hasSlot(store.read, slot)) return false;
  const groups = await countAll(store.read, slot, now, silentAfterMs);
  // A group is written whole or not at all, and no transaction keeps check-ins waiting for long.
  for (const [index, rows] of packed(groups).entries()) {
    const written = await store.write(async (tx) => {
      if (index === 0 && (await hasSlot(tx, slot))) return false;
      for (let from = 0; from < rows.length; from += INSERTED_AT_ONCE) {
        await tx
          .insertInto("census")
          .values(rows.slice(from, from + INSERTED_AT_ONCE))
          .execute();
      }
      return true;
    });
    if (!written) return false;
  }
  await store.write((tx) => thin(tx, slot));
  return true;
}
const INSERTED_AT_ONCE = 100;

async function hasSlot(db: Kysely<Tables>, slot: number): Promise<boolean> {
  const row = await db.selectFrom("census").select("at").where("slot", "=", slot).limit(1).executeTakeFirst();
  return row !== undefined;
}

type NewCensusRow = Insertable<Tables["census"]>;

/** Groups together, up to as many rows as one may have. */
function packed(groups: Iterable<readonly NewCensusRow[]>): NewCensusRow[][] {
  const packs: NewCensusRow[][] = [];
  for (const rows of groups) {
    const last = packs.at(-1);
    if (last !== undefined && last.length + rows.length <= MAX_ROWS_OF_A_GROUP) last.push(...rows);
    else packs.push([...rows]);
  }
  return packs;
}

async function countAll(
  db: Kysely<Tables>,
  slot: number,
  now: number,
  silentAfterMs: number | null,
): Promise<NewCensusRow[][]> {
  const counted = new Map<string, NewCensusRow>();
  const { last } = await db
    .selectFrom("nodes")
    .select((eb) => eb.fn.max("no").as("last"))
    .executeTakeFirstOrThrow();
  for (let from = 0; from < (last ?? 0); from += PORTION) {
    for (const { group_no, version, status, ...counts } of await countPortion(db, from, now, silentAfterMs)) {
      const key = `${group_no} ${status} ${version}`;
      const sum = counted.get(key);
      const plus = (name: keyof typeof counts) => (sum?.[name] ?? 0) + Number(counts[name]);
      counted.set(key, {
        group_no,
        slot,
        version,
        status,
        at: now,
        total: plus("total"),
        within_1h: plus("within_1h"),
        within_1d: plus("within_1d"),
        within_7d: plus("within_7d"),
        within_30d: plus("within_30d"),
        judged: plus("judged"),
        silent: plus("silent"),
      });
    }
  }
  const groups = Map.groupBy(counted.values(), (row) => row.group_no);
  return [...groups.values()].map((rows) => rows.sort((a, b) => b.total - a.total).slice(0, MAX_ROWS_OF_A_GROUP));
}

function countPortion(db: Kysely<Tables>, from: number, now: number, silentAfterMs: number | null) {
  const missedAt = steadyMissedFrom(silentAfterMs ?? 0);
  return db
    .selectFrom("nodes")
    .leftJoin("seen", "seen.node_no", "nodes.no")
    .where("nodes.no", ">", from)
    .where("nodes.no", "<=", from + PORTION)
    .groupBy(["nodes.group_no", "nodes.version", "nodes.status"])
    .select(["nodes.group_no", "nodes.version", "nodes.status"])
    .select((eb) => {
      const at = eb.fn.coalesce("seen.at", "nodes.created_at");
      const since = (ms: number) =>
        eb.fn.countAll().filterWhere(eb.and([eb(at, ">", now - ms), eb("nodes.id", "not like", FAKE_ID)]));
      return [
        eb.fn.countAll().as("total"),
        since(WITHIN["1h"]).as("within_1h"),
        since(WITHIN["1d"]).as("within_1d"),
        since(WITHIN["7d"]).as("within_7d"),
        since(WITHIN["30d"]).as("within_30d"),
        eb.fn
          .countAll()
          .filterWhere(canBeMissed(missedAt, now, silentAfterMs))
          .as("judged"),
        eb.fn
          .countAll()
          .filterWhere(sql<boolean>`${canBeMissed(missedAt, now, silentAfterMs)} AND ${missedAt} < ${now}`)
          .as("silent"),
      ];
    })
    .execute();
}

/** Without those that are sometimes away, and those that have been silent for over a day. */
function canBeMissed(missedAt: RawBuilder<number>, now: number, silentAfterMs: number | null): RawBuilder<boolean> {
  return silentAfterMs === null
    ? sql<boolean>`false`
    : sql<boolean>`(${isSteady(now)} AND ${missedAt} >= ${now - DAY})`;
}

/** Each quarter of an hour for two days, each hour for nine, and each six hours for as long as history is kept. */
async function thin(tx: Kysely<Tables>, slot: number): Promise<void> {
  const day = DAY / SLOT_MS;
  for (const [age, step] of [
    [2 * day, 4],
    [9 * day, 24],
  ] as const) {
    // What is older by a day more was thinned by an earlier turn.
    await tx
      .deleteFrom("census")
      .where("slot", "<", slot - age)
      .where("slot", ">=", slot - age - day)
      .where((eb) => eb(eb("slot", "%", step), "!=", 0))
      .execute();
  }
}
