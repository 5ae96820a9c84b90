/** The rollout that a request is about: as it is showRollout, and as it is steered. */
import type { z } from "zod";
import { emptyRolloutCounters } from "../rollout/counters.ts";
import type { RolloutCounters } from "../rollout/model/counters.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { NotPossible } from "../rollout/run.ts";
import { loadCounters } from "../store/counters.ts";
import { loadFleet } from "../store/fleet.ts";
import { type Db, type Tx, timestamp } from "./context.ts";
import { etagOf, matches } from "./etag.ts";
import { findApplication, findGroup, type GroupRow } from "./lookups.ts";
import { notFound, Problem } from "./problem.ts";
import { type RolloutRow, type rolloutWithHistory, toRolloutView } from "./rollout-views.ts";

/** Where it stands in the address. */
export interface RolloutParams {
  readonly app: string;
  readonly group: string;
  readonly rollout: string;
}

export async function groupOf(db: Db, params: { app: string; group: string }): Promise<GroupRow> {
  return findGroup(db, await findApplication(db, params.app), params.group);
}

export function rolloutRows(db: Db, groupNo: number) {
  return db
    .selectFrom("rollouts")
    .innerJoin("packages", "packages.no", "rollouts.package_no")
    .selectAll("rollouts")
    .select(["packages.id as package_id", "packages.version"])
    .where("rollouts.group_no", "=", groupNo);
}

export async function findRollout(db: Db, group: GroupRow, id: string): Promise<RolloutRow> {
  const row = await rolloutRows(db, group.no).where("rollouts.id", "=", id.toLowerCase()).executeTakeFirst();
  if (row === undefined) throw notFound("rollout", id);
  return row;
}

export async function toViews(db: Db, rows: readonly RolloutRow[], group: GroupRow, now: number) {
  const counters = await loadCounters(
    db,
    rows.map(({ no }) => no),
  );
  const fleet = await loadFleet(db);
  return rows.map((row) => toRolloutView(row, group.id, counters, fleet, now));
}

export async function showRollout(
  db: Db,
  params: RolloutParams,
  now: number,
): Promise<z.input<typeof rolloutWithHistory>> {
  const group = await groupOf(db, params);
  const row = await findRollout(db, group, params.rollout);
  const [view] = await toViews(db, [row], group, now);
  if (view === undefined) throw notFound("rollout", params.rollout);
  const history = await db
    .selectFrom("rollout_history")
    .selectAll()
    .where("rollout_no", "=", row.no)
    .orderBy("no")
    .execute();
  return {
    ...view,
    history: history.map((line) => ({
      created_ts: timestamp(line.at),
      from_state: line.from_state,
      to_state: line.to_state,
      stage: line.stage + 1,
      actor: line.actor,
      reason: line.reason,
      counters: JSON.parse(line.counters),
    })),
  };
}

export interface Steered {
  readonly rollout: Rollout;
  readonly counters: RolloutCounters;
}

/**
 * The rollout that is to be steered, as it is now.
 * @param seen the revision that the caller has seen, if the body says so.
 */
export async function findSteered(
  tx: Tx,
  params: RolloutParams,
  ifMatch: string | undefined,
  seen: number | undefined,
): Promise<Steered> {
  const row = await findRollout(tx, await groupOf(tx, params), params.rollout);
  if ((seen !== undefined && seen !== row.revision) || !matches(ifMatch, etagOf(row.revision))) {
    const detail = `the rollout has changed meanwhile: its revision is ${row.revision}, not ${seen ?? ifMatch}; read it again, and then decide`;
    throw new Problem(412, detail);
  }
  const rollout = (await loadFleet(tx)).rolloutByNo.get(row.no);
  if (rollout === undefined) throw new NotPossible(`the rollout is ${row.state}: another one has taken its place`);
  const { rollouts } = await loadCounters(tx, [row.no]);
  return { rollout, counters: rollouts.get(row.no) ?? emptyRolloutCounters() };
}

/** For the audit log. */
export async function subjectOf(
  tx: Tx,
  { app, group }: Omit<RolloutParams, "rollout">,
  { id }: { readonly id: string },
) {
  const { id: applicationId } = await findApplication(tx, app);
  return { subject: "rollout", id, applicationId, groupId: group.toLowerCase() };
}
