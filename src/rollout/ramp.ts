/**
 * Slow start: how many nodes a rollout may have at risk, as successes come in. A release that no node comes back from reaches
 * as many nodes as go first, whatever the size of the group and with nobody watching. Source: ROLLOUTS.md, "Guarded by default".
 */
import { newCell, OTHER_OEM, readCell } from "./cell.ts";
import { hasCompleted, inFlight } from "./counters.ts";
import { archName, finishedOf } from "./health.ts";
import type { RolloutCounters, Tally } from "./model/counters.ts";
import type { Node, NodeStatus } from "./model/node.ts";
import type { Rollout, Slice } from "./model/rollout.ts";
import type { Ramp, SliceBy } from "./model/strategy.ts";

/** How a rollout, or a slice of it, stands against its ramp. */
export interface RampStanding {
  /** Null: the whole rollout. */
  readonly slice: Slice | null;
  /** In flight, or at a bad end that no person has looked at yet. A node that tries again is here once. */
  readonly exposed: number;
  readonly complete: number;
  /** What `exposed` may come to. */
  readonly limit: number;
}

/** How the rollout as a whole stands; null: it has no ramp. @param less completed nodes that are about to begin anew */
export function rampOf(rollout: Rollout, { total }: RolloutCounters, less = 0): RampStanding | null {
  const { ramp } = rollout.strategy;
  if (ramp === null) return null;
  const seen = Object.values(rollout.baseline).reduce((bad, before) => bad + before.bad, 0);
  const exposed = exposedOf(total, seen);
  const complete = total.complete - less;
  return { slice: null, exposed, complete, limit: limitOf(rollout, ramp, complete) };
}

/**
 * The tightest of the limits that this node is under: the rollout's own, or that of its OEM or architecture, so that a release
 * which is good elsewhere starts slowly there, too. Null: the rollout has no ramp.
 */
export function rampFor(
  rollout: Rollout,
  counters: RolloutCounters,
  node: Pick<Node, "arch" | "oem" | "status" | "grant">,
): RampStanding | null {
  const { ramp, health } = rollout.strategy;
  // One that had completed, and was put back by hand, is no success while it goes again.
  const less = hasCompleted(node) && node.grant?.rolloutNo === rollout.no ? 1 : 0;
  const whole = rampOf(rollout, counters, less);
  // Without a success no slice has more than the whole, and a single cell is the whole.
  if (ramp === null || whole === null || whole.complete === 0 || counters.cells.size === 1) return whole;
  const own = readCell(newCell(counters.cells, rollout.stage, node.arch, node.oem));
  const by: readonly SliceBy[] = health?.slices ?? ["oem", "arch"];
  const oem = { exposed: 0, complete: -less };
  const arch = { exposed: 0, complete: -less };
  for (const [name, tally] of counters.cells) {
    const cell = readCell(name);
    const exposed = exposedOf(tally, rollout.baseline[name]?.bad ?? 0);
    if (cell.oem === own.oem) add(oem, exposed, tally.complete);
    if (cell.arch === own.arch) add(arch, exposed, tally.complete);
  }
  let tightest = whole;
  // OEMs that are counted under one name because they are too many have no ramp of their own.
  if (by.includes("oem") && own.oem !== OTHER_OEM) {
    tightest = tighter(tightest, { ...oem, slice: { by: "oem", value: own.oem }, limit: limitOf(rollout, ramp, oem.complete) }); // biome-ignore format: one line
  }
  if (by.includes("arch")) {
    tightest = tighter(tightest, { ...arch, slice: { by: "arch", value: archName(own.arch) }, limit: limitOf(rollout, ramp, arch.complete) }); // biome-ignore format: one line
  }
  return tightest;
}

/** How many more nodes may be granted; below 0 when the limit has come down. */
export function roomOf({ limit, exposed }: RampStanding): number {
  return limit - exposed;
}

const BAD_ENDS: ReadonlySet<NodeStatus> = new Set<NodeStatus>(["failed", "timed-out", "rolled-back", "lost"]);

/** It came to a bad end in this rollout, so it is exposed already: trying again takes nobody else's place. */
export function isExposed({ status, grant }: Pick<Node, "status" | "grant">, rollout: Rollout): boolean {
  return grant?.rolloutNo === rollout.no && BAD_ENDS.has(status);
}

/** @param seen by the person who resumed the rollout: so many had gone bad by then, and are not held against it again. */
function exposedOf(tally: Tally, seen: number): number {
  return inFlight(tally) - tally.retrying + Math.max(0, finishedOf(tally).bad - seen);
}

function limitOf({ groupNodes }: Rollout, { start, grow }: Ramp, complete: number): number {
  const first = "nodes" in start ? start.nodes : Math.max(1, Math.floor((groupNodes * start.percent) / 100));
  return first + Math.floor(grow * complete);
}

function add(to: { exposed: number; complete: number }, exposed: number, complete: number): void {
  to.exposed += exposed;
  to.complete += complete;
}

function tighter(one: RampStanding, other: RampStanding): RampStanding {
  return roomOf(other) < roomOf(one) ? other : one;
}
