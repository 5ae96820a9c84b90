/**
 * Two machines, or more, that report with one machine id: cloned disks. A machine has a new boot id with every boot, and never an old
 * one again: so a boot id that is back after another one was heard is another machine's. Clients that send none are told apart
 * by their versions, and only when these go to and fro time and again.
 */
import { hasRelapsed, isInFlight } from "./counters.ts";
import { ACTIVITY, SEVERITY } from "./model/activity.ts";
import type { CheckIn } from "./model/check-in.ts";
import type { Node, SharedId } from "./model/node.ts";
import type { Progress } from "./progress.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Nobody who polls stays away for longer: update_engine spreads 4 h by a half. A boot that is back later was a snapshot's. */
const LONGEST_POLL_MS = 6 * HOUR_MS;
/** Of clients that send no boot id: between two changes of the version. */
const USUAL_POLL_MS = 50 * 60_000;
/** So many times a version must have been left that comes back. */
const MANY_TIMES = 3;
/** Machines that are told apart; and what nodes make up must not fill the disk. */
const MOST_REMEMBERED = 8;
const LONGEST_NAME = 64;

/** A boot that the id was last heard from before the present one. */
export interface FormerBoot {
  /** Its boot id without braces; of a client that sends none, its version behind a "=". */
  readonly name: string;
  /** When another one was heard in its place. */
  readonly leftAt: number;
  /** Known only once the id is shared. */
  readonly version: string | null;
  readonly ip: string | null;
}

/** Whether two machines or more have this id: they were heard in turn within a day. */
export function isShared(shared: Pick<SharedId, "lastAt"> | null, now: number): shared is SharedId {
  return shared !== null && shared.lastAt > sharedAfter(now);
}

/** Ids whose machines were heard in turn after this are shared now. */
export function sharedAfter(now: number): number {
  return now - DAY_MS;
}

/**
 * Notices a machine that shares its id, and the end of it. A node that is two machines leaves its rollout: neither counts, nor does what
 * one was taken for when the other was heard.
 * @param before as it was known; null: it is new.
 */
export function watchIdentity(progress: Progress, before: Node | null, checkIn: CheckIn): void {
  if (before === null) return;
  const { now } = progress;
  if (before.shared !== null && !isShared(before.shared, now)) {
    progress.node = { ...progress.node, shared: null, formerBoots: "" };
    return;
  }
  // An event may come late, from the boot before.
  if ((!checkIn.ping && !checkIn.updateCheck) || isSameBoot(before, checkIn)) return;
  const name = nameOf(checkIn.bootId, checkIn.version);
  const former = readFormerBoots(before.formerBoots);
  const left = { name: nameOf(before.bootId, before.version), leftAt: now, version: before.version, ip: before.ip };
  const byVersion = before.bootId === "";
  const since = byVersion ? sinceByVersion(name, former, before, now) : sinceByBoot(name, former, now);
  const shared = since === null ? before.shared : { since: before.shared?.since ?? since, lastAt: now };
  const kept = byVersion
    ? chained(former, before, name, now)
    : former.filter((one) => one.name !== name && isLate(one, now));
  const formerBoots = writeFormerBoots([...kept, left].slice(-MOST_REMEMBERED), shared !== null);
  progress.node = { ...progress.node, shared, formerBoots };
  if (shared === null) return;
  if (before.shared === null) leaveRollout(progress, shared.since);
  if (isToBeTold(before.shared, shared)) {
    const { groupNo, version } = progress.node;
    progress.note({ class: ACTIVITY.machineIdShared, severity: SEVERITY.warning, groupNo, version, ofNode: true });
  }
}

/** Also when it says less of itself than before. */
function isSameBoot(before: Node, { bootId, version }: CheckIn): boolean {
  if (bootId === "") return before.bootId !== "" || version === before.version;
  return before.bootId === "" || bootId === before.bootId || bare(bootId) === bare(before.bootId);
}

/** Clients on one machine may write it differently. */
function bare(bootId: string): string {
  return bootId.replace(/^\{|\}$/g, "").toLowerCase();
}

function nameOf(bootId: string, version: string): string {
  return (bootId === "" ? `=${version}` : bare(bootId)).slice(0, LONGEST_NAME);
}

function isLate({ leftAt }: FormerBoot, now: number): boolean {
  return now - leftAt <= LONGEST_POLL_MS;
}

/** Since when the boot that is back was not alone; null: it is none that is back. */
function sinceByBoot(name: string, former: readonly FormerBoot[], now: number): number | null {
  return former.find((one) => one.name === name && isLate(one, now))?.leftAt ?? null;
}

function sinceByVersion(name: string, former: readonly FormerBoot[], before: Node, now: number): number | null {
  const chain = chained(former, before, name, now);
  const times = chain.filter((one) => one.name === name);
  return times.length >= MANY_TIMES ? (times[0]?.leftAt ?? null) : null;
}

/** The changes up to now that follow one another closely. One that was granted is what grants are for: it begins anew. */
function chained(former: readonly FormerBoot[], { grant }: Node, name: string, now: number): readonly FormerBoot[] {
  const last = former.at(-1);
  if (last === undefined || now - last.leftAt > USUAL_POLL_MS) return [];
  const wasGranted = grant !== null && nameOf("", grant.version) === name && grant.grantedAt >= last.leftAt;
  return wasGranted ? [] : former;
}

/** @param since how it ended from then on may have been the other machine's end. */
function leaveRollout(progress: Progress, since: number): void {
  const { grant, status, statusAt } = progress.node;
  if (grant === null) return;
  // On hold, it had completed before.
  if (isInFlight(status) || status === "on-hold" || statusAt < since) progress.move("on-hold", null, { grants: false });
  else progress.leaveAs(hasRelapsed(grant) ? "complete" : "withdrawn");
}

/** At first, and then once a day. */
function isToBeTold(before: SharedId | null, { since, lastAt }: SharedId): boolean {
  const day = (at: number) => Math.floor((at - since) / DAY_MS);
  return before === null || day(lastAt) > day(before.lastAt);
}

type Written = [name: string, leftAt: number] | [name: string, leftAt: number, version: string, ip: string];

/** @param text of a node's record; "": none */
export function readFormerBoots(text: string): readonly FormerBoot[] {
  if (text === "") return [];
  // Written by `writeFormerBoots` alone.
  const written = JSON.parse(text) as Written[];
  return written.map(([name, leftAt, version = null, ip = null]) => ({ name, leftAt, version, ip }));
}

/** Most nodes have rebooted once, and share their id with nobody: of them, no more is kept than it takes to notice that. */
function writeFormerBoots(boots: readonly FormerBoot[], inFull: boolean): string {
  const written = boots.map(
    ({ name, leftAt, version, ip }): Written =>
      inFull && version !== null && ip !== null ? [name, leftAt, version, ip] : [name, leftAt],
  );
  return JSON.stringify(written);
}
