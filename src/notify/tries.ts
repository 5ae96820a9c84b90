/** Taking deliveries out of the outbox to send them, and writing down what came of it. */
import type { Kysely } from "kysely";
import { appendAudit } from "../store/audit.ts";
import { SYSTEM } from "../store/rollouts.ts";
import type { Tables } from "../store/tables.ts";
import {
  type DeliveryRow,
  type DeliveryState,
  isResting,
  LONGEST_REST_MS,
  LONGEST_RETRY_MS,
  type WebhookRow,
  whereDue,
} from "./outbox.ts";
import type { Result } from "./send.ts";

type Db = Kysely<Tables>;

const SECOND = 1_000;
/** A delivery is tried again after 30 s, 1 min, 2 min … 6 h: 15 tries. */
const FIRST_RETRY_MS = 30 * SECOND;
/** A webhook that fails time and again rests for 30 s, 1 min … 10 min. */
const FAILURES_BEFORE_REST = 3;
const FIRST_REST_MS = 30 * SECOND;

export interface Taken {
  readonly webhook: WebhookRow;
  readonly deliveries: DeliveryRow[];
}

/**
 * Takes what is due of a webhook, for itself alone until `leaseMs` are over; one only if the webhook failed last.
 * Null: nothing is due.
 */
export async function take(
  tx: Db,
  webhookNo: number,
  limit: number,
  leaseMs: number,
  now: number,
): Promise<Taken | null> {
  const webhook = await tx
    .selectFrom("webhooks")
    .selectAll()
    .where("no", "=", webhookNo)
    .where("enabled", "=", 1)
    .executeTakeFirst();
  if (webhook === undefined || isResting(webhook, now)) return null;
  const due = tx
    .selectFrom("webhook_deliveries")
    .select("no")
    .where("webhook_no", "=", webhookNo)
    .where((eb) => whereDue(eb, now))
    .orderBy("due_at")
    .orderBy("no")
    .limit(webhook.failures > 0 ? 1 : limit);
  const deliveries = await tx
    .updateTable("webhook_deliveries")
    .set((eb) => ({ state: "sending", due_at: now + leaseMs, tries: eb("tries", "+", 1) }))
    .where("no", "in", due)
    // Somebody else may have taken it since it was chosen.
    .where((eb) => whereDue(eb, now))
    .returningAll()
    .execute();
  if (deliveries.length === 0) return null;
  return { webhook, deliveries: deliveries.sort((a, b) => a.no - b.no) };
}

/** A try that came to an end. */
export interface Tried {
  readonly delivery: DeliveryRow;
  readonly result: Result;
  readonly at: number;
  readonly tookMs: number;
}

export type Outcome = "delivered" | "tried" | "failed";

/** What becomes of a delivery that was tried. */
export function outcomeOf({ delivery, result, at }: Tried): { outcome: Outcome; dueAt: number | null } {
  if (result.error === null) return { outcome: "delivered", dueAt: null };
  const dueAt = at + backOff(delivery.tries, FIRST_RETRY_MS, LONGEST_RETRY_MS);
  if (isGone(result) || dueAt > delivery.give_up_at) return { outcome: "failed", dueAt: null };
  return { outcome: "tried", dueAt };
}

/** The receiver says that it will never want any more. Source: RFC 9110, 15.5.11. */
function isGone({ status }: Result): boolean {
  return status === 410;
}

/**
 * Writes down what became of deliveries that were taken; those that were not tried are put back as they were. What somebody
 * else has taken since is theirs. Few statements, whatever the number: check-ins wait for each.
 */
export async function settle(
  tx: Db,
  webhook: WebhookRow,
  tried: readonly Tried[],
  untried: readonly DeliveryRow[],
  now: number,
): Promise<void> {
  if (tried.length > 0) {
    // No row is new: this is how many rows are changed at once, each in its own way.
    await tx
      .insertInto("webhook_deliveries")
      .values(tried.map(settled))
      .onConflict((conflict) =>
        conflict
          .column("no")
          .doUpdateSet((eb) => ({
            state: eb.ref("excluded.state"),
            due_at: eb.ref("excluded.due_at"),
            tried_at: eb.ref("excluded.tried_at"),
            took_ms: eb.ref("excluded.took_ms"),
            status: eb.ref("excluded.status"),
            error: eb.ref("excluded.error"),
            response: eb.ref("excluded.response"),
          }))
          .where("webhook_deliveries.state", "=", "sending")
          .whereRef("webhook_deliveries.tries", "=", "excluded.tries"),
      )
      .execute();
    await noteHealth(tx, webhook, tried, now);
  }
  for (const [tries, deliveries] of Map.groupBy(untried, (delivery) => delivery.tries)) {
    const numbers = deliveries.map(({ no }) => no);
    await tx
      .updateTable("webhook_deliveries")
      .set({ state: "waiting", due_at: now, tries: tries - 1 })
      .where("no", "in", numbers)
      .where("state", "=", "sending")
      .where("tries", "=", tries)
      .execute();
  }
  if (tried.some(({ result }) => isGone(result))) await turnOff(tx, webhook, now);
}

function settled(one: Tried): DeliveryRow {
  const { outcome, dueAt } = outcomeOf(one);
  return {
    ...one.delivery,
    ...one.result,
    state: (outcome === "tried" ? "waiting" : outcome) satisfies DeliveryState,
    due_at: dueAt,
    tried_at: one.at,
    took_ms: one.tookMs,
  };
}

async function noteHealth(tx: Db, webhook: WebhookRow, tried: readonly Tried[], now: number): Promise<void> {
  const failed = tried.filter(({ result }) => result.error !== null);
  const lastGood = tried.findLastIndex(({ result }) => result.error === null);
  const since = tried.length - 1 - lastGood;
  const failures = lastGood === -1 ? webhook.failures + failed.length : since;
  const restMs =
    failures < FAILURES_BEFORE_REST ? 0 : backOff(failures - FAILURES_BEFORE_REST + 1, FIRST_REST_MS, LONGEST_REST_MS);
  const worst = failed.at(-1);
  await tx
    .updateTable("webhooks")
    .set({
      failures,
      rest_until: restMs === 0 ? null : now + restMs,
      ...(lastGood === -1 ? {} : { last_success_at: now }),
      ...(worst === undefined ? {} : { last_failure_at: now, last_error: worst.result.error }),
    })
    .where("no", "=", webhook.no)
    .execute();
}

/** Unless somebody has pointed it elsewhere since. */
async function turnOff(tx: Db, { no, id, name, url }: WebhookRow, now: number): Promise<void> {
  const { numUpdatedRows } = await tx
    .updateTable("webhooks")
    .set({ enabled: 0 })
    .where("no", "=", no)
    .where("url", "=", url)
    .where("enabled", "=", 1)
    .executeTakeFirst();
  if (numUpdatedRows === 0n) return;
  await appendAudit(tx, {
    at: now,
    actorKind: "system",
    actor: SYSTEM.name,
    actorId: null,
    address: "",
    requestId: "",
    action: "webhookGone",
    subject: "webhook",
    subjectId: id,
    applicationId: null,
    groupId: null,
    before: JSON.stringify({ name, enabled: true }),
    after: JSON.stringify({ name, enabled: false }),
  });
}

/** How long to wait after so many tries, or failures, in a row. */
function backOff(count: number, firstMs: number, longestMs: number): number {
  return Math.min(firstMs * 2 ** (count - 1), longestMs);
}
