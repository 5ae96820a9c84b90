/**
 * A page of a group's nodes. What is asked for decides how it is read: few nodes are fetched and sorted, many are walked
 * in the order of an index until the page is full. So a page costs about the same in a fleet of any size.
 */
import { type Kysely, type RawBuilder, type Selectable, type SelectQueryBuilder, type SqlBool, sql } from "kysely";
import { fold } from "../rollout/fold.ts";
import type { NodeStatus } from "../rollout/model/node.ts";
import { censusOf, FAKE_ID, nodesIn, WITHIN, type Within } from "./census.ts";
import { ALIAS, ID, MACHINE_ALIAS } from "./folded.ts";
import { hasLabel } from "./labels.ts";
import type { Tables } from "./tables.ts";

export type NodeRow = Selectable<Tables["nodes"]> & {
  /** When it was last seen; null: its first mark is not written yet. */
  readonly at: number | null;
};

export interface NodeFilter {
  readonly groupNo: number;
  readonly within: Within;
  /** Null: any. */
  readonly statuses: readonly NodeStatus[] | null;
  readonly version: string | null;
  readonly search: NodeSearch | null;
  /** Null: held by hand or not. */
  readonly held: boolean | null;
  /** A label that it has; null: whatever labels. */
  readonly label: { readonly name: string; readonly value: string } | null;
  /** Two machines or more were heard with its id, one after the other, after this; null: or not. */
  readonly sharedAfter: number | null;
}

export interface NodeSearch {
  readonly where: "id" | "alias" | "ip" | "anywhere";
  /** What is contained, in any case. */
  readonly text: string;
}

export interface NodeOrder {
  /** `name`: the alias, or else what the node calls itself, or else its id. */
  readonly by: "name" | "ip" | "seen";
  readonly descending: boolean;
}

/** A node's place in an order: what it is sorted by, and what decides among those that are alike. */
export interface NodeCursor {
  readonly key: string | number;
  readonly tie: string | number;
}

export interface NodePage {
  readonly limit: number;
  /** How many nodes go before it, or which one. */
  readonly start: number | NodeCursor;
}

export interface NodeList {
  /** Of a search, or by held or label, `FEW` at most. In big groups as of the last census: see `censusOf`. */
  readonly total: number;
  readonly rows: readonly NodeRow[];
  /** Where the next page starts; null: this one was the last. */
  readonly next: NodeCursor | null;
}

/** So many are sorted on the spot. */
export const FEW = 10_000;
const SAMPLED = 1_000;

export function listNodes(
  db: Kysely<Tables>,
  filter: NodeFilter,
  order: NodeOrder,
  page: NodePage,
  now: number,
  few: number = FEW,
): Promise<NodeList> {
  return new Listing(db, filter, order, page, now, few).list();
}

export function withSeen(db: Kysely<Tables>) {
  return db.selectFrom("nodes").leftJoin("seen", "seen.node_no", "nodes.no");
}

/** As the indexes have them, word by word. */
const NAME = sql<string>`coalesce(nullif(nodes.alias, ''), nullif(nodes.machine_alias, ''), nodes.id)`;
const TEXT = sql<string>`${ID} || ' ' || lower(nodes.ip) || ' ' || ${ALIAS} || ' ' || ${MACHINE_ALIAS}`;

/** Its first mark is written some seconds after a node's first check-in. */
const SEEN_OR_MADE = sql<number>`coalesce(seen.at, nodes.created_at)`;
const SEEN = sql<number>`seen.at`;

/** What it is sorted by, and what decides among those that are alike. */
const ORDERS: Readonly<Record<NodeOrder["by"], readonly [Sorted, Sorted]>> = {
  name: [NAME, sql`nodes.id`],
  ip: [sql`nodes.ip`, sql`nodes.id`],
  seen: [SEEN_OR_MADE, sql`nodes.no`],
};
type Sorted = RawBuilder<string | number>;

interface Place extends NodeCursor {
  readonly no: number;
}

/** One question, and the ways to its answer. */
class Listing {
  readonly #db: Kysely<Tables>;
  readonly #filter: NodeFilter;
  readonly #order: NodeOrder;
  readonly #page: NodePage;
  readonly #now: number;
  readonly #few: number;

  constructor(db: Kysely<Tables>, filter: NodeFilter, order: NodeOrder, page: NodePage, now: number, few: number) {
    this.#db = db;
    this.#filter = filter;
    this.#order = order;
    this.#page = page;
    this.#now = now;
    this.#few = few;
  }

  async list(): Promise<NodeList> {
    const few = await this.#ifFew();
    if (few !== null) return this.#answer(few.length, this.#cut(few));
    const places = this.#order.by === "seen" ? await this.#latest() : await this.#walk();
    return this.#answer(this.#isCounted ? await this.#counted() : this.#few, places);
  }

  /** All that are listed, in their order, as long as they are few; null: they are many. */
  async #ifFew(): Promise<Place[] | null> {
    const { groupNo, statuses, version, search, held, label, sharedAfter } = this.#filter;
    const counts = await this.#db
      .selectFrom("node_counts")
      .select(["version", "count"])
      .where("group_no", "=", groupNo)
      .$if(statuses !== null, (rows) => rows.where("status", "in", statuses ?? []))
      .$if(version !== null, (rows) => rows.where("version", "=", version ?? ""))
      .execute();
    const standing = counts.reduce((sum, { count }) => sum + count, 0);
    if (standing === 0) return [];

    const ofGroup = this.#db.selectFrom("nodes").select("nodes.no").where("nodes.group_no", "=", groupNo);
    if (standing <= this.#few) {
      const versions = new Set(counts.map((row) => row.version));
      const so = ofGroup.where("nodes.version", "in", [...versions]);
      return this.#listedAmong(statuses === null ? so : so.where("nodes.status", "in", statuses));
    }
    if (held === true) return this.#listedAmong(ofGroup.where("nodes.held", "is not", null));
    if (sharedAfter !== null) return this.#listedAmong(ofGroup.where("nodes.shared_since", "is not", null));
    if (label !== null) {
      const labelled = ofGroup.where("nodes.labels", "is not", null);
      return this.#listedAmong(labelled.where(hasLabel(label.name, label.value)));
    }
    if (search !== null) return this.#listedAmong(ofGroup.where(like(TEXT, search)));
    if ((await this.#counted()) > this.#few) return null;
    const recently = this.#db.selectFrom("seen").select("node_no").where("at", ">", this.#since);
    return this.#listedAmong(ofGroup.where("nodes.no", "in", recently));
  }

  /** Null: there are more candidates than a few. */
  async #listedAmong(candidates: SelectQueryBuilder<Tables, "nodes", { no: number }>): Promise<Place[] | null> {
    // With a limit they are found first and by themselves: no index can lure the database into a walk over all nodes.
    const [key, tie] = ORDERS[this.#order.by];
    const rows = await withSeen(this.#db)
      .where("nodes.no", "in", candidates.limit(this.#few + 1))
      .select(["nodes.no", key.as("key"), tie.as("tie")])
      .select(sql<number>`CASE WHEN ${this.#isListed(SEEN_OR_MADE)} THEN 1 ELSE 0 END`.as("listed"))
      .execute();
    if (rows.length > this.#few) return null;
    return rows.filter(({ listed }) => listed === 1).sort(this.#inOrder);
  }

  readonly #inOrder = (a: NodeCursor, b: NodeCursor): number =>
    (compare(a.key, b.key) || compare(a.tie, b.tie)) * (this.#order.descending ? -1 : 1);

  #cut(places: readonly Place[]): readonly Place[] {
    const { limit, start } = this.#page;
    const from = typeof start === "number" ? start : places.findIndex((place) => this.#inOrder(place, start) > 0);
    return from < 0 ? [] : places.slice(from, from + limit);
  }

  /** Along an index, past those that are not listed, until the page is full. */
  async #walk(): Promise<Place[]> {
    const [key, tie] = ORDERS[this.#order.by];
    const { limit, start } = this.#page;
    const { direction, beyond } = this.#direction;
    const walk = this.#db
      .selectFrom("nodes")
      .innerJoin("seen", "seen.node_no", "nodes.no")
      .select(["nodes.no", key.as("key"), tie.as("tie")])
      .where("nodes.group_no", "=", this.#filter.groupNo)
      .where(this.#isListed(SEEN))
      .orderBy(key, direction)
      .orderBy(tie, direction)
      .limit(limit);
    if (typeof start === "number") return walk.offset(start).execute();
    return walk
      .where(sql<SqlBool>`${key} ${beyond}= ${start.key}`) // for the index
      .where(sql<SqlBool>`(${key} ${beyond} ${start.key} OR ${tie} ${beyond} ${start.tie})`)
      .execute();
  }

  /** Marks have no index, since each heartbeat moves one: a sample tells up to where all of them are to be read. */
  async #latest(): Promise<Place[]> {
    const { limit, start } = this.#page;
    const wanted = limit + (typeof start === "number" ? start : 0);
    const ends = this.#filter.search === null ? [await this.#sampledEnd(wanted), null] : [null];
    for (const end of ends) {
      const places = await this.#latestUpTo(end);
      if (places.length === limit || end === null) return places;
    }
    return [];
  }

  /** @param end of the marks to read; null: all */
  #latestUpTo(end: number | null): Promise<Place[]> {
    const { limit, start } = this.#page;
    const { direction, beyond, before } = this.#direction;
    let places = this.#marks()
      .select(["nodes.no", "seen.at as key", "nodes.no as tie"])
      .orderBy("seen.at", direction)
      .orderBy("nodes.no", direction)
      .limit(limit);
    if (end !== null) places = places.where(sql<SqlBool>`seen.at ${before}= ${end}`);
    if (typeof start === "number") return places.offset(start).execute();
    return places
      .where(sql<SqlBool>`seen.at ${beyond}= ${start.key}`)
      .where(sql<SqlBool>`(seen.at ${beyond} ${start.key} OR nodes.no ${beyond} ${start.tie})`)
      .execute();
  }

  /** A time before which, in the list's direction, there probably are as many listed nodes as wanted. Null: nobody knows. */
  async #sampledEnd(wanted: number): Promise<number | null> {
    const { start } = this.#page;
    const { last } = await this.#db
      .selectFrom("nodes")
      .select((eb) => eb.fn.max("no").as("last"))
      .executeTakeFirstOrThrow();
    const step = Math.max(1, Math.floor((last ?? 0) / SAMPLED));
    const sample = Array.from({ length: SAMPLED }, (_, index) => 1 + index * step);
    const rows = await this.#marks().where("seen.node_no", "in", sample).select("seen.at").execute();
    const { descending } = this.#order;
    const times = rows.map(({ at }) => at).sort((a, b) => (descending ? b - a : a - b));
    const ahead =
      typeof start === "number"
        ? times
        : times.filter((at) => (descending ? at <= Number(start.key) : at >= Number(start.key)));
    return ahead[Math.ceil((1.5 * wanted) / step) + 8] ?? null;
  }

  /** The listed nodes' marks. The join says which table leads: the marks, or what is searched for. */
  #marks() {
    const { groupNo, search } = this.#filter;
    const joined =
      search === null
        ? this.#db.selectFrom("seen").crossJoin("nodes")
        : this.#db.selectFrom("nodes").crossJoin("seen").where(like(TEXT, search));
    return joined
      .whereRef("nodes.no", "=", "seen.node_no")
      .where("nodes.group_no", "=", groupNo)
      .where(this.#isListed(SEEN));
  }

  async #answer(total: number, places: readonly Place[]): Promise<NodeList> {
    const last = places.at(-1);
    if (last === undefined) return { total, rows: [], next: null };
    const rows = await withSeen(this.#db)
      .selectAll("nodes")
      .select("seen.at")
      .where(
        "nodes.no",
        "in",
        places.map(({ no }) => no),
      )
      .execute();
    const byNumber = new Map(rows.map((row) => [row.no, row]));
    return {
      total,
      rows: places.flatMap(({ no }) => byNumber.get(no) ?? []),
      next: places.length < this.#page.limit ? null : { key: last.key, tie: last.tie },
    };
  }

  /** Nodes with the status and version that were seen within the time, as the census has them. */
  async #counted(): Promise<number> {
    const { groupNo, statuses, version, within } = this.#filter;
    const census = (await censusOf(this.#db, [groupNo], within, this.#now)).get(groupNo) ?? [];
    const names: readonly string[] | null = statuses;
    return nodesIn(
      census.filter((row) => (names?.includes(row.status) ?? true) && (version === null || row.version === version)),
    );
  }

  get #since(): number {
    return this.#now - WITHIN[this.#filter.within];
  }

  get #direction() {
    return this.#order.descending
      ? ({ direction: "desc", beyond: sql.raw("<"), before: sql.raw(">") } as const)
      : ({ direction: "asc", beyond: sql.raw(">"), before: sql.raw("<") } as const);
  }

  /** Of searches and the like there is no census. */
  get #isCounted(): boolean {
    const { search, held, label, sharedAfter } = this.#filter;
    return search === null && held !== true && label === null && sharedAfter === null;
  }

  /** All but the group. @param seenAt when a node was last seen */
  #isListed(seenAt: RawBuilder<number>): RawBuilder<SqlBool> {
    const { statuses, version, search, held, label, sharedAfter } = this.#filter;
    const conditions = [sql<SqlBool>`${seenAt} > ${this.#since}`, sql<SqlBool>`nodes.id NOT LIKE ${FAKE_ID}`];
    if (statuses !== null) conditions.push(sql`nodes.status IN (${sql.join(statuses)})`);
    if (version !== null) conditions.push(sql`nodes.version = ${version}`);
    if (held !== null) conditions.push(held ? sql`nodes.held IS NOT NULL` : sql`nodes.held IS NULL`);
    if (label !== null) conditions.push(hasLabel(label.name, label.value));
    if (sharedAfter !== null) conditions.push(sql`nodes.shared_at > ${sharedAfter}`);
    if (search !== null)
      conditions.push(
        sql`(${sql.join(
          textsOf(search).map((text) => like(text, search)),
          sql` OR `,
        )})`,
      );
    return sql`(${sql.join(conditions, sql` AND `)})`;
  }
}

function textsOf({ where }: NodeSearch): readonly RawBuilder<string>[] {
  if (where === "id") return [ID];
  if (where === "ip") return [sql`nodes.ip`];
  if (where === "alias") return [ALIAS, MACHINE_ALIAS];
  return [TEXT];
}

/** @param text folded */
function like(text: RawBuilder<string>, { text: wanted }: NodeSearch): RawBuilder<SqlBool> {
  const pattern = `%${fold(wanted).replace(/[\\%_]/g, "\\$&")}%`;
  return sql`(${text}) LIKE ${pattern} ESCAPE '\\'`;
}

function compare<T extends string | number>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
