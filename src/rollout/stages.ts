/** Which nodes a rollout's stages include. Source: ROLLOUTS.md, "Stages". */
import semver from "semver";
import { isInFlight } from "./counters.ts";
import { closedSlice } from "./health.ts";
import { ARCH, type Arch } from "./model/arch.ts";
import type { Hold, Node, NodeStatus, SharedId } from "./model/node.ts";
import type { Rollout } from "./model/rollout.ts";
import type { Match, Stage } from "./model/strategy.ts";
import { bareId, percentile } from "./percentile.ts";
import { isShared } from "./shared-id.ts";
import { compareVersions } from "./version.ts";

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
  const index = strategy.stages.findIndex((stage) => includes(stage, node, position, stage.percent));
  return index === -1 ? null : index;
}

function includes({ match }: Stage, node: StageNode, position: number, percent: number): boolean {
  return (percent >= 100 || position < percent) && (match === null || matches(match, node));
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
  return { ...base, included: false, reachedAt: rollout.stageOpenedAt + Math.ceil(share * own.overMs) };
}

/** The share that the present stage takes now: rises from the one before over `overMs`. */
export function percentNow({ strategy: { stages }, stage, stageOpenedAt }: Rollout, now: number): number {
  const { percent, overMs } = stages[stage] ?? FULL;
  if (overMs === 0) return percent;
  const risen = Math.min(1, Math.max(0, (now - stageOpenedAt) / overMs));
  const start = startingPercent(stages, stage);
  return start + (percent - start) * risen;
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
export interface Straggler extends StageNode {
  readonly arch: Arch;
  readonly status: NodeStatus;
  readonly held: Hold | null;
  readonly shared: Pick<SharedId, "lastAt"> | null;
  readonly lastSeenAt: number;
  /** Of its present grant. */
  readonly rolloutNo: number | null;
  readonly grantVersion: string | null;
}

/**
 * Whether the present stage still waits for this node of its group. A node that failed is through, until it tries again; one
 * that a person holds, or that is two machines, would keep everybody waiting for a person.
 */
export function isWaitedFor(rollout: Rollout, node: Straggler, now: number): boolean {
  const { strategy, undoes, package: wanted } = rollout;
  if (node.held !== null || isShared(node.shared, now)) return false;
  if (node.rolloutNo === rollout.no && !isInFlight(node.status)) return false;
  const concerned =
    undoes === null
      ? compareVersions(node.version, wanted.version) < 0
      : node.version === undoes && (node.grantVersion === undoes || node.rolloutNo === rollout.no);
  if (!concerned || node.lastSeenAt <= now - strategy.activeWithinMs) return false;
  if (wanted.arch !== ARCH.all && wanted.arch !== node.arch) return false;
  if (closedSlice(rollout.closed, node) !== null) return false;
  const stage = stageOf(rollout, node);
  return stage !== null && stage <= rollout.stage;
}

function matches({ oems, versions, ids, alias, labels }: Match, node: StageNode): boolean {
  return (
    (oems === null || oems.includes(node.oem)) &&
    (versions === null || semver.satisfies(node.version, versions, { includePrerelease: true })) &&
    (ids === null || ids.includes(bareId(node.id))) &&
    (alias === null || matchesPattern(alias, node.alias || node.machineAlias)) &&
    (labels === null || Object.entries(labels).every(([name, value]) => node.labels[name] === value))
  );
}

/** `*` stands for any characters, `?` for one; no other character is special. */
function matchesPattern(pattern: string, text: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*+/g, ".*")
    .replace(/\?/g, ".");
  return new RegExp(`^${source}$`, "is").test(text);
}
