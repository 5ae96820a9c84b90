/** What an application's versions have to be like, in all that it has; and what comes of changing that. */
import type { VersionOrder } from "../rollout/model/configuration.ts";
import type { StrategyDocument } from "../rollout/strategy.ts";
import { countAsSame, isVersion, versionRule } from "../rollout/version.ts";
import { isRange, rangeRule } from "../rollout/version-range.ts";
import { loadParts } from "../store/fleet.ts";
import { retire, SYSTEM } from "../store/rollouts.ts";
import { versionOrderOf } from "../store/version-order.ts";
import type { Db, Tx } from "./context.ts";
import type { ApplicationRow, ChannelRow } from "./lookups.ts";
import { invalid } from "./problem.ts";

/** @throws Problem that names the field */
export function checkVersion(field: string, version: string, application: ApplicationRow): void {
  const order = versionOrderOf(application);
  if (!isVersion(version, order)) throw invalid(field, versionRule(order));
}

/**
 * Of the nodes that a strategy's stages name by their versions.
 * @param path of the strategy within the body; "": it is the body
 * @throws Problem that names the field
 */
export function checkRanges({ stages = [] }: StrategyDocument, order: VersionOrder, path: string): void {
  for (const [index, { match }] of stages.entries()) {
    const range = match?.version;
    if (range === undefined || isRange(range, order)) continue;
    throw invalid(`${path === "" ? "" : `${path}.`}stages.${index}.match.version`, rangeRule(range, order));
  }
}

/**
 * After a change of how the application's versions are read or ordered.
 * @throws Problem 409 when something that the application has does not fit
 */
export async function changeOrder(tx: Tx, before: ApplicationRow, after: ApplicationRow, now: number): Promise<void> {
  const order = versionOrderOf(after);
  if (order === versionOrderOf(before)) return;
  await checkAllFits(tx, after, order);
  if (order === "semver-build") await beginAnew(tx, after, now);
}

async function checkAllFits(tx: Tx, { no }: ApplicationRow, order: VersionOrder): Promise<void> {
  const refuse = (what: string) => invalid("version_scheme", what, 409);
  const packages = await tx.selectFrom("packages").select("version").where("application_no", "=", no).execute();
  const wrong = packages.find(({ version }) => !isVersion(version, order));
  if (wrong !== undefined) throw refuse(`there is a package ${wrong.version}, which is no such version`);
  const groups = await tx
    .selectFrom("groups")
    .select(["name", "strategy"])
    .where("application_no", "=", no)
    .where("strategy", "is not", null)
    .execute();
  for (const { name, strategy } of groups) {
    const { stages = [] } = JSON.parse(strategy ?? "{}") as StrategyDocument; // checked when it came in
    const range = stages.map(({ match }) => match?.version).find((one) => one !== undefined && !isRange(one, order));
    if (range !== undefined)
      throw refuse(`a stage of group "${name}" names ${range}, which is no range of such versions`);
  }
  const upstreams = await tx
    .selectFrom("upstreams")
    .select(["track", "versions", "up_to"])
    .where("application_no", "=", no)
    .execute();
  for (const { track, versions, up_to: upTo } of upstreams) {
    const pins = [...(JSON.parse(versions) as string[]), ...(upTo === null ? [] : [upTo])];
    const pin = pins.find((one) => !isVersion(one, order));
    if (pin !== undefined) throw refuse(`the upstream of "${track}" is pinned to ${pin}, which is no such version`);
  }
}

/**
 * Nodes that had counted as up to date are behind from now on. Rollouts that were through, or came through their stages with
 * nobody to update, would let all of them in at once: others take their place, which begin with the first stage.
 */
async function beginAnew(tx: Tx, { no }: ApplicationRow, now: number): Promise<void> {
  const { rollouts } = await loadParts(tx);
  for (const rollout of rollouts) {
    const { package: target, state, undoes } = rollout;
    if (target.applicationNo !== no || undoes !== null || !target.version.includes("+")) continue;
    if (state !== "running" && state !== "completed") continue;
    await retire(tx, rollout, "build metadata counts from now on: it begins anew", SYSTEM, now);
  }
}

/**
 * What somebody should know who moves a channel to what its nodes count as having.
 * @param before what the channel had
 * @param after what it has now
 */
export async function warningsOf(
  db: Db,
  application: ApplicationRow,
  channel: ChannelRow,
  before: string | null,
  after: string | null,
): Promise<string[]> {
  const order = versionOrderOf(application);
  if (after === null || before === after) return [];
  const counts = await db
    .selectFrom("node_counts")
    .innerJoin("groups", "groups.no", "node_counts.group_no")
    .select(["node_counts.version", (eb) => eb.fn.sum("node_counts.count").as("nodes")])
    .where("groups.channel_no", "=", channel.no)
    .groupBy("node_counts.version")
    .orderBy("node_counts.version")
    .execute();
  const nodes = new Map<string, number>(before === null ? [] : [[before, 0]]);
  for (const row of counts) nodes.set(row.version, Number(row.nodes));
  const same = [...nodes]
    .filter(([version]) => countAsSame(version, after, order))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  if (same.length === 0) return [];
  const named = same
    .slice(0, MOST_NAMED)
    .map(([version, count]) => `${version}${count === 0 ? "" : ` (${counted(count)})`}`);
  const others = same.length > MOST_NAMED ? [`${same.length - MOST_NAMED} other versions`] : [];
  return [
    `Nodes that run ${[...named, ...others].join(" or ")} count as having ${after} already, and are not updated: these versions ` +
      "differ in build metadata only. The application's build_metadata: order has it tell them apart.",
  ];
}

const MOST_NAMED = 5;

function counted(nodes: number): string {
  return nodes === 1 ? "1 node" : `${nodes} nodes`;
}
