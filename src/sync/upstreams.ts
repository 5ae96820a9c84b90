/** Upstreams in the database: whose turn it is, what a check came to, what was seen when. */
import type { ExpressionBuilder, Kysely, Selectable } from "kysely";
import { ACTIVITY, SEVERITY } from "../rollout/model/activity.ts";
import type { VersionOrder } from "../rollout/model/configuration.ts";
import { compareVersions } from "../rollout/version.ts";
import { noteActivity } from "../store/activity.ts";
import type { Tables } from "../store/tables.ts";
import { isDue, LEASE_MS, SKEW_MS } from "./schedule.ts";
import type { Found } from "./upstream.ts";

type Db = Kysely<Tables>;
export type UpstreamRow = Selectable<Tables["upstreams"]>;

/** An Omaha server; a directory of `turnout mirror`; one in Flatcar's layout that nobody has signed. */
export const KINDS = ["omaha", "mirror", "plain"] as const;
export const POLICIES = ["follow", "import-only", "off"] as const;

/** What a check found, as it is shown. */
export interface Summary {
  readonly target: string | null;
  readonly floors: readonly string[];
  readonly incomplete: readonly { readonly version: string; readonly why: string }[];
}

export function summaryOf({ target, floors, incomplete }: Found): Summary {
  return { target: target?.version ?? null, floors: floors.map(({ version }) => version), incomplete };
}

/** Whether nobody has it. A lease that ends later than any of ours was written when the clock was wrong. */
function isFree(now: number) {
  return (eb: ExpressionBuilder<Tables, "upstreams">) =>
    eb.or([
      eb("lease_until", "is", null),
      eb("lease_until", "<=", now),
      eb("lease_until", ">", now + LEASE_MS + SKEW_MS),
    ]);
}

/** Has it for itself until the lease ends. Null: it is gone, or somebody else has it. */
export async function take(tx: Db, no: number, lease: string, now: number): Promise<UpstreamRow | null> {
  const row = await tx
    .updateTable("upstreams")
    .set({ lease, lease_until: now + LEASE_MS })
    .where("no", "=", no)
    .where(isFree(now))
    .returningAll()
    .executeTakeFirst();
  return row ?? null;
}

/** Answers whether it was still there to be renewed. */
export async function renew(tx: Db, no: number, lease: string, now: number): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable("upstreams")
    .set({ lease_until: now + LEASE_MS })
    .where("no", "=", no)
    .where("lease", "=", lease)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Whether a turn is still its own: the upstream may have become another one, or somebody else's. */
export async function isHeld(tx: Db, { no, lease }: UpstreamRow): Promise<boolean> {
  const row = await tx.selectFrom("upstreams").select("lease").where("no", "=", no).executeTakeFirst();
  return row !== undefined && row.lease === lease;
}

export async function dueUpstreams(db: Db, now: number): Promise<number[]> {
  const rows = await db
    .selectFrom("upstreams")
    .select(["no", "check_interval", "next_check_at"])
    .where("policy", "!=", "off")
    .where("next_check_at", "is not", null)
    .where(isFree(now))
    .orderBy("next_check_at")
    .execute();
  return rows.filter((row) => row.next_check_at !== null && isDue(row.next_check_at, row, now)).map(({ no }) => no);
}

/** What a check came to. */
export interface Outcome {
  /** Null: it went well. */
  readonly error: string | null;
  /** What the error is about; "": the upstream as a whole. */
  readonly version: string;
  /** Null: there was no answer. */
  readonly found: Summary | null;
  readonly heldBack: string | null;
  readonly nextCheckAt: number;
}

/** So many failures in a row are told to people, once until it goes well again. */
const FAILURES_TOLD = 3;

/** Writes it down, if the lease is still held; answers whether it was. */
export async function settle(
  tx: Db,
  { no, application_no, channel_no }: UpstreamRow,
  lease: string,
  outcome: Outcome,
  now: number,
): Promise<boolean> {
  const { error, version, found, heldBack, nextCheckAt } = outcome;
  const settled = await tx
    .updateTable("upstreams")
    .set((eb) => ({
      lease: null,
      lease_until: null,
      checked_at: now,
      next_check_at: nextCheckAt,
      last_error: error,
      held_back: heldBack,
      ...(found === null ? {} : { found: JSON.stringify(found) }),
      ...(error === null ? { failures: 0, succeeded_at: now } : { failures: eb("failures", "+", 1) }),
    }))
    .where("no", "=", no)
    .where("lease", "=", lease)
    .returning("failures")
    .executeTakeFirst();
  if (settled?.failures === FAILURES_TOLD) {
    await noteActivity(tx, ACTIVITY.upstreamFailing, SEVERITY.error, { application_no, channel_no, version }, now);
  }
  return settled !== undefined;
}

/** Lets it go without a word: it was broken off, and is to be gone on with as soon as possible. */
export async function putBack(tx: Db, no: number, lease: string, now: number): Promise<void> {
  await tx
    .updateTable("upstreams")
    .set({ lease: null, lease_until: null, next_check_at: now })
    .where("no", "=", no)
    .where("lease", "=", lease)
    .execute();
}

export interface Seen {
  readonly version: string;
  readonly isTarget: boolean;
}

function changing(tx: Db, upstreamNo: number, version: string) {
  return tx.updateTable("upstream_releases").where("upstream_no", "=", upstreamNo).where("version", "=", version);
}

/**
 * From now on they are known, if they were not before. One that was first seen later than now was seen when the clock was wrong:
 * its age would begin then.
 */
export async function noteSeen(tx: Db, upstreamNo: number, seen: readonly Seen[], now: number): Promise<void> {
  for (const { version, isTarget } of seen) {
    await tx
      .insertInto("upstream_releases")
      .values({ upstream_no: upstreamNo, version, first_seen_at: now, is_target: Number(isTarget), here: 0 })
      .onConflict((conflict) =>
        conflict
          .columns(["upstream_no", "version"])
          .doUpdateSet({ first_seen_at: now })
          .where("upstream_releases.first_seen_at", ">", now + SKEW_MS),
      )
      .execute();
    if (!isTarget) continue;
    await changing(tx, upstreamNo, version).set({ is_target: 1 }).execute();
  }
}

/**
 * What was a target once, and is above the present one, was taken back: a channel is not moved to it before it is offered again.
 * @param version null: there is nothing to be above of, and all were taken back
 */
export async function forgetAbove(
  tx: Db,
  upstreamNo: number,
  version: string | null,
  order: VersionOrder,
): Promise<void> {
  const targets = await tx
    .selectFrom("upstream_releases")
    .select("version")
    .where("upstream_no", "=", upstreamNo)
    .where("is_target", "=", 1)
    .execute();
  for (const { version: one } of targets) {
    if (version !== null && compareVersions(one, version, order) <= 0) continue;
    await changing(tx, upstreamNo, one).set({ is_target: 0 }).execute();
  }
}

/** It is here; the first time, people are told. */
export async function noteHere(tx: Db, upstream: UpstreamRow, version: string, now: number): Promise<void> {
  const { numUpdatedRows } = await changing(tx, upstream.no, version)
    .set({ here: 1 })
    .where("here", "=", 0)
    .executeTakeFirst();
  if (numUpdatedRows === 0n) return;
  const { application_no, channel_no } = upstream;
  await noteActivity(tx, ACTIVITY.releaseBroughtIn, SEVERITY.success, { application_no, channel_no, version }, now);
}

/** Whether all of it was brought in. */
export async function isHere(db: Db, upstreamNo: number, version: string): Promise<boolean> {
  const row = await db
    .selectFrom("upstream_releases")
    .select("here")
    .where("upstream_no", "=", upstreamNo)
    .where("version", "=", version)
    .executeTakeFirst();
  return row?.here === 1;
}

/** Those that a channel could be moved to. */
export function seenTargets(db: Db, upstreamNo: number) {
  return db
    .selectFrom("upstream_releases")
    .select(["version", "first_seen_at"])
    .where("upstream_no", "=", upstreamNo)
    .where("is_target", "=", 1)
    .where("here", "=", 1)
    .execute();
}
