/**
 * How many nodes of a group run which version in which status, of those seen lately. A big group is not counted when
 * somebody asks: it is counted in the background every quarter of an hour, and what has moved since is known from the
 * counts that are kept with the check-ins.
 */
import type { Insertable, Kysely } from "kysely";
import type { Store } from "./store.ts";
import type { Tables } from "./tables.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
export const SLOT_MS = 900_000;

/** How lately a node must have been seen. */
export const WITHIN = { "1h": HOUR, "1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY } as const;
export type Within = keyof typeof WITHIN;

/** Groups up to this size are counted when somebody asks: that takes some 30 ms. */
export const COUNTED_AT_ONCE = 20_000;
/** Nodes counted at a time, so that other readers come in between. */
const PORTION = 50_000;

export interface Census {
  readonly rows: readonly { readonly version: string; readonly status: string; readonly nodes: number }[];
  /** How old the count of those seen lately is, in milliseconds; where they stand is always of now. */
  readonly ageMs: number;
}

/** Nodes seen since then. Ids of the form `{uuid}` are mirrors' and counted nowhere. */
export function realNodesSince(db: Kysely<Tables>, since: number) {
  return db
    .selectFrom("nodes")
    .leftJoin("seen", "seen.node_no", "nodes.no")
    .where((eb) => eb(eb.fn.coalesce("seen.at", "nodes.created_at"), ">", since))
    .where("nodes.id", "not like", FAKE_ID);
}
const FAKE_ID = "{________-____-____-____-____________}";

export async function censusOf(
  db: Kysely<Tables>,
  groupNo: number,
  within: Within,
  now: number,
  countedAtOnce: number = COUNTED_AT_ONCE,
): Promise<Census> {
  const live = await db.selectFrom("node_counts").selectAll().where("group_no", "=", groupNo).execute();
  const known = live.reduce((sum, { count }) => sum + count, 0);
  const newest = known <= countedAtOnce ? undefined : await newestSlot(db, groupNo);
  if (newest === undefined) return { rows: await count(db, groupNo, within, now), ageMs: 0 };

  const then = await db
    .selectFrom("census")
    .selectAll()
    .where("group_no", "=", groupNo)
    .where("slot", "=", newest.slot)
    .execute();
  const nodes = new Map<string, { version: string; status: string; nodes: number }>();
  const add = ({ version, status }: { version: string; status: string }, delta: number) => {
    const key = `${status} ${version}`;
    nodes.set(key, { version, status, nodes: (nodes.get(key)?.nodes ?? 0) + delta });
  };
  for (const row of then) add(row, row[`within_${within}`] - row.total);
  // A node that has moved since has been seen since.
  for (const row of live) add(row, row.count);
  const rows = [...nodes.values()].filter((row) => row.nodes > 0);
  return { rows, ageMs: Math.max(0, now - newest.at) };
}

function newestSlot(db: Kysely<Tables>, groupNo: number) {
  return db
    .selectFrom("census")
    .select(["slot", "at"])
    .where("group_no", "=", groupNo)
    .orderBy("slot", "desc")
    .limit(1)
    .executeTakeFirst();
}

async function count(db: Kysely<Tables>, groupNo: number, within: Within, now: number): Promise<Census["rows"]> {
  const rows = await realNodesSince(db, now - WITHIN[within])
    .where("nodes.group_no", "=", groupNo)
    .select(["nodes.status", "nodes.version", (eb) => eb.fn.countAll().as("nodes")])
    .groupBy(["nodes.status", "nodes.version"])
    .execute();
  return rows.map((row) => ({ ...row, nodes: Number(row.nodes) }));
}

/** Counts every group, once in a quarter of an hour, whoever asks first. Answers whether it did. */
export async function takeCensus(store: Store, now: number): Promise<boolean> {
  const slot = Math.floor(now / SLOT_MS);
  const present = await store.read
    .selectFrom("census")
    .select("at")
    .where("slot", "=", slot)
    .limit(1)
    .executeTakeFirst();
  if (present !== undefined) return false;
  const rows = await countAll(store.read, slot, now);
  await store.write(async (tx) => {
    // Another process may have been faster: then its count stands, whole.
    const other = await tx.selectFrom("census").select("at").where("slot", "=", slot).limit(1).executeTakeFirst();
    if (other !== undefined) return;
    for (let from = 0; from < rows.length; from += 100) {
      await tx
        .insertInto("census")
        .values(rows.slice(from, from + 100))
        .execute();
    }
    await thin(tx, slot);
  });
  return true;
}

type CensusRow = Insertable<Tables["census"]>;

async function countAll(db: Kysely<Tables>, slot: number, now: number): Promise<CensusRow[]> {
  const counted = new Map<string, CensusRow>();
  const { last } = await db
    .selectFrom("nodes")
    .select((eb) => eb.fn.max("no").as("last"))
    .executeTakeFirstOrThrow();
  for (let from = 0; from < (last ?? 0); from += PORTION) {
    const rows = await db
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
        ];
      })
      .execute();
    for (const { group_no, version, status, ...counts } of rows) {
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
      });
    }
  }
  return [...counted.values()];
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
