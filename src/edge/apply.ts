/** The central server's configuration made true here, in one transaction. */
import type { Tx } from "../admin/context.ts";
import { CENTRAL } from "../admin/editor.ts";
import { auditedAs } from "../admin/fleet.ts";
import { applyApplications } from "../admin/fleet-apply.ts";
import { exportFleet } from "../admin/fleet-export.ts";
import { appliedDocument } from "../admin/site-document.ts";
import { hostedPackages } from "../admin/site-documents.ts";
import { settleConfiguration } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import type { Configuration } from "./client.ts";
import { localize, namesOf } from "./localize.ts";
import { followStops } from "./stops.ts";

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
  const present = await exportFleet(tx, ids);
  const { switched_off: text } = await tx.selectFrom("central").select("switched_off").executeTakeFirstOrThrow();
  const {
    fleet: local,
    held,
    switchedOff,
  } = localize(fleet, {
    fleet: present,
    previous: (await appliedDocument(tx))?.fleet ?? null,
    switchedOff: new Set(JSON.parse(text) as string[]), // our own
    complete: namesOf(await hostedPackages(tx)),
    wanted: namesOf(payloads ? document.hosted : []),
  });
  // First, so that a key that is gone there is not taken for one that counts here.
  await tx
    .updateTable("central")
    .set({
      etag,
      document: JSON.stringify(document),
      path: JSON.stringify(document.path),
      applications: JSON.stringify(ids),
      held: JSON.stringify(held),
      switched_off: JSON.stringify(switchedOff),
      applied_at: now,
    })
    .execute();
  await auditedAs(tx, CENTRAL, "syncFleet", now, (audit) => applyApplications(tx, local, { prune: true, now, audit }));
  await settleConfiguration(tx, CENTRAL, now);
  await followStops(tx, document, now);
}
