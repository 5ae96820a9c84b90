import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WITHIN } from "../../src/store/census.ts";
import {
  listNodes,
  type NodeFilter,
  type NodeList,
  type NodeOrder,
  type NodePage,
  type NodeSearch,
} from "../../src/store/node-list.ts";
import { aFilledNode, type FilledNode, fill, someStatus } from "./fleets.ts";
import { aDatabase, type InProcess, NOW } from "./in-process.ts";

let world: InProcess;
beforeEach(async () => {
  world = await aDatabase();
});
afterEach(() => world.close());

const MINUTE = 60_000;

/** Names, addresses and times that several nodes share, silent nodes, another group's, and a mirror's. */
function aFleet(nodes: number): FilledNode[] {
  const fleet = Array.from({ length: nodes }, (_, n) =>
    aFilledNode(n + 1, {
      groupNo: n % 7 === 3 ? 2 : 1,
      version: n % 3 === 0 ? "4230.2.1" : "4081.2.0",
      status: someStatus(n % 4),
      alias: n % 5 === 0 ? `Rack${n % 10}_%` : n % 13 === 0 ? "Straße" : "",
      machineAlias: n % 4 === 0 ? `web-${n % 8}` : n % 11 === 0 ? "MÜNCHEN" : "",
      ip: `192.0.2.${(n * 37) % 50}`,
      seenAt: NOW - (n % 40) * 5 * MINUTE,
      held: n % 9 === 0,
      labels: n % 6 === 0 ? { rack: String(n % 4), site: 'rack":"1' } : n % 17 === 0 ? { rack: "KÖLN" } : null,
      sharedAt: n % 11 === 0 ? NOW - (n % 3) * MINUTE : null,
    }),
  );
  return [...fleet, aFilledNode(nodes + 1, { id: "{b7d94e2c-61f8-4a0f-9d33-55aa10c2e8f4}", seenAt: NOW })];
}

/** The same, without any cleverness. */
function expected(fleet: readonly FilledNode[], filter: NodeFilter, { by, descending }: NodeOrder): FilledNode[] {
  const small = (text: string): string => text.toLowerCase().replace("ß", "ss");
  const text = small(filter.search?.text ?? "");
  const searched = ({ id, ip, alias, machineAlias }: FilledNode): string[] => {
    const aliases = [alias, machineAlias];
    const of = { id: [id], ip: [ip], alias: aliases, anywhere: [id, ip, ...aliases] };
    return of[filter.search?.where ?? "anywhere"];
  };
  const key = (node: FilledNode): readonly (string | number)[] => {
    if (by === "seen") return [node.seenAt, node.no];
    return [by === "ip" ? node.ip : node.alias || node.machineAlias || node.id, node.id];
  };
  const compare = (a: FilledNode, b: FilledNode): number => {
    const [left, right] = [key(a), key(b)];
    for (const [index, one] of left.entries()) {
      const other = right[index] ?? 0;
      if (one !== other) return one < other ? -1 : 1;
    }
    return 0;
  };
  return fleet
    .filter((node) => node.groupNo === filter.groupNo && !node.id.startsWith("{"))
    .filter((node) => node.seenAt > NOW - WITHIN[filter.within])
    .filter((node) => filter.statuses?.includes(node.status) ?? true)
    .filter((node) => filter.version === null || filter.version === node.version)
    .filter((node) => filter.held === null || filter.held === node.held)
    .filter(
      (node) =>
        filter.label === null || small(node.labels?.[filter.label.name] ?? "none") === small(filter.label.value),
    )
    .filter((node) => filter.sharedAfter === null || (node.sharedAt ?? 0) > filter.sharedAfter)
    .filter((node) => searched(node).some((one) => small(one).includes(text)))
    .sort((a, b) => compare(a, b) * (descending ? -1 : 1));
}

const filters = fc.record<NodeFilter>({
  groupNo: fc.constantFrom(1, 2, 3),
  within: fc.constantFrom("1h", "1d"),
  statuses: fc.option(fc.subarray([0, 1, 2, 3, 5].map(someStatus), { minLength: 1 })),
  version: fc.option(fc.constantFrom("4230.2.1", "4081.2.0", "1.0.0")),
  search: fc.option(
    fc.record<NodeSearch>({
      where: fc.constantFrom("id", "alias", "ip", "anywhere"),
      text: fc.constantFrom("2.1", "RACK", "web-4", "_%", "%", "9e", "münch", "STRASS", "nothing like it"),
    }),
  ),
  held: fc.option(fc.boolean()),
  label: fc.option(
    fc.constantFrom(
      { name: "rack", value: "Köln" },
      { name: "rack", value: "1" },
      { name: "rack", value: "" },
      { name: "r", value: "1" },
    ),
  ),
  sharedAfter: fc.constantFrom(null, null, null, NOW - MINUTE),
});
const orders = fc.record<NodeOrder>({ by: fc.constantFrom("name", "ip", "seen"), descending: fc.boolean() });

describe("a list of nodes", () => {
  const list = (filter: NodeFilter, order: NodeOrder, page: NodePage, few: number): Promise<NodeList> =>
    listNodes(world.store.read, filter, order, page, NOW, few);
  const numbers = (nodes: readonly { no: number }[]) => nodes.map(({ no }) => no);

  it("has what was asked for in its order, whether they are few or many, page by page and from one to the next", async () => {
    const fleet = aFleet(300);
    fill(world, fleet);
    await fc.assert(
      fc.asyncProperty(
        filters,
        orders,
        fc.constantFrom(5, 40, 1000),
        fc.constantFrom(4, 50),
        async (filter, order, few, limit) => {
          const wanted = numbers(expected(fleet, filter, order));
          const first = await list(filter, order, { limit, start: 0 }, few);
          expect(numbers(first.rows)).toEqual(wanted.slice(0, limit));
          const counted =
            filter.search === null && filter.label === null && filter.held === null && filter.sharedAfter === null;
          expect(first.total).toBe(counted || few === 1000 ? wanted.length : first.total);
          if (filter.held === null && first.total !== wanted.length) expect(first.total).toBe(few);
          const second = await list(filter, order, { limit, start: limit }, few);
          expect(numbers(second.rows)).toEqual(wanted.slice(limit, 2 * limit));
          const walked: number[] = [];
          for (let page: NodeList | null = first; page !== null; ) {
            walked.push(...numbers(page.rows));
            page = page.next === null ? null : await list(filter, order, { limit, start: page.next }, few);
          }
          expect(walked).toEqual(wanted);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("goes on at its place when nodes come and go meanwhile", async () => {
    const fleet = aFleet(50);
    fill(world, fleet);
    const filter: NodeFilter = {
      groupNo: 1,
      within: "1d",
      statuses: null,
      version: null,
      search: null,
      held: null,
      label: null,
      sharedAfter: null,
    };
    const order: NodeOrder = { by: "ip", descending: false };
    for (const few of [5, 1000]) {
      const first = await list(filter, order, { limit: 10, start: 0 }, few);
      const [gone, last] = [first.rows[0], first.rows.at(-1)];
      world.db.prepare("UPDATE seen SET at = 0 WHERE node_no IN (?, ?)").run(gone?.no, last?.no);
      const second = await list(filter, order, { limit: 10, start: first.next ?? 0 }, few);
      expect(numbers(second.rows)).toEqual(numbers(expected(fleet, filter, order).slice(10, 20)));
      world.db.prepare("UPDATE seen SET at = ? WHERE node_no IN (?, ?)").run(NOW - MINUTE, gone?.no, last?.no);
    }
  });

  it("never walks a table where an index leads the way", async () => {
    fill(world, aFleet(50));
    const statements: string[] = [];
    const { db } = world;
    const prepare = db.prepare.bind(db);
    const plan = (sql: string) =>
      prepare<unknown[], { detail: string }>(`EXPLAIN QUERY PLAN ${sql}`)
        .all(...new Array(sql.split("?").length - 1).fill(1))
        .map(({ detail }) => detail);
    db.prepare = ((sql: string) => {
      statements.push(sql);
      return prepare(sql);
    }) as typeof db.prepare;
    for (const by of ["name", "ip"] as const) {
      const filter: NodeFilter = {
        groupNo: 1,
        within: "7d",
        statuses: null,
        version: null,
        search: null,
        held: null,
        label: null,
        sharedAfter: null,
      };
      await list(filter, { by, descending: true }, { limit: 10, start: 0 }, 5);
    }
    const search: NodeSearch = { where: "anywhere", text: "nowhere" };
    const filter: NodeFilter = {
      groupNo: 1,
      within: "7d",
      statuses: null,
      version: null,
      search,
      held: null,
      label: null,
      sharedAfter: null,
    };
    await list(filter, { by: "name", descending: false }, { limit: 10, start: 0 }, 5);
    const plans = statements.filter((sql) => sql.includes('"nodes"')).map((sql) => plan(sql).join(" | "));
    expect(plans.some((one) => /SEARCH nodes USING COVERING INDEX nodes_by_name \(group_no=\?\)/.test(one))).toBe(true);
    expect(plans.some((one) => /SEARCH nodes USING COVERING INDEX nodes_by_ip \(group_no=\?\)/.test(one))).toBe(true);
    expect(plans.some((one) => /SEARCH nodes USING COVERING INDEX nodes_by_text \(group_no=\?\)/.test(one))).toBe(true);
  });
});
