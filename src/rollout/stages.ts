/** Which nodes a rollout's stages include. Source: ROLLOUTS.md, "Stages". */
import { isInFlight } from "./counters.ts";
import { fold, matchesPattern } from "./fold.ts";
import { closedSlice } from "./health.ts";
import { ARCH, type Arch } from "./model/arch.ts";
import type { VersionOrder } from "./model/configuration.ts";
import type { Hold, Node, NodeStatus, SharedId } from "./model/node.ts";
import type { Rollout } from "./model/rollout.ts";
import type { Match, Stage } from "./model/strategy.ts";
import { bareId, percentile } from "./percentile.ts";
import { isShared } from "./shared-id.ts";
import { compareVersions } from "./version.ts";
import { isInRange } from "./version-range.ts";

/** What a stage looks at: the node as it reported itself last. */
export type StageNode = Pick<Node, "id" | "oem" | "version" | "machineAlias" | "alias" | "labels">;

/** Whether the stages of this rollout are all there is to it: one of 100 %, so nobody needs a percentile. */
export function isForAll({ stages }: { readonly stages: readonly Stage[] }): boolean {
  const [first] = stages;
  return first !== undefined && first.percent >= 100 && first.match === null && first.overMs === 0;
}

/** 0 to 100. */
export function percentileIn(rollout: Rollout, node: StageNode): number {
  return percentile(rollout.seed, node.id) * 100;
}

/** The first stage, from 0, that includes the node once it is fully open; null: none does. */
export function stageOf(rollout: Rollout, node: StageNode): number | null {
  const { strategy } = rollout;
  if (isForAll(strategy)) return 0;
  const position = percentileIn(rollout, node);
  const index = strategy.stages.findIndex((stage) => includes(stage, node, position, rollout.package.versionOrder));
  return index === -1 ? null : index;
}

function includes({ match, percent }: Stage, node: StageNode, position: number, order: VersionOrder): boolean {
  return (percent >= 100 || position < percent) && (match === null || matches(match, node, order));
}

export interface Inclusion {
  readonly included: boolean;
  /** The node's own stage; null: no stage will ever include it. */
  readonly stage: number | null;
  readonly percentile: number;
  /** The share that the present stage takes now. */
  readonly percent: number;
  /** Within the present stage's rise: when it reaches the node. Null: the node is of another stage. */
  readonly reachedAt: number | null;
}

/** Whether the stages that are open now include the node. */
export function inclusionOf(rollout: Rollout, node: StageNode, now: number): Inclusion {
  const position = percentileIn(rollout, node);
  const stage = stageOf(rollout, node);
  const percent = percentNow(rollout, now);
  const base = { stage, percentile: position, percent };
  if (stage === null || stage > rollout.stage) return { ...base, included: false, reachedAt: null };
  const own = rollout.strategy.stages[stage];
  if (stage < rollout.stage || own === undefined || position < percent || percent >= 100) {
    return { ...base, included: true, reachedAt: null };
  }
  const start = startingPercent(rollout.strategy.stages, stage);
  const share = (position - start) / (own.percent - start);
  return { ...base, included: false, reachedAt: risesSince(rollout, now) + Math.ceil(share * own.overMs) };
}

/** The share that the present stage takes now: rises from the one before over `overMs`. */
export function percentNow(rollout: Rollout, now: number): number {
  const { stages } = rollout.strategy;
  const { stage } = rollout;
  const { percent, overMs } = stages[stage] ?? FULL;
  if (overMs === 0) return percent;
  const risen = Math.min(1, Math.max(0, (now - risesSince(rollout, now)) / overMs));
  const start = startingPercent(stages, stage);
  return start + (percent - start) * risen;
}

/** Without nodes its time does not run. */
function risesSince({ awaitsNodes, stageOpenedAt }: Rollout, now: number): number {
  return awaitsNodes ? now : stageOpenedAt;
}

const FULL = { percent: 100, overMs: 0 };

/** Where a stage's rise starts: at the share of the last stage before it that is for everybody, as it is itself. */
function startingPercent(stages: readonly Stage[], index: number): number {
  const own = stages[index];
  if (own === undefined || own.match !== null) return 0;
  const before = stages.slice(0, index).findLast(({ match }) => match === null);
  return before?.percent ?? 0;
}

/** A node as a stage that wants to end looks at it. */
export interface Straggler extends Member {
  readonly status: NodeStatus;
  readonly held: Hold | null;
  readonly shared: Pick<SharedId, "lastAt"> | null;
  /** Of its present grant. */
  readonly rolloutNo: number | null;
  readonly grantVersion: string | null;
}

/**
 * Whether the present stage still waits for this node of its group. A node that failed is through, until it tries again; one
 * that a person holds, or that is two machines, would keep everybody waiting for a person.
 */
export function isWaitedFor(rollout: Rollout, node: Straggler, now: number): boolean {
  const { no, undoes } = rollout;
  if (node.held !== null || isShared(node.shared, now)) return false;
  if (node.rolloutNo === no && !isInFlight(node.status)) return false;
  if (!isToGo(rollout, node.version) || !isConcerned(rollout, node, now)) return false;
  // A way back is for those that got the version from us.
  if (undoes !== null && node.grantVersion !== undoes && node.rolloutNo !== no) return false;
  return closedSlice(rollout.closed, node) === null && isMember(rollout, node);
}

/** Whether a node of this version has still to get what is rolled out. */
export function isToGo({ undoes, package: wanted }: Rollout, version: string): boolean {
  return undoes === null ? compareVersions(version, wanted.version, wanted.versionOrder) < 0 : version === undoes;
}

/** A node as a stage that may be empty looks at it. */
export interface Member extends StageNode {
  readonly arch: Arch;
  readonly lastSeenAt: number;
}

/** Whether the rollout is for this node of its group at all, as far as one can tell without its version. */
export function isConcerned(
  { package: wanted, strategy }: Rollout,
  { arch, lastSeenAt }: Member,
  now: number,
): boolean {
  return (wanted.arch === ARCH.all || wanted.arch === arch) && lastSeenAt > now - strategy.activeWithinMs;
}

/** Whether the stages that are open have this node, once they are fully open. */
export function isMember(rollout: Rollout, node: StageNode): boolean {
  const stage = stageOf(rollout, node);
  return stage !== null && stage <= rollout.stage;
}

function matches({ oems, versions, ids, alias, labels }: Match, node: StageNode, order: VersionOrder): boolean {
  return (
    (oems === null || oems.includes(node.oem)) &&
    (versions === null || isInRange(node.version, versions, order)) &&
    (ids === null || ids.includes(bareId(node.id))) &&
    (alias === null || matchesPattern(alias, node.alias || node.machineAlias)) &&
    (labels === null || Object.entries(labels).every(([name, value]) => hasLabel(node, name, value)))
  );
}

/** @param folded its value */
function hasLabel({ labels }: StageNode, name: string, folded: string): boolean {
  const value = labels[name];
  return typeof value === "string" && fold(value) === folded;
}
