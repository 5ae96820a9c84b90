/** The same for many nodes at once: all that a filter picks out. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { labelsOrNone, MAX_LABELS } from "../fleet/labels.ts";
import type { Labels } from "../rollout/model/node.ts";
import { labelsOf, textOfLabels } from "../store/care.ts";
import { deleteNodes, holdNodes, labelNodes, letNodesGo, moveNodes } from "../store/node-care.ts";
import type { NodeRow } from "../store/node-list.ts";
import { type NodeSelection, selectedNodes } from "../store/node-selection.ts";
import { StoreUnavailable } from "../store/store.ts";
import { filterBody, readSelection } from "./bulk-filter.ts";
import { careOf } from "./care-objects.ts";
import type { Db, Tx } from "./context.ts";
import { type ApplicationRow, countOf, findApplication } from "./lookups.ts";
import { reasonField, targetField, targetGroup } from "./node-care.ts";
import { type Call, type Operation, operation } from "./operation.ts";

/** Nodes of one transaction, and of one line of the audit log: small, since check-ins wait for it. */
const CHUNK = 250;
/** Numbers of nodes that are read ahead. */
const PAGE = 20 * CHUNK;
/** Nodes that are named in the answer. */
const SHOWN = 100;

const common = {
  filter: filterBody,
  /** Nothing is done unless this is false. */
  dry_run: z.boolean().default(true),
};

const bulkBody = z.discriminatedUnion(
  "action",
  [
    z.strictObject({ action: z.literal("hold"), reason: reasonField, ...common }),
    z.strictObject({ action: z.literal("release"), ...common }),
    /** Null: the label goes. */
    z.strictObject({ action: z.literal("label"), labels: labelsOrNone, ...common }),
    z.strictObject({ action: z.literal("move"), group_id: targetField, ...common }),
    z.strictObject({ action: z.literal("delete"), ...common }),
  ],
  { error: "must be hold, release, label, move or delete" },
);
type BulkBody = z.output<typeof bulkBody>;

const changeInstances = operation({
  id: "changeInstances",
  method: "post",
  path: "/apps/:app/instances/bulk",
  tag: "instances",
  summary:
    "Hold, release, label, move or delete all nodes that a filter picks out; without `dry_run: false` only say which",
  description:
    "All that is named in the filter must hold. It is done a few hundred nodes at a time, so that check-ins go on; " +
    "if it ends in the middle, what is done stays done, and it can be sent again for the rest.",
  role: "operator",
  confined: "filters",
  body: bulkBody,
  answer: z
    .object({
      dry_run: z.boolean(),
      /** Nodes that the filter picks out. */
      matched: z.int(),
      /** Of these, the ones that are otherwise now. */
      changed: z.int(),
      /** The first hundred that the filter picks out. */
      instances: z.array(z.string()),
    })
    .meta({ id: "BulkChange" }),
  async handle(call) {
    const { read, params, body, who, now } = call;
    const application = await findApplication(read, params.app);
    const selection = await readSelection(read, application, body.filter, who, now);
    if (body.action === "move") await targetGroup(read, application, body.group_id, who);
    const nodes = selectedNodes(read, application.no, selection);
    const matched = await countOf(nodes.select((eb) => eb.fn.countAll().as("count")));
    const first = await nodes.select("nodes.id").orderBy("nodes.no").limit(SHOWN).execute();
    const changed = body.dry_run || matched === 0 ? 0 : await changeAll(call, application, selection, matched);
    return { dry_run: body.dry_run, matched, changed, instances: first.map(({ id }) => id) };
  },
});

export const nodeBulkOperations: readonly Operation[] = [changeInstances];

type BulkCall = Call<{ readonly app: string }, unknown, BulkBody>;

/** A line of the audit log says what was meant; one for each chunk, in its transaction, which nodes it has come to. */
async function changeAll(
  call: BulkCall,
  application: ApplicationRow,
  selection: NodeSelection,
  matched: number,
): Promise<number> {
  const { filter: written, dry_run: _, ...what } = call.body;
  const subject = {
    subject: "instances",
    id: randomUUID(),
    applicationId: application.id,
    groupId: written.group_id?.toLowerCase() ?? null,
    before: null,
  };
  const ids = written.id === undefined ? {} : { id: `${written.id.length} ids` };
  await call.change((_tx, _now, audit) =>
    audit({ ...subject, after: { ...what, filter: { ...written, ...ids }, matched } }),
  );
  let changed = 0;
  try {
    for await (const nos of chunks(call.read, application, selection)) {
      changed += await call.change(async (tx, now, audit) => {
        // What they were picked out for may have changed; their ids have not.
        const nodes = await selectedNodes(tx, application.no, { ...selection, ids: undefined })
          .where("nodes.no", "in", nos)
          .selectAll("nodes")
          .select("seen.at")
          .execute();
        const done = await act(tx, application, nodes, call, now);
        const before = { instances: await statesOf(tx, application, call.body, done) };
        const after = { action: what.action, instances: done.map(({ id }) => id) };
        if (done.length > 0) await audit({ ...subject, before, after });
        return done.length;
      });
    }
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error;
    throw new StoreUnavailable(
      `${error.message}; ${changed} of ${matched} nodes are done; send it again for the others`,
    );
  }
  return changed;
}

/** Numbers of nodes, in portions for one transaction each. */
async function* chunks(
  db: Db,
  application: ApplicationRow,
  selection: NodeSelection,
): AsyncGenerator<readonly number[]> {
  for (let after = 0; ; ) {
    const rows = await selectedNodes(db, application.no, selection)
      .select("nodes.no")
      .where("nodes.no", ">", after)
      .orderBy("nodes.no")
      .limit(PAGE)
      .execute();
    const nos = rows.map(({ no }) => no);
    for (let from = 0; from < nos.length; from += CHUNK) yield nos.slice(from, from + CHUNK);
    const last = nos.at(-1);
    if (last === undefined || nos.length < PAGE) return;
    after = last;
  }
}

/** What is to be changed of these nodes, as it is before: those that are alike together. */
async function statesOf(
  tx: Tx,
  application: ApplicationRow,
  body: BulkBody,
  nodes: readonly NodeRow[],
): Promise<object[]> {
  const groups = await tx
    .selectFrom("groups")
    .select(["no", "id"])
    .where("application_no", "=", application.no)
    .execute();
  const groupIds = new Map(groups.map(({ no, id }) => [no, id]));
  const states = Map.groupBy(nodes, (node) => JSON.stringify(stateOf(body, node, groupIds)));
  return [...states].map(([state, alike]) => ({ ...JSON.parse(state), ids: alike.map(({ id }) => id) }));
}

function stateOf(body: BulkBody, node: NodeRow, groupIds: ReadonlyMap<number, string>): object {
  const { labels, held, own_group_id } = careOf(node);
  const place = { group_id: groupIds.get(node.group_no) ?? null, own_group_id };
  switch (body.action) {
    case "hold":
    case "release":
      return { held };
    case "label":
      return { labels: Object.fromEntries(Object.keys(body.labels).map((name) => [name, labels[name] ?? null])) };
    case "move":
      return place;
    case "delete":
      return {
        ...place,
        labels,
        held,
        alias: node.alias || node.machine_alias,
        version: node.version,
        state: node.status,
      };
    default:
      throw new Error(`unknown action: ${JSON.stringify(body satisfies never)}`);
  }
}

/** Does it to all of these that are not so already; answers which it has changed. */
async function act(
  tx: Tx,
  application: ApplicationRow,
  nodes: readonly NodeRow[],
  { body, who }: BulkCall,
  now: number,
): Promise<readonly NodeRow[]> {
  switch (body.action) {
    case "hold": {
      const free = nodes.filter(({ held }) => held === null);
      await holdNodes(tx, free, { at: now, by: who.name, why: body.reason });
      return free;
    }
    case "release": {
      const held = nodes.filter((node) => node.held !== null);
      await holdNodes(tx, held, null);
      return held;
    }
    case "label":
      return relabel(tx, nodes, body.labels);
    case "move": {
      const target = await targetGroup(tx, application, body.group_id, who);
      const elsewhere = nodes.filter(({ own_group: own, group_no: no }) =>
        target === null ? own !== null : own !== target.id || no !== target.no,
      );
      await (target === null ? letNodesGo(tx, elsewhere) : moveNodes(tx, elsewhere, target));
      return elsewhere;
    }
    case "delete":
      await deleteNodes(tx, nodes, now);
      return nodes;
    default:
      throw new Error(`unknown action: ${JSON.stringify(body satisfies never)}`);
  }
}

/** A node that would have too many labels stays as it is. */
async function relabel(
  tx: Tx,
  nodes: readonly NodeRow[],
  changes: Readonly<Record<string, string | null>>,
): Promise<readonly NodeRow[]> {
  const byLabels = new Map<string | null, { labels: Labels; nodes: NodeRow[] }>();
  for (const node of nodes) {
    const labels = withChanges(labelsOf(node.labels), changes);
    const text = textOfLabels(labels);
    if (text === node.labels || Object.keys(labels).length > MAX_LABELS) continue;
    const alike = byLabels.get(text);
    if (alike === undefined) byLabels.set(text, { labels, nodes: [node] });
    else alike.nodes.push(node);
  }
  for (const { labels, nodes: alike } of byLabels.values()) await labelNodes(tx, alike, labels);
  return [...byLabels.values()].flatMap(({ nodes: alike }) => alike);
}

function withChanges(labels: Labels, changes: Readonly<Record<string, string | null>>): Labels {
  const entries = Object.entries({ ...labels, ...changes });
  return Object.fromEntries(entries.flatMap(([name, value]) => (value === null ? [] : [[name, value]])));
}
