/** What webhooks were told, are told now, and are to be told again. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { asNew, DELIVERY_STATES, type DeliveryRow, type DeliveryState, newDelivery } from "../notify/outbox.ts";
import { testOf } from "../notify/told.ts";
import { timestamp } from "./context.ts";
import { countOf } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { listOf, numberAfter, pageQuery, rangeOf } from "./paging.ts";
import { notFound, Problem } from "./problem.ts";
import { findWebhook } from "./webhooks.ts";

const TAG = "notifications";

const deliveryObject = z
  .object({
    id: z.uuid(),
    event: z.string(),
    /** The same for every webhook: the `id` of the payload. */
    event_id: z.uuid(),
    state: z.enum(DELIVERY_STATES),
    tries: z.int(),
    created_ts: z.iso.datetime(),
    /** Null: it is being sent, or it is through. */
    next_try_ts: z.iso.datetime().nullable(),
    last_try_ts: z.iso.datetime().nullable(),
    took_ms: z.int().nullable(),
    /** HTTP status of the last try; null: there was no answer. */
    status: z.int().nullable(),
    error: z.string().nullable(),
    /** The beginning of what was answered. */
    response: z.string().nullable(),
    /** What is sent. */
    payload: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "WebhookDelivery" });
type DeliveryObject = z.input<typeof deliveryObject>;

const listDeliveries = operation({
  id: "listWebhookDeliveries",
  method: "get",
  path: "/webhooks/:webhook/deliveries",
  tag: TAG,
  summary: "The webhook's deliveries, the newest first",
  role: "admin",
  confined: "everywhere",
  query: z.object({ ...pageQuery, state: z.enum(DELIVERY_STATES).optional() }),
  answer: listOf("deliveries", deliveryObject),
  async handle({ read, params, query }) {
    const { no } = await findWebhook(read, params.webhook);
    const { limit, offset } = rangeOf(query);
    let deliveries = read.selectFrom("webhook_deliveries").where("webhook_no", "=", no);
    if (query.state !== undefined) deliveries = deliveries.where("state", "=", query.state);
    const after = await numberAfter(query, (id) =>
      deliveries.select("no").where("id", "=", id.toLowerCase()).executeTakeFirst(),
    );
    const here = after === null ? deliveries.offset(offset) : deliveries.where("no", "<", after);
    const rows = await here.selectAll().orderBy("no", "desc").limit(limit).execute();
    const totalCount = await countOf(deliveries.select((eb) => eb.fn.countAll().as("count")));
    return { totalCount, count: rows.length, deliveries: rows.map(toDelivery) };
  },
});

const retryDelivery = operation({
  id: "retryWebhookDelivery",
  method: "post",
  path: "/webhooks/:webhook/deliveries/:delivery/retry",
  tag: TAG,
  summary: "Send a delivery again at once, whatever became of it; it has as many tries as a new one",
  role: "admin",
  confined: "everywhere",
  status: 202,
  answer: deliveryObject,
  handle: (call) =>
    call.change(async (tx, now, audit) => {
      const webhook = await findWebhook(tx, call.params.webhook);
      const row = await tx
        .selectFrom("webhook_deliveries")
        .selectAll()
        .where("id", "=", call.params.delivery.toLowerCase())
        .where("webhook_no", "=", webhook.no)
        .executeTakeFirst();
      if (row === undefined) throw notFound("delivery", call.params.delivery);
      checkEnabled(webhook);
      const changed = await tx
        .updateTable("webhook_deliveries")
        .set(asNew(now))
        .where("no", "=", row.no)
        .where("state", "!=", "sending" satisfies DeliveryState)
        .returningAll()
        .executeTakeFirst();
      if (changed === undefined) throw new Problem(409, "the delivery is being sent right now");
      const subject = { subject: "webhook-delivery", id: row.id };
      await audit({ ...subject, before: stateOf(row), after: stateOf(changed) });
      return toDelivery(changed);
    }),
});

const testWebhook = operation({
  id: "testWebhook",
  method: "post",
  path: "/webhooks/:webhook/test",
  tag: TAG,
  summary: "Send an event of the type `test`, as any other is sent; the deliveries show what becomes of it",
  role: "admin",
  confined: "everywhere",
  status: 202,
  answer: deliveryObject,
  handle: (call) =>
    call.change(async (tx, now, audit) => {
      const webhook = await findWebhook(tx, call.params.webhook);
      checkEnabled(webhook);
      const row = await tx
        .insertInto("webhook_deliveries")
        .values(newDelivery(webhook.no, testOf(randomUUID(), webhook.name, now), now))
        .returningAll()
        .executeTakeFirstOrThrow();
      await audit({ subject: "webhook-delivery", id: row.id, before: null, after: stateOf(row) });
      return toDelivery(row);
    }),
});

export const webhookDeliveryOperations: readonly Operation[] = [listDeliveries, retryDelivery, testWebhook];

function checkEnabled({ name, enabled }: { name: string; enabled: number }): void {
  if (enabled === 0) throw new Problem(409, `the webhook "${name}" is turned off: nothing is sent; turn it on first`);
}

function toDelivery(row: DeliveryRow): DeliveryObject {
  const time = (at: number | null) => (at === null ? null : timestamp(at));
  return {
    id: row.id,
    event: row.event,
    event_id: row.event_id,
    state: row.state as DeliveryState, // the outbox knows no other
    tries: row.tries,
    created_ts: timestamp(row.at),
    next_try_ts: row.state === "sending" ? null : time(row.due_at),
    last_try_ts: time(row.tried_at),
    took_ms: row.took_ms,
    status: row.status,
    error: row.error,
    response: row.response,
    payload: JSON.parse(row.body),
  };
}

/** For the audit log. */
function stateOf(row: DeliveryRow): object {
  const { event, state, tries, next_try_ts } = toDelivery(row);
  return { event, state, tries, next_try_ts };
}
