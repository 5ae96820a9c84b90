/** Who has fallen silent, read from when nodes were last seen. */
import { type Kysely, sql } from "kysely";
import { missedFrom } from "../rollout/habits.ts";
import type { Arch } from "../rollout/model/arch.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { sharedAfter } from "../rollout/shared-id.ts";
import type { Heard, SilenceCell } from "../rollout/silence.ts";
import { isToGo } from "../rollout/stages.ts";
import { SLOT_MS } from "./census.ts";
import { awayOf, isSteady, steadyMissedFrom } from "./missed.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

const DAY = 86_400_000;
const WEEK_MS = 7 * DAY;
/** A week may lack its first hours: only some of the older censuses are kept, and a server is restarted now and then. */
const CENSUS_LATE_MS = DAY / 4;
/** Nodes counted at a time, so that other readers come in between: some 40 ms each. */
const PORTION = 20_000;
/** Nodes read one by one at a time. */
const CHUNK = 1_000;
/** Of the versions and statuses of those that don't have the release, the most common. */
const MAX_ROWS_OF_OTHERS = 100;

export interface SilenceQuestion {
  readonly rollout: Rollout;
  /** Whoever was missed before is known, or was never among those that could have had the release. */
  readonly since: number;
  readonly silentAfterMs: number;
  readonly now: number;
}

export interface SilenceFound {
  readonly cells: readonly SilenceCell[];
  /** Of those that have completed, all that fell silent while they were watched: their numbers, ascending. */
  readonly silent: readonly number[];
}

/** Nodes of the group that are looked at together: of one status, and with the release or not. */
interface Part {
  readonly has: boolean;
  readonly status: string;
  /** Of those that don't have it. */
  readonly version: string;
}

/**
 * Counts the nodes of the rollout's group. Of the others, those that were told to stay away are left out: they are missed later
 * than those that have the release.
 * @param db a snapshot.
 */
export async function findSilence(db: Db, question: SilenceQuestion): Promise<SilenceFound> {
  const counted = new Counted(question);
  const complete = ["complete", "on-hold"].map((status): Part => ({ has: true, status, version: "" }));
  const others = (await statusesOfOthers(db, question.rollout)).map((one): Part => ({ has: false, ...one }));
  for (const part of [...complete, ...others]) {
    await inPortions(
      PORTION,
      (after) => countSteady(db, question, part, after),
      (row) => counted.addSum(row, part),
    );
    await inPortions(
      CHUNK,
      (after) => readOthers(db, question, part, after),
      (row) => counted.addOne(row, part),
    );
  }
  return counted.found;
}

type Counts = { -readonly [K in keyof Heard]: Heard[K] };
type Cell = { [K in "complete" | "today" | "others" | "steady"]: Counts } & Pick<SilenceCell, "cell">;

/** Nodes of one OEM and architecture that are missed from the same time on, or so many as were counted at once. */
interface Row {
  readonly oem: string;
  readonly arch: number;
  readonly read: number;
  readonly last: number;
}

class Counted {
  readonly #question: SilenceQuestion;
  readonly #cells = new Map<string, Cell>();
  readonly #silent: number[] = [];

  constructor(question: SilenceQuestion) {
    this.#question = question;
  }

  get found(): SilenceFound {
    return { cells: [...this.#cells.values()], silent: this.#silent.sort((a, b) => a - b) };
  }

  addSum(row: SteadyRow, { has }: Part): void {
    const cell = this.#cell(row);
    const [all, some] = has ? [cell.complete, cell.today] : [cell.others, cell.steady];
    add(all, Number(row.nodes), Number(row.silent));
    if (has) add(some, Number(row.nodes_today), Number(row.silent_today));
    else add(some, Number(row.nodes), Number(row.silent));
    for (const no of (row.silent_nos ?? "").split(",")) if (no !== "") this.#silent.push(Number(no));
  }

  addOne(row: NodeRow, { has }: Part): void {
    const { since, silentAfterMs, now } = this.#question;
    const mark = { createdAt: row.created_at, seenAt: row.at, dueAt: row.due_at, away: awayOf(row.away) };
    const missedAt = missedFrom(mark, now, silentAfterMs);
    if (missedAt === null) return;
    const silent = Number(missedAt < now);
    const cell = this.#cell(row);
    if (missedAt >= since) add(has ? cell.complete : cell.others, 1, silent);
    if (!has) return;
    if (missedAt >= Math.max(since, now - DAY)) add(cell.today, 1, silent);
    if (silent === 1 && row.at <= (row.watched_until ?? 0)) this.#silent.push(row.last);
  }

  #cell({ oem, arch }: Row): Cell {
    const key = `${arch} ${oem}`;
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      const none = (): Counts => ({ nodes: 0, silent: 0 });
      // Written from the engine's own types.
      cell = { cell: { oem, arch: arch as Arch }, complete: none(), today: none(), others: none(), steady: none() };
      this.#cells.set(key, cell);
    }
    return cell;
  }
}

function add(counts: Counts, nodes: number, silent: number): void {
  counts.nodes += nodes;
  counts.silent += silent;
}

async function inPortions<R extends Row>(
  limit: number,
  portion: (after: number) => Promise<readonly R[]>,
  take: (row: R) => void,
): Promise<void> {
  for (let after = 0; ; ) {
    const rows = await portion(after);
    rows.forEach(take);
    if (rows.reduce((sum, { read }) => sum + Number(read), 0) < limit) return;
    after = Math.max(...rows.map(({ last }) => last));
  }
}

interface SteadyRow extends Row {
  readonly nodes: number;
  readonly silent: number;
  readonly nodes_today: number;
  readonly silent_today: number;
  /** Their numbers, with commas in between; null: none. */
  readonly silent_nos: string | null;
}

/** Those that are never away. */
async function countSteady(db: Db, question: SilenceQuestion, part: Part, after: number) {
  const { since, silentAfterMs, now } = question;
  const today = Math.max(since, now - DAY);
  const isSilent = part.has ? sql`counts AND missed_at < ${now} AND seen_at <= watched_until` : sql`false`;
  const { rows } = await sql<SteadyRow>`
    SELECT oem, arch, count(*) AS read, max(no) AS last,
      count(*) FILTER (WHERE counts AND missed_at >= ${since}) AS nodes,
      count(*) FILTER (WHERE counts AND missed_at >= ${since} AND missed_at < ${now}) AS silent,
      count(*) FILTER (WHERE counts AND missed_at >= ${today}) AS nodes_today,
      count(*) FILTER (WHERE counts AND missed_at >= ${today} AND missed_at < ${now}) AS silent_today,
      group_concat(no) FILTER (WHERE ${isSilent}) AS silent_nos
    FROM (
      SELECT nodes.*, seen.at AS seen_at, ${steadyMissedFrom(silentAfterMs)} AS missed_at,
        ${isSteady(now)} AND ${isFree(part, now)} AS counts
      FROM (${nodesOf(question, part)} AND no > ${after} ORDER BY no LIMIT ${PORTION}) AS nodes
      LEFT JOIN seen ON seen.node_no = nodes.no
    ) AS marks
    GROUP BY oem, arch`.execute(db);
  return rows;
}

interface NodeRow extends Row {
  readonly created_at: number;
  readonly watched_until: number | null;
  readonly at: number;
  readonly due_at: number | null;
  readonly away: string | null;
}

/** Those that are sometimes away, one by one. */
async function readOthers(db: Db, question: SilenceQuestion, part: Part, after: number) {
  const { now } = question;
  const { rows } = await sql<NodeRow>`
    SELECT nodes.oem, nodes.arch, 1 AS read, nodes.no AS last, nodes.created_at, nodes.watched_until,
      seen.at, seen.due_at, seen.away
    FROM (${nodesOf(question, part)} AND no > ${after}) AS nodes
    INNER JOIN seen ON seen.node_no = nodes.no
    WHERE NOT ${isSteady(now)} AND ${isFree(part, now)}
    ORDER BY nodes.no
    LIMIT ${CHUNK}`.execute(db);
  return rows;
}

/** Ends in a condition. */
function nodesOf({ rollout: { no, groupNo } }: SilenceQuestion, { has, status, version }: Part) {
  const columns = sql`SELECT no, oem, arch, created_at, watched_until, shared_at FROM nodes`;
  return has
    ? sql`${columns} WHERE rollout_no = ${no} AND group_no = ${groupNo} AND status = ${status}`
    : sql`${columns} WHERE group_no = ${groupNo} AND version = ${version} AND status = ${status} AND coalesce(rollout_no, 0) != ${no}`;
}

/** Of the others: whether it comes as often as those that have the release, and is one machine. */
function isFree({ has }: Part, now: number) {
  if (has) return sql<boolean>`true`;
  return sql<boolean>`(seen.due_at IS NULL AND coalesce(nodes.shared_at, 0) <= ${sharedAfter(now)})`;
}

/** Versions that the rollout leads away from. */
async function statusesOfOthers(db: Db, rollout: Rollout) {
  const counts = await db
    .selectFrom("node_counts")
    .select(["version", "status"])
    .where("group_no", "=", rollout.groupNo)
    .orderBy("count", "desc")
    .execute();
  return counts.filter(({ version }) => isToGo(rollout, version)).slice(0, MAX_ROWS_OF_OTHERS);
}

/**
 * How silent the group was in the worst hour of the week before, by the censuses that were taken then. Null: they are not those
 * of a whole week, with its nights and its end.
 * @param until when the rollout began.
 */
export async function weekBefore(db: Db, groupNo: number, until: number, minNodes: number): Promise<Heard | null> {
  const rows = await db
    .selectFrom("census")
    .select(["at", (eb) => eb.fn.sum("judged").as("nodes"), (eb) => eb.fn.sum("silent").as("silent")])
    .where("group_no", "=", groupNo)
    .where("slot", ">=", Math.floor((until - WEEK_MS) / SLOT_MS))
    .where("slot", "<=", Math.floor(until / SLOT_MS))
    .groupBy("at")
    .execute();
  const taken = rows
    .map(({ at, nodes, silent }) => ({ at, nodes: Number(nodes), silent: Number(silent) }))
    .filter(({ nodes }) => nodes >= minNodes);
  const first = Math.min(...taken.map(({ at }) => at));
  if (taken.length === 0 || first > until - WEEK_MS + CENSUS_LATE_MS) return null;
  const { nodes, silent } = taken.reduce((a, b) => (b.silent * a.nodes > a.silent * b.nodes ? b : a));
  return { nodes, silent };
}

/** When any node was last seen; null: none ever was. */
export async function lastSeenAt(db: Db): Promise<number | null> {
  const { at } = await db
    .selectFrom("seen")
    .select((eb) => eb.fn.max("at").as("at"))
    .executeTakeFirstOrThrow();
  return at;
}
