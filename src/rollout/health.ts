/**
 * The health gate: whether what a rollout's nodes have come to is still within what its strategy allows. Statistical, over
 * finished nodes only, whatever the size of the group. Source: ROLLOUTS.md, "Stages".
 */
import { type Cell, OTHER_OEM, readCell } from "./cell.ts";
import { inFlight } from "./counters.ts";
import { ARCH, type Arch } from "./model/arch.ts";
import type { RolloutCounters, Tally } from "./model/counters.ts";
import type { ClosedSlice, Finished, Rollout, Slice } from "./model/rollout.ts";
import type { Health } from "./model/strategy.ts";

/** One-sided 99.95 %: looked at after every node, it still rarely cries wolf. */
const Z = 3.29;
/** How probable it may be, at most, that failures fell into one slice by chance, for that slice to be blamed alone. */
const BLAME = 0.1;
/** The same when there are failures elsewhere, too. */
const CERTAIN = 0.01;

export interface Breach extends Finished {
  /** Null: the whole rollout. */
  readonly slice: Slice | null;
  /** `relapses`: of those that had completed when a person last resumed, too many have fallen back since. */
  readonly why: "failures" | "lost" | "relapses";
  /** The lower bound of the failure share, 0 to 1. */
  readonly bound: number;
}

/** Wilson's lower bound of a share, of which `bad` of `finished` is a sample. 0 to 1. */
export function lowerBound(bad: number, finished: number): number {
  if (finished === 0) return 0;
  const share = bad / finished;
  const z2 = Z * Z;
  const centre = share + z2 / (2 * finished);
  const margin = Z * Math.sqrt((share * (1 - share)) / finished + z2 / (4 * finished * finished));
  return Math.max(0, (centre - margin) / (1 + z2 / finished));
}

/** Who is through: a node that failed and tries again is still a failure. */
export function finishedOf(tally: Tally): Finished {
  const bad = tally.failed + tally["timed-out"] + tally["rolled-back"] + tally.lost + tally.retrying;
  return { finished: bad + tally.complete, bad, lost: tally.lost, relapsed: tally.relapsed };
}

/** What has finished so far, to be left out of account after a person has looked at it and resumed. */
export function baselineOf(counters: RolloutCounters): Record<string, Finished> {
  const baseline: Record<string, Finished> = {};
  for (const [name, tally] of counters.cells) baseline[name] = finishedOf(tally);
  return baseline;
}

interface CellHealth {
  readonly cell: Cell;
  readonly finished: Finished;
  /** Finished or under way: whoever could have failed by now. */
  readonly exposed: number;
}

interface OpenCell extends CellHealth {
  /** Those that had completed when a person last resumed, and which of them have fallen back since. */
  readonly known: Finished;
}

/**
 * What is breached now; null: the gate is open. The failures of slices that are closed already are not counted again.
 */
export function breachOf(rollout: Rollout, counters: RolloutCounters): Breach | null {
  const { health } = rollout.strategy;
  if (health === null || !hasFailures(counters.total)) return null;
  const cells = openCells(rollout, counters);
  return breachIn(health, cells) ?? relapsesIn(health, cells);
}

function breachIn(health: Health, cells: readonly CellHealth[]): Breach | null {
  const whole = exceeds(health, sum(cells));
  if (whole !== null) return { ...whole, slice: blame(health, cells) };
  for (const slice of slicesOf(health, cells)) {
    const within = exceeds(health, sum(cells.filter(({ cell }) => isInSlice(slice, cell))));
    // If the others are no better, the release is bad, and the slice only shows it first.
    if (within !== null) return { ...within, slice: isToBlame(health, cells, slice) ? slice : null };
  }
  return null;
}

/**
 * Those that a person has seen complete are many, and not to drown the failures of those that came after; nor are some of them
 * that fall back failures of these few. So each are a sample of their own.
 */
function relapsesIn(health: Health, cells: readonly OpenCell[]): Breach | null {
  if (cells.every(({ known }) => known.bad === 0)) return null;
  const breach = breachIn(
    health,
    cells.map(({ cell, known }) => ({ cell, finished: known, exposed: known.finished })),
  );
  return breach && { ...breach, why: "relapses" };
}

/**
 * All that is breached: a slice that is unhealthy hides no other. Nobody is spared by the last of them if its slice is null.
 * `pause` and `watch` close no slice, so here each is left out of account once it has been found.
 */
export function breachesOf(rollout: Rollout, counters: RolloutCounters): readonly Breach[] {
  const found: Breach[] = [];
  let closed = rollout.closed;
  for (;;) {
    const breach = breachOf({ ...rollout, closed }, counters);
    if (breach === null) return found;
    found.push(breach);
    if (breach.slice === null) return found;
    closed = [...closed, { slice: breach.slice, at: 0, why: "", watched: false }];
  }
}

function hasFailures(total: Tally): boolean {
  return total.failed + total["timed-out"] + total["rolled-back"] + total.lost + total.retrying > 0;
}

function openCells({ closed, baseline }: Rollout, counters: RolloutCounters): OpenCell[] {
  const cells: OpenCell[] = [];
  for (const [name, tally] of counters.cells) {
    const cell = readCell(name);
    if (closedSlice(closed, cell) !== null) continue;
    const now = finishedOf(tally);
    const before = baseline[name] ?? NOTHING;
    const finished = beyond(now, before);
    cells.push({
      cell,
      finished,
      exposed: finished.finished + inFlight(tally) - tally.retrying,
      known: relapsedOf(now, before),
    });
  }
  return cells;
}

const NOTHING: Finished = { finished: 0, bad: 0, lost: 0, relapsed: 0 };

/** What has finished since, without the relapses of what had completed by then. */
function beyond(now: Finished, before: Finished): Finished {
  if (before.finished === 0) return now;
  const relapsed = now.relapsed - before.relapsed;
  const bad = Math.max(0, now.bad - before.bad - relapsed);
  const good = Math.max(0, now.finished - now.bad - (before.finished - before.bad) + relapsed);
  return { ...NOTHING, finished: bad + good, bad, lost: Math.max(0, now.lost - before.lost) };
}

function relapsedOf(now: Finished, before: Finished): Finished {
  const completed = before.finished - before.bad;
  return { ...NOTHING, finished: completed, bad: Math.min(completed, Math.max(0, now.relapsed - before.relapsed)) };
}

function exceeds(health: Health, of: Finished): Omit<Breach, "slice"> | null {
  const bound = lowerBound(of.bad, of.finished);
  if (health.maxLost !== null && of.lost > health.maxLost) return { ...of, why: "lost", bound };
  const tooMany = of.finished >= health.minFinished && bound > health.maxFailurePercent / 100;
  return tooMany ? { ...of, why: "failures", bound } : null;
}

/** The slice whose fault it is; null: the release itself must be taken for bad. */
function blame(health: Health, cells: readonly CellHealth[]): Slice | null {
  const suspects = slicesOf(health, cells).filter((slice) => isToBlame(health, cells, slice));
  return suspects.sort((a, b) => chanceOf(a, cells) - chanceOf(b, cells))[0] ?? null;
}

/**
 * Whether the failures are this slice's alone: it is improbable that they met there by chance, and the others have no more
 * than they may, or so few that it is clear who stands out.
 */
function isToBlame(health: Health, cells: readonly CellHealth[], slice: Slice): boolean {
  const others = sum(cells.filter(({ cell }) => !isInSlice(slice, cell)));
  const chance = chanceOf(slice, cells);
  const fine = others.bad * 100 <= others.finished * health.maxFailurePercent;
  const bearable = lowerBound(others.bad, others.finished) * 100 <= health.maxFailurePercent;
  return fine ? chance <= BLAME : bearable && chance <= CERTAIN;
}

/**
 * How probable it is that so many of the failures met in this slice by chance. Nodes under way count among those that could
 * have failed, since failures show sooner than successes.
 */
function chanceOf(slice: Slice, cells: readonly CellHealth[]): number {
  const own = cells.filter(({ cell }) => isInSlice(slice, cell));
  return chanceOfMeeting(sum(own).bad, sum(cells).bad, exposedIn(own), exposedIn(cells));
}

function exposedIn(cells: readonly CellHealth[]): number {
  return cells.reduce((total, { exposed }) => total + exposed, 0);
}

/** How probable it is that of `bad` failures among `all` nodes at least `met` fall upon some `inside` of them. */
function chanceOfMeeting(met: number, bad: number, inside: number, all: number): number {
  let chance = 0;
  for (let count = met; count <= Math.min(bad, inside); count += 1) {
    chance += Math.exp(logChoose(inside, count) + logChoose(all - inside, bad - count) - logChoose(all, bad));
  }
  // A tenth is a tenth, whatever the logarithms lose on the way.
  return Math.round(chance * 1e9) / 1e9;
}

function logChoose(n: number, k: number): number {
  if (k < 0 || k > n) return Number.NEGATIVE_INFINITY;
  let log = 0;
  for (let i = 1; i <= Math.min(k, n - k); i += 1) log += Math.log((n - i + 1) / i);
  return log;
}

/** Of those that the gate looks at on their own, which there are. */
export function slicesOf({ slices }: Health, cells: readonly { readonly cell: Pick<Cell, "oem" | "arch"> }[]): Slice[] {
  const found = new Map<string, Slice>();
  for (const by of slices) {
    for (const { cell } of cells) {
      const slice = { by, value: by === "oem" ? cell.oem : archName(cell.arch) };
      found.set(sliceName(slice), slice);
    }
  }
  // With a single one, slice and rollout are the same.
  const several = (by: string) => [...found.values()].filter((slice) => slice.by === by).length > 1;
  // Closing that one would hold back nobody, and hide what goes on in it.
  const isOther = ({ by, value }: Slice) => by === "oem" && value === OTHER_OEM;
  return [...found.values()].filter((slice) => several(slice.by) && !isOther(slice));
}

function sum(cells: readonly CellHealth[]): Finished {
  const total = { finished: 0, bad: 0, lost: 0, relapsed: 0 };
  for (const { finished } of cells) {
    total.finished += finished.finished;
    total.bad += finished.bad;
    total.lost += finished.lost;
    total.relapsed += finished.relapsed;
  }
  return total;
}

export function isInSlice({ by, value }: Slice, { oem, arch }: Pick<Cell, "oem" | "arch">): boolean {
  return value === (by === "oem" ? oem : archName(arch));
}

/** The closed slice that a node of this OEM and architecture is in; null: none. One that is only watched is not closed. */
export function closedSlice(
  closed: readonly ClosedSlice[],
  node: { readonly oem: string; readonly arch: Arch },
): ClosedSlice | null {
  return closed.find(({ slice, watched }) => !watched && isInSlice(slice, node)) ?? null;
}

export function archName(arch: Arch): string {
  return Object.entries(ARCH).find(([, number]) => number === arch)?.[0] ?? "all";
}

/** e.g. `oem=vmware`. */
export function sliceName({ by, value }: Slice): string {
  return `${by}=${value}`;
}

/** What is wrong, for the history; where it is, `slice` says. */
export function describeBreach({ why, finished, bad, lost, bound }: Breach, health: Health): string {
  if (why === "lost") return `${lost} ${lost === 1 ? "node" : "nodes"} lost, more than ${health.maxLost}`;
  const percent = (bound * 100).toFixed(1);
  if (why === "relapses") {
    return `${bad} of ${finished} nodes that had completed before it was resumed fell back since: at least ${percent} % fall back, more than ${health.maxFailurePercent} %`;
  }
  return `${bad} of ${finished} finished nodes failed: at least ${percent} % fail, more than ${health.maxFailurePercent} %`;
}
