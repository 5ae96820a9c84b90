/** The central server's configuration made true here, in one transaction. */
import type { Tx } from "../admin/context.ts";
import { CENTRAL } from "../admin/editor.ts";
import { auditedAs } from "../admin/fleet.ts";
import { applyApplications } from "../admin/fleet-apply.ts";
import { exportFleet } from "../admin/fleet-export.ts";
import type { SiteDocument } from "../admin/site-document.ts";
import { hostedPackages } from "../admin/site-documents.ts";
import { archName } from "../fleet/document.ts";
import { emptyRolloutCounters } from "../rollout/counters.ts";
import type { Rollout } from "../rollout/model.ts";
import { abort, halt, resume } from "../rollout/run.ts";
import { loadCounters } from "../store/counters.ts";
import { loadParts } from "../store/fleet.ts";
import { recordChange, settleConfiguration } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import type { Configuration } from "./client.ts";
import { localize, namesOf } from "./localize.ts";

export interface ApplyDocument extends Configuration {
  /** Null: it is applied again, and what it was known by is forgotten. */
  readonly etag: string | null;
  /** Whether files are brought in from the central server. */
  readonly payloads: boolean;
  readonly now: number;
}

/**
 * Applications that it names no more are the site's own from then on; their nodes are not forgotten because a token changed.
 * @throws Problem when something of the site's own is in the way
 */
export async function applyDocument(store: Store, wanted: ApplyDocument): Promise<void> {
  await store.writeRehearsed((tx) => apply(tx, wanted));
}

async function apply(tx: Tx, { document, fleet, etag, payloads, now }: ApplyDocument): Promise<void> {
  const ids = fleet.applications.flatMap(({ id }) => id ?? []);
  const before = await tx.selectFrom("central").select(["etag", "document"]).executeTakeFirstOrThrow();
  const present = await exportFleet(tx, ids);
  const { fleet: local, held } = localize(fleet, {
    fleet: present,
    // It was checked when it came in.
    previous: before.document === null ? null : (JSON.parse(before.document) as SiteDocument).fleet,
    complete: namesOf(await hostedPackages(tx)),
    wanted: namesOf(payloads ? document.hosted : []),
  });
  const changed = await auditedAs(tx, CENTRAL, "syncFleet", now, (audit) =>
    applyApplications(tx, local, { prune: true, now, audit }),
  );
  await tx
    .updateTable("central")
    .set({
      etag,
      document: JSON.stringify(document),
      path: JSON.stringify(document.path),
      applications: JSON.stringify(ids),
      held: JSON.stringify(held),
      applied_at: now,
    })
    .execute();
  if (changed > 0 || etag !== before.etag) await settleConfiguration(tx, CENTRAL, now);
  await followStops(tx, document.stopped, now);
}

/** What is halted or aborted there is so here; what was halted from there, and is not any more, goes on. */
async function followStops(tx: Tx, stopped: SiteDocument["stopped"], now: number): Promise<void> {
  const { groups, rollouts } = await loadParts(tx);
  const groupIds = new Map(groups.map(({ no, id }) => [no, id]));
  for (const rollout of rollouts) {
    if (rollout.undoes !== null) continue;
    const { version, arch } = rollout.package;
    const stop = stopped.find(
      (one) => one.group === groupIds.get(rollout.groupNo) && one.version === version && one.arch === archName(arch),
    );
    await follow(tx, rollout, stop, now);
  }
}

async function follow(
  tx: Tx,
  rollout: Rollout,
  stop: SiteDocument["stopped"][number] | undefined,
  now: number,
): Promise<void> {
  const { state } = rollout;
  const counters = (await loadCounters(tx, [rollout.no])).rollouts.get(rollout.no) ?? emptyRolloutCounters();
  if (stop?.state === "aborted" && state !== "aborted" && state !== "superseded") {
    const change = abort(rollout, now, `aborted at the central server: ${stop.reason}`);
    await recordChange(tx, rollout, change, counters, CENTRAL, now);
  } else if (stop?.state === "halted" && (state === "scheduled" || state === "running" || state === "paused")) {
    const change = halt(rollout, now, `halted at the central server: ${stop.reason}`);
    await recordChange(tx, rollout, change, counters, CENTRAL, now);
  } else if (stop === undefined && state === "halted" && (await haltedBy(tx, rollout)) === CENTRAL.name) {
    await recordChange(
      tx,
      rollout,
      resume(rollout, counters, now, "resumed at the central server"),
      counters,
      CENTRAL,
      now,
    );
  }
}

async function haltedBy(tx: Tx, { no }: Rollout): Promise<string | undefined> {
  const line = await tx
    .selectFrom("rollout_history")
    .select("actor")
    .where("rollout_no", "=", no)
    .where("to_state", "=", "halted")
    .orderBy("no", "desc")
    .limit(1)
    .executeTakeFirst();
  return line?.actor;
}
