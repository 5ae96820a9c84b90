/** One check of an upstream: ask, bring in what is new, and then move the channel as far as the policy allows. */
import type { Kysely } from "kysely";
import { filesOfPackage } from "../payloads/records.ts";
import { parseInterval } from "../rollout/interval.ts";
import type { VersionOrder } from "../rollout/model/configuration.ts";
import { compareVersions, lowestVersion } from "../rollout/version.ts";
import type { Tables } from "../store/tables.ts";
import { versionOrderOf } from "../store/version-order.ts";
import { type BringInContext, bringIn } from "./bring-in.ts";
import { type Desk, NotTaken } from "./editor.ts";
import { againstTarget, type Choice, choose, type Policy } from "./policy.ts";
import { filesOf, type Release, SourceFailed } from "./release.ts";
import type { Found, Upstream } from "./upstream.ts";
import {
  forgetAbove,
  isHeld,
  isHere,
  noteHere,
  noteSeen,
  type Outcome,
  seenTargets,
  summaryOf,
  type UpstreamRow,
} from "./upstreams.ts";

export interface CheckContext extends BringInContext {
  readonly now: () => number;
  readonly upstream: Upstream;
  readonly signal: AbortSignal;
  readonly onBytes: (version: string, file: string, received: number, total: number) => void;
}

/** What came of it, but for when to look again: `until` is when something that is held back may move. */
export type Checked = Omit<Outcome, "nextCheckAt"> & { readonly until: number | null };

type Db = Kysely<Tables>;

/** @throws what is nobody's fault but ours, or the database's */
export async function check(context: CheckContext, row: UpstreamRow): Promise<Checked> {
  const nothing = { version: "", found: null, heldBack: null, until: null };
  const { read } = context.store;
  const current = await versionOf(read, row.channel_no);
  const channel = await channelOf(read, row);
  const { order } = channel;
  let found: Found;
  try {
    const question = { ...channel, track: row.track, have: current ?? lowestVersion(order) };
    found = await context.upstream.releases(question, context.signal);
  } catch (error) {
    if (error instanceof SourceFailed) return { ...nothing, error: error.message };
    throw error;
  }
  const { target, floors } = found;
  const seen = [
    ...floors.map(({ version }) => ({ version, isTarget: false })),
    ...(target === null ? [] : [{ version: target.version, isTarget: true }]),
  ];
  const held = await context.store.write(async (tx) => {
    if (!(await isHeld(tx, row))) return false;
    await noteSeen(tx, row.no, seen, context.now());
    // If the answer is incomplete, its target may be what can't be read.
    if (found.incomplete.length === 0) await forgetAbove(tx, row.no, target?.version ?? current, order);
    return true;
  });
  const summary = summaryOf(found);
  if (!held) return { ...nothing, found: summary, error: "broken off" };

  const against = target === null ? null : againstTarget(target.version, { policy: policyOf(row), current, order });
  const problem = against === null ? await bringAllIn(context, row, found) : null;
  if (context.signal.aborted) return { ...nothing, found: summary, error: "broken off" };
  try {
    // What lacks files is a barrier also where the target was not to be brought in: a floor may be among them.
    const trouble = problem?.version ?? found.incomplete[0]?.version ?? null;
    const { heldBack, until } = await move(context, row, found, trouble, order);
    return { error: problem?.why ?? null, version: problem?.version ?? "", found: summary, heldBack, until };
  } catch (error) {
    if (!(error instanceof NotTaken)) throw error;
    return { ...nothing, found: summary, version: target?.version ?? "", error: error.message };
  }
}

export function policyOf({ policy, versions, up_to: upTo, min_age: minAge }: UpstreamRow): Policy {
  // All of it was checked when it came in.
  const kind = policy as Policy["kind"];
  return { kind, versions: JSON.parse(versions), upTo, minAgeMs: minAge === null ? 0 : (parseInterval(minAge) ?? 0) };
}

interface Trouble {
  readonly version: string;
  readonly why: string;
}

/** Floors first: nobody could come to a target whose floors are missing. Null: all are here. */
async function bringAllIn(context: CheckContext, row: UpstreamRow, found: Found): Promise<Trouble | null> {
  const [incomplete] = found.incomplete;
  if (incomplete !== undefined)
    return { ...incomplete, why: `${incomplete.version} can't be offered: ${incomplete.why}` };
  const { target } = found;
  const floors = found.floors.filter(({ version }) => version !== target?.version);
  for (const release of [...floors, ...(target === null ? [] : [target])]) {
    const why = await bringOneIn(context, row, release);
    if (why !== null) return { version: release.version, why: `${release.version}: ${why}` };
  }
  return null;
}

async function bringOneIn(context: CheckContext, row: UpstreamRow, release: Release): Promise<string | null> {
  const { version } = release;
  if (row.download !== 1) {
    const why = await whyNotThere(context, row, release);
    if (why !== null) return why;
  }
  const brought = await bringIn(context, {
    applicationNo: row.application_no,
    release,
    bytes: row.download === 1 ? context.upstream.bytesOf(release) : null,
    signal: context.signal,
    onBytes: (file, received, total) => context.onBytes(version, file, received, total),
  });
  if (brought.kind !== "here") return brought.why;
  await context.store.write(async (tx) => {
    if (await isHeld(tx, row)) await noteHere(tx, row, version, context.now());
  });
  return null;
}

/**
 * Why nodes that are sent to the upstream's files would get nothing; null: they will. What is kept here is not asked for, nor
 * is a package that a person has given another address.
 */
async function whyNotThere(
  { store: { read }, upstream, signal }: CheckContext,
  { application_no }: UpstreamRow,
  release: Release,
): Promise<string | null> {
  const present = await read
    .selectFrom("packages")
    .select(["no", "url"])
    .where("application_no", "=", application_no)
    .where("version", "=", release.version)
    .where("arch", "=", release.arch)
    .executeTakeFirst();
  if (present !== undefined && present.url !== release.url) return null;
  const kept = present === undefined ? [] : await filesOfPackage(read, present.no);
  const stored = new Set(kept.filter(({ state }) => state === "stored").map(({ name }) => name));
  try {
    for (const file of filesOf(release)) if (!stored.has(file.name)) await upstream.probe?.(file, release, signal);
    return null;
  } catch (error) {
    if (error instanceof SourceFailed) return error.message;
    throw error;
  }
}

/**
 * Chooses and moves in one transaction: people may have changed everything since the check began.
 * @param trouble with this version: nothing from it on is moved to, though it may have been here once
 */
function move(
  { editor }: CheckContext,
  turn: UpstreamRow,
  found: Found,
  trouble: string | null,
  order: VersionOrder,
): Promise<Choice> {
  const { no } = turn;
  return editor.change("followUpstream", async (desk) => {
    const { tx, now } = desk;
    const row = await tx.selectFrom("upstreams").selectAll().where("no", "=", no).executeTakeFirst();
    if (row === undefined || row.lease !== turn.lease) return { version: null, heldBack: null, until: null };
    const here = (await seenTargets(tx, no))
      .filter(({ version }) => trouble === null || compareVersions(version, trouble, order) < 0)
      .map((one) => ({ version: one.version, firstSeenAt: one.first_seen_at }));
    const current = await versionOf(tx, row.channel_no);
    const target = found.target?.version ?? null;
    const choice = choose({ policy: policyOf(row), order, current, movedTo: row.moved_to, target, here, now });
    if (choice.version === null) return choice;
    if (await moveTo(desk, row, choice.version, found, order)) return choice;
    return { ...choice, heldBack: `the package of ${choice.version}, or of a floor before it, is not here` };
  });
}

/** Answers whether it could be: the package, or a floor before it, may have gone, or not have been brought in. */
async function moveTo(
  desk: Desk,
  row: UpstreamRow,
  version: string,
  { floors }: Found,
  order: VersionOrder,
): Promise<boolean> {
  const { tx } = desk;
  const { arch } = await tx
    .selectFrom("channels")
    .select("arch")
    .where("no", "=", row.channel_no)
    .executeTakeFirstOrThrow();
  const packageOf = (wanted: string) =>
    tx
      .selectFrom("packages")
      .select(["no", "id"])
      .where("application_no", "=", row.application_no)
      .where("arch", "=", arch)
      .where("version", "=", wanted)
      .executeTakeFirst();
  const target = await packageOf(version);
  if (target === undefined) return false;
  const before: { readonly no: number; readonly reason: string | null }[] = [];
  for (const { version: floor, reason } of floors) {
    // The target may be one itself: that counts when the channel leads beyond it.
    if (compareVersions(floor, version, order) > 0) break;
    const one = (await isHere(tx, row.no, floor)) ? await packageOf(floor) : undefined;
    if (one === undefined) return false;
    before.push({ no: one.no, reason });
  }
  for (const { no, reason } of before) await provideFloor(desk, row, no, reason);
  const application = await tx
    .selectFrom("applications")
    .selectAll()
    .where("no", "=", row.application_no)
    .executeTakeFirstOrThrow();
  await desk.pointChannel(application, row.channel_no, target.id);
  await tx.updateTable("upstreams").set({ moved_to: version }).where("no", "=", row.no).execute();
  return true;
}

/** One that is there stays as it is: somebody may have written a better reason. */
async function provideFloor(desk: Desk, row: UpstreamRow, packageNo: number, reason: string | null): Promise<void> {
  const present = await desk.tx
    .selectFrom("channel_floors")
    .select("package_no")
    .where("channel_no", "=", row.channel_no)
    .where("package_no", "=", packageNo)
    .executeTakeFirst();
  if (present === undefined)
    await desk.setFloor(row.channel_no, packageNo, reason ?? "a floor of the upstream's channel");
}

async function channelOf(db: Db, { channel_no, application_no }: UpstreamRow) {
  const { arch } = await db
    .selectFrom("channels")
    .select("arch")
    .where("no", "=", channel_no)
    .executeTakeFirstOrThrow();
  const application = await db
    .selectFrom("applications")
    .selectAll()
    .where("no", "=", application_no)
    .executeTakeFirstOrThrow();
  const { id: applicationId, product_id: productId } = application;
  return { arch, applicationId, productId, order: versionOrderOf(application) };
}

async function versionOf(db: Db, channelNo: number): Promise<string | null> {
  const row = await db
    .selectFrom("channels")
    .innerJoin("packages", "packages.no", "channels.package_no")
    .select("packages.version")
    .where("channels.no", "=", channelNo)
    .executeTakeFirst();
  return row?.version ?? null;
}
