/** Webhooks: who is told of what happens. */
import { randomBytes, randomUUID } from "node:crypto";
import { z } from "zod";
import { EVENTS, type EventName } from "../notify/events.ts";
import type { WebhookRow } from "../notify/outbox.ts";
import { deliveriesTo } from "../notify/send.ts";
import { refusalOf } from "../target.ts";
import { EVERYWHERE } from "./auth/principal.ts";
import { scopeOf } from "./auth/tokens.ts";
import { type Db, readOnly, type Tx, timestamp } from "./context.ts";
import { countOf } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { listOf, pageQuery, placeOf } from "./paging.ts";
import { invalid, notFound, Problem } from "./problem.ts";
import { readScope } from "./tokens.ts";

const TAG = "notifications";
/** Each line of the activity is matched with all of them. */
const MAX_WEBHOOKS = 100;

const webhookBody = z.strictObject({
  name: z.string().min(1).max(100),
  url: z.url({ protocol: /^https?$/, error: "must be a URL such as https://hooks.example.org/turnout" }).max(2_000),
  events: z.array(z.enum(EVENTS)).max(100).optional(),
  applications: z.array(z.string().max(155)).min(1).max(1_000).nullish(),
  groups: z.array(z.uuid()).min(1).max(1_000).nullish(),
  enabled: z.boolean().optional(),
  secret: z.string().min(16, "must have at least 16 characters").max(256).optional(),
  ...readOnly("id", "secret_ts", "created_ts", "created_by", "health"),
});
type WebhookBody = z.output<typeof webhookBody>;

const webhookFields = {
  id: z.uuid(),
  name: z.string(),
  url: z.string(),
  /** Empty: all. */
  events: z.array(z.enum(EVENTS)),
  /** Null: all. */
  applications: z.array(z.uuid()).nullable(),
  /** Null: all of the applications'. */
  groups: z.array(z.uuid()).nullable(),
  enabled: z.boolean(),
  /** When its secret was last set. */
  secret_ts: z.iso.datetime(),
  created_ts: z.iso.datetime(),
  created_by: z.string(),
  health: z.object({
    /** Deliveries that are still to be made. */
    waiting: z.int(),
    last_success_ts: z.iso.datetime().nullable(),
    last_failure_ts: z.iso.datetime().nullable(),
    last_error: z.string().nullable(),
    /** Tries that failed since the last success. */
    consecutive_failures: z.int(),
    /** It has failed so often that nothing is sent before. */
    resting_until_ts: z.iso.datetime().nullable(),
  }),
};
const webhookObject = z.object(webhookFields).meta({ id: "Webhook" });
type WebhookObject = z.input<typeof webhookObject>;

const listWebhooks = operation({
  id: "listWebhooks",
  method: "get",
  path: "/webhooks",
  tag: TAG,
  summary: "The webhooks by name, with how their deliveries go",
  role: "admin",
  confined: "everywhere",
  query: z.object(pageQuery),
  answer: listOf("webhooks", webhookObject),
  async handle({ read, query }) {
    const named = read.selectFrom("webhooks").orderBy("name");
    const { limit, offset } = await placeOf(query, () => named.select("id").execute());
    const rows = await named.selectAll().limit(limit).offset(offset).execute();
    const totalCount = await countOf(read.selectFrom("webhooks").select((eb) => eb.fn.countAll().as("count")));
    const webhooks: WebhookObject[] = [];
    for (const row of rows) webhooks.push(await toWebhook(read, row));
    return { totalCount, count: webhooks.length, webhooks };
  },
});

const getWebhook = operation({
  id: "getWebhook",
  method: "get",
  path: "/webhooks/:webhook",
  tag: TAG,
  summary: "One webhook, with how its deliveries go",
  role: "admin",
  confined: "everywhere",
  answer: webhookObject,
  async handle(call) {
    const webhook = await toWebhook(call.read, await findWebhook(call.read, call.params.webhook));
    call.tag(stateOf(webhook));
    return webhook;
  },
});

const removeWebhook = operation({
  id: "deleteWebhook",
  method: "delete",
  path: "/webhooks/:webhook",
  tag: TAG,
  summary: "Delete a webhook; what waits for it is not sent any more",
  role: "admin",
  confined: "everywhere",
  answer: null,
  handle: (call) =>
    call.change(async (tx, _now, audit) => {
      const row = await findWebhook(tx, call.params.webhook);
      const before = stateOf(await toWebhook(tx, row));
      call.expect(before);
      await tx.deleteFrom("webhooks").where("no", "=", row.no).execute();
      await audit({ subject: "webhook", id: row.id, before, after: null });
    }),
});

export function webhookOperations({ privateTargets }: { readonly privateTargets: boolean }): readonly Operation[] {
  const postWebhook = operation({
    id: "createWebhook",
    method: "post",
    path: "/webhooks",
    tag: TAG,
    summary: "Make a webhook; its secret is in this answer, and never again",
    description: "Without `secret` one is made.",
    role: "admin",
    confined: "everywhere",
    body: webhookBody,
    status: 201,
    answer: z.object({ ...webhookFields, secret: z.string() }).meta({ id: "NewWebhook" }),
    handle: (call) =>
      call.change(async (tx, now, audit) => {
        const others = await countOf(tx.selectFrom("webhooks").select((eb) => eb.fn.countAll().as("count")));
        if (others >= MAX_WEBHOOKS) throw new Problem(409, `there are ${MAX_WEBHOOKS} webhooks already, that is all`);
        const secret = call.body.secret ?? `turnout_hook_${randomBytes(32).toString("base64url")}`;
        const row = await tx
          .insertInto("webhooks")
          .values({
            id: randomUUID(),
            ...(await columnsOf(tx, call.body, null, privateTargets)),
            enabled: Number(call.body.enabled ?? true),
            secret,
            secret_at: now,
            created_at: now,
            created_by: call.who.name,
          })
          .returningAll()
          .executeTakeFirstOrThrow();
        const webhook = await toWebhook(tx, row);
        await audit({ subject: "webhook", id: row.id, before: null, after: stateOf(webhook) });
        call.tag(stateOf(webhook));
        return { ...webhook, secret };
      }),
  });

  const putWebhook = operation({
    id: "updateWebhook",
    method: "put",
    path: "/webhooks/:webhook",
    tag: TAG,
    summary: "Change a webhook: what the body leaves out is cleared, but for its switch and its secret",
    role: "admin",
    confined: "everywhere",
    body: webhookBody,
    answer: webhookObject,
    handle: (call) =>
      call.change(async (tx, now, audit) => {
        const { enabled, secret } = call.body;
        const row = await findWebhook(tx, call.params.webhook);
        const before = stateOf(await toWebhook(tx, row));
        call.expect(before);
        const changed = await tx
          .updateTable("webhooks")
          .set({
            ...(await columnsOf(tx, call.body, row, privateTargets)),
            enabled: enabled === undefined ? row.enabled : Number(enabled),
            ...(secret === undefined ? {} : { secret, secret_at: now }),
            // Whoever has mended something wants to see at once whether that helps.
            failures: 0,
            rest_until: null,
          })
          .where("no", "=", row.no)
          .returningAll()
          .executeTakeFirstOrThrow();
        const webhook = await toWebhook(tx, changed);
        await audit({ subject: "webhook", id: row.id, before, after: stateOf(webhook) });
        call.tag(stateOf(webhook));
        return webhook;
      }),
  });

  return [listWebhooks, postWebhook, getWebhook, putWebhook, removeWebhook];
}

/** @param name the id, or the name. */
export async function findWebhook(db: Db, name: string): Promise<WebhookRow> {
  const rows = await db
    .selectFrom("webhooks")
    .selectAll()
    .where((eb) => eb.or([eb("id", "=", name.toLowerCase()), eb("name", "=", name)]))
    .execute();
  const found = rows.find(({ id }) => id === name.toLowerCase()) ?? rows[0];
  if (found === undefined) throw notFound("webhook", name);
  return found;
}

async function columnsOf(tx: Tx, body: WebhookBody, before: WebhookRow | null, privateTargets: boolean) {
  const url = new URL(body.url);
  if (url.username !== "" || url.password !== "") {
    throw invalid("url", "must hold no user and password: everybody who sees the webhook would see them");
  }
  const refusal = refusalOf(url, deliveriesTo({ privateTargets }));
  if (refusal !== null) throw invalid("url", refusal);
  const twin = await tx
    .selectFrom("webhooks")
    .select("no")
    .where("name", "=", body.name)
    .where("no", "!=", before?.no ?? 0)
    .executeTakeFirst();
  if (twin !== undefined) throw invalid("name", `there is a webhook "${body.name}" already`, 409);
  const { applications, groups } = await readScope(tx, body, before === null ? EVERYWHERE : scopeOf(before));
  return {
    name: body.name,
    url: url.href,
    events: JSON.stringify([...new Set(body.events)]),
    applications: applications && JSON.stringify(applications),
    groups: groups && JSON.stringify(groups),
  };
}

async function toWebhook(db: Db, row: WebhookRow): Promise<WebhookObject> {
  const time = (at: number | null) => (at === null ? null : timestamp(at));
  const waiting = await countOf(
    db
      .selectFrom("webhook_deliveries")
      .select((eb) => eb.fn.countAll().as("count"))
      .where("webhook_no", "=", row.no)
      .where("due_at", "is not", null),
  );
  return {
    id: row.id,
    name: row.name,
    url: row.url,
    // Written by us alone, and checked when they came in.
    events: JSON.parse(row.events) as EventName[],
    applications: JSON.parse(row.applications ?? "null"),
    groups: JSON.parse(row.groups ?? "null"),
    enabled: row.enabled === 1,
    secret_ts: timestamp(row.secret_at),
    created_ts: timestamp(row.created_at),
    created_by: row.created_by,
    health: {
      waiting,
      last_success_ts: time(row.last_success_at),
      last_failure_ts: time(row.last_failure_at),
      last_error: row.last_error,
      consecutive_failures: row.failures,
      resting_until_ts: time(row.rest_until),
    },
  };
}

/** What a person has set of it: for the audit log, and to tell whether it has changed. */
function stateOf({ id: _, created_ts: __, created_by: ___, health: ____, ...state }: WebhookObject): object {
  return state;
}
