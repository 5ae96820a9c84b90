/** The fleet as a document: exported, planned, applied. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { type Difference, fieldsBetween } from "../fleet/difference.ts";
import {
  archName,
  type FleetDocument,
  fleetJsonSchema,
  fleetObject,
  fleetSchema,
  readFleetFile,
} from "../fleet/document.ts";
import { appendAudit } from "../store/audit.ts";
import { type Actor, SYSTEM, settleConfiguration } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "./context.ts";
import { applyFleet } from "./fleet-apply.ts";
import { exportFleet } from "./fleet-export.ts";
import { type Audit, type Changed, type Operation, operation } from "./operation.ts";
import { Problem } from "./problem.ts";

const TAG = "fleet";

const differenceObject = z.object({
  action: z.enum(["add", "change", "remove"]),
  subject: z.enum(["application", "payload key", "package", "channel", "floor", "group"]),
  name: z.string(),
  application: z.string(),
  fields: z.array(z.object({ field: z.string(), before: z.unknown(), after: z.unknown() })),
});

const planObject = z
  .object({
    changes: z.array(differenceObject),
    /** Of these changes: given to apply, it does these or none. */
    plan: z.string(),
    /** What somebody should know who does this. */
    warnings: z.array(z.string()),
  })
  .meta({ id: "FleetPlan" });
type Plan = z.input<typeof planObject>;

const planBody = z.strictObject({ fleet: fleetSchema, prune: z.boolean().default(false) });

const getFleet = operation({
  id: "exportFleet",
  method: "get",
  path: "/fleet",
  tag: TAG,
  summary: "Applications, packages, channels, floors and groups as one document",
  role: "viewer",
  confined: "everywhere",
  answer: fleetObject,
  handle: ({ store }) => store.snapshot((db) => exportFleet(db)),
});

const getSchema = operation({
  id: "fleetSchema",
  method: "get",
  path: "/fleet/schema",
  tag: TAG,
  summary: "The JSON Schema of such a document, for editors",
  role: "viewer",
  confined: "filters",
  answer: z.record(z.string(), z.unknown()),
  handle: async () => ({ ...fleetJsonSchema() }),
});

const planFleet = operation({
  id: "planFleet",
  method: "post",
  path: "/fleet/plan",
  tag: TAG,
  summary: "What applying a document would change",
  description: "With `prune`, what it does not name is removed, of each kind that it lists at all.",
  role: "viewer",
  confined: "everywhere",
  readsOnly: true,
  body: planBody,
  answer: planObject,
  handle({ body: { fleet, prune }, store, now }) {
    // It is applied to a copy and looked at: so a plan can't say anything else than what applying does.
    return store.rehearse(async (tx) => {
      const collected = new Collected();
      await applyFleet(tx, fleet, { prune, now, audit: collected.audit, warn: collected.warn });
      return collected.plan(tx);
    });
  },
});

const applyPlan = operation({
  id: "applyFleet",
  method: "post",
  path: "/fleet/apply",
  tag: TAG,
  summary: "Make a document true, in one transaction",
  description: "With `plan`, only if what it changes is still what was planned (412 otherwise).",
  role: "admin",
  confined: "everywhere",
  body: planBody.extend({ plan: z.string().max(100).optional() }),
  answer: planObject,
  handle(call) {
    const { fleet, prune, plan: expected } = call.body;
    return call.configureRehearsed(async (tx, now, audit) => {
      const collected = new Collected();
      await applyFleet(tx, fleet, { prune, now, audit: collected.audit, warn: collected.warn });
      const plan = await collected.plan(tx);
      if (expected !== undefined && expected !== plan.plan) {
        throw new Problem(412, "the fleet has changed since this was planned; plan again");
      }
      for (const changed of collected.changes()) await audit(changed);
      return plan;
    });
  },
});

export const fleetOperations: readonly Operation[] = [getFleet, getSchema, planFleet, applyPlan];

/** A new server's fleet. @returns whether anything was made: nothing is when there is any application already. */
export async function seedFleet(store: Store, file: string, now: number): Promise<boolean> {
  const present = await store.read.selectFrom("applications").select("no").limit(1).executeTakeFirst();
  if (present !== undefined) return false;
  const fleet: FleetDocument = readFleetFile(file);
  await store.write(async (tx) => {
    await auditedAs(tx, SYSTEM, "firstFleet", now, (audit) => applyFleet(tx, fleet, { prune: false, now, audit }));
    await settleConfiguration(tx, SYSTEM, now);
  });
  return true;
}

/** What `work` does to each thing, written into the audit log as the system's doing. Answers how many things changed. */
export async function auditedAs(
  tx: Tx,
  actor: Actor,
  action: string,
  now: number,
  work: (audit: Audit) => Promise<unknown>,
): Promise<number> {
  const collected = new Collected();
  await work(collected.audit);
  const changes = collected.changes();
  for (const { subject, id, applicationId = null, groupId = null, before, after } of changes) {
    await appendAudit(tx, {
      at: now,
      actorKind: "system",
      actor: actor.name,
      actorId: null,
      address: "",
      requestId: "",
      action,
      subject,
      subjectId: id,
      applicationId,
      groupId,
      before: before && JSON.stringify(before),
      after: after && JSON.stringify(after),
    });
  }
  return changes.length;
}

/** What was done to each thing, from its first state to its last. */
class Collected {
  readonly #changed = new Map<string, Changed>();
  readonly #warnings: string[] = [];

  readonly audit: Audit = async (changed) => {
    const { subject, id, before, after } = changed;
    // A channel's floors share its id.
    const key = `${subject} ${id} ${subject === "floor" ? Object.values(after ?? before ?? {})[0] : ""}`;
    const first = this.#changed.get(key);
    this.#changed.set(key, first === undefined ? changed : { ...changed, before: first.before });
  };

  readonly warn = (warning: string): void => {
    this.#warnings.push(warning);
  };

  changes(): Changed[] {
    return [...this.#changed.values()].filter(({ before, after }) => JSON.stringify(before) !== JSON.stringify(after));
  }

  async plan(tx: Tx): Promise<Plan> {
    const names = new Map<string, string>();
    for (const { id, name } of await tx.selectFrom("applications").select(["id", "name"]).execute())
      names.set(id, name);
    const changes = this.changes().map((changed) => toDifference(changed, names)) as Plan["changes"];
    return { changes, plan: fingerprint(changes, this.changes()), warnings: this.#warnings };
  }
}

/** What people call it: a channel and a package together with their architecture, a floor with its channel. */
function nameOf({
  name,
  version = "",
  arch,
  channel,
}: {
  name?: string;
  version?: string;
  arch?: number;
  channel?: string;
}) {
  if (channel !== undefined) return `${version} of ${channel}`;
  return `${name ?? version}${arch === undefined ? "" : ` (${archName(arch)})`}`;
}

/** What is new gets another id each time: it does not count. */
function fingerprint(changes: Plan["changes"], changed: readonly Changed[]): string {
  let text = JSON.stringify(changes);
  for (const { id, before } of changed) if (before === null) text = text.replaceAll(id, "new");
  return createHash("sha256").update(text).digest("base64url").slice(0, 22);
}

function toDifference(changed: Changed, applications: ReadonlyMap<string, string>): Difference {
  const { subject, before, after, applicationId } = changed;
  const state = { ...before, ...after } as { name?: string; version?: string; arch?: number; channel?: string };
  const application = applications.get(applicationId ?? "") ?? state.name ?? "";
  return {
    action: before === null ? "add" : after === null ? "remove" : "change",
    subject,
    // A key has no name of its own.
    name: nameOf(state) || application,
    application,
    fields: fieldsBetween(before, after),
  };
}
