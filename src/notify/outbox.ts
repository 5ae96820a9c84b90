/**
 * The outbox: deliveries that wait, those that are being sent, and the log of those that are through. Any number of
 * processes may work on it: each row is taken by one of them at a time, and for a limited time, should it die.
 */
import { randomUUID } from "node:crypto";
import type { ExpressionBuilder, Insertable, Kysely, Selectable } from "kysely";
import type { Tables } from "../store/tables.ts";
import type { Told } from "./told.ts";

type Db = Kysely<Tables>;
export type WebhookRow = Selectable<Tables["webhooks"]>;
export type DeliveryRow = Selectable<Tables["webhook_deliveries"]>;

/** `failed`: tried, and given up. `dropped`: not wanted any more, or too many. */
export const DELIVERY_STATES = ["waiting", "sending", "delivered", "failed", "dropped"] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

const HOUR = 3_600_000;
/** How long a delivery is tried. */
const GIVE_UP_MS = 36 * HOUR;
/** Between two tries. */
export const LONGEST_RETRY_MS = 6 * HOUR;
/** A webhook that fails time and again is left alone, whatever waits for it. */
export const LONGEST_REST_MS = 600_000;
/** Of one webhook: some 20 MB. Beyond that the oldest are dropped. */
export const MAX_WAITING = 20_000;
/** Rows that are ended in one transaction: check-ins wait for it. */
const CHUNK = 500;

export function newDelivery(webhookNo: number, told: Told, now: number): Insertable<Tables["webhook_deliveries"]> {
  return {
    id: randomUUID(),
    webhook_no: webhookNo,
    event: told.type,
    event_id: told.id,
    body: JSON.stringify(told),
    ...asNew(now),
    at: now,
  };
}

/** To be sent at once, and given up later. */
export function asNew(now: number) {
  return { state: "waiting" satisfies DeliveryState, tries: 0, due_at: now, give_up_at: now + GIVE_UP_MS };
}

// ------------------------------------------------------------------------------------------------ what waits

/** A webhook's row, if it is still there, and what waits for it. */
export interface Queue {
  readonly webhookNo: number;
  readonly webhook: WebhookRow | null;
  readonly waiting: number;
  readonly firstDueAt: number;
  readonly lastDueAt: number;
  readonly firstGiveUpAt: number;
}

/** The queues that are not empty. */
export async function survey(db: Db): Promise<Queue[]> {
  const rows = await db
    .selectFrom("webhook_deliveries")
    .select(["webhook_no", (eb) => eb.fn.countAll().as("waiting")])
    .select((eb) => [eb.fn.min("due_at").as("first_due_at"), eb.fn.max("due_at").as("last_due_at")])
    .select((eb) => eb.fn.min("give_up_at").as("give_up_at"))
    .where("due_at", "is not", null)
    .groupBy("webhook_no")
    .execute();
  if (rows.length === 0) return [];
  const webhooks = await db.selectFrom("webhooks").selectAll().execute();
  return rows.map((row) => ({
    webhookNo: row.webhook_no,
    webhook: webhooks.find(({ no }) => no === row.webhook_no) ?? null,
    waiting: Number(row.waiting),
    firstDueAt: Number(row.first_due_at),
    lastDueAt: Number(row.last_due_at),
    firstGiveUpAt: Number(row.give_up_at),
  }));
}

export function isDue({ webhook, firstDueAt, lastDueAt }: Queue, now: number): boolean {
  if (webhook === null || webhook.enabled === 0 || isResting(webhook, now)) return false;
  return firstDueAt <= now || lastDueAt > now + LONGEST_RETRY_MS;
}

// What lies further ahead than any of our times was written while the clock was wrong.

export function isResting({ rest_until: until }: Pick<WebhookRow, "rest_until">, now: number): boolean {
  return until !== null && until > now && until <= now + LONGEST_REST_MS;
}

export function whereDue(eb: ExpressionBuilder<Tables, "webhook_deliveries">, now: number) {
  return eb.or([eb("due_at", "<=", now), eb("due_at", ">", now + LONGEST_RETRY_MS)]);
}

// ------------------------------------------------------------------------------------------------ what ends unsent

export interface Ending {
  readonly state: "failed" | "dropped";
  readonly why: string;
  readonly deliveries: number;
}

/** What of a queue is not to be sent any more; null: nothing. */
export function endingOf({ webhook, waiting, firstGiveUpAt }: Queue, now: number): Ending | null {
  if (webhook === null) return { state: "dropped", why: "the webhook was deleted", deliveries: waiting };
  if (webhook.enabled === 0) return { state: "dropped", why: "the webhook was turned off", deliveries: waiting };
  if (firstGiveUpAt <= now) {
    return { state: "failed", why: `not delivered within ${GIVE_UP_MS / HOUR} hours`, deliveries: waiting };
  }
  if (waiting > MAX_WAITING) {
    return { state: "dropped", why: `more than ${MAX_WAITING} were waiting`, deliveries: waiting - MAX_WAITING };
  }
  return null;
}

/** Ends some of the queue's deliveries, those that are due first; answers how many. What is being sent stays. */
export async function end(tx: Db, webhookNo: number, ending: Ending, now: number): Promise<number> {
  const isFree = (eb: ExpressionBuilder<Tables, "webhook_deliveries">) =>
    eb.or([eb("state", "=", "waiting"), eb("due_at", "<=", now)]);
  const chosen = tx
    .selectFrom("webhook_deliveries")
    .select("no")
    .where("webhook_no", "=", webhookNo)
    .where("due_at", "is not", null)
    .where(isFree)
    .$if(ending.state === "failed", (query) => query.where("give_up_at", "<=", now))
    .orderBy("due_at")
    .limit(Math.min(ending.deliveries, CHUNK));
  const { numUpdatedRows } = await tx
    .updateTable("webhook_deliveries")
    .set((eb) => ({
      state: ending.state,
      due_at: null,
      // Why its last try failed says more than that time is up.
      error: ending.state === "failed" ? eb.fn.coalesce("error", eb.val(ending.why)) : ending.why,
    }))
    .where("no", "in", chosen)
    // Somebody else may have taken it since it was chosen.
    .where(isFree)
    .executeTakeFirst();
  return Number(numUpdatedRows);
}
