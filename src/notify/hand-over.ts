/** From the activity to the outbox: every line becomes a delivery for each webhook that wants it, once and for all. */
import type { Store } from "../store/store.ts";
import { eventOf } from "./events.ts";
import { newDelivery, type WebhookRow } from "./outbox.ts";
import { type Line, type Told, toldOf, untoldLines } from "./told.ts";

/** Lines that are handed over in one transaction: check-ins wait for it. */
const PORTION = 200;
/** Rows that are inserted with one statement. */
const ROWS = 500;

/**
 * Hands over the oldest lines; answers whether there may be more. What can be known of a line is read beforehand, so that
 * the transaction only writes.
 */
export async function handOver(store: Store, now: number): Promise<boolean> {
  const lines = await untoldLines(store.read, PORTION);
  if (lines.length === 0) return false;
  const webhooks = await store.read.selectFrom("webhooks").selectAll().where("enabled", "=", 1).execute();
  const wanted = webhooks.map((webhook) => ({ webhook, wants: wishOf(webhook) }));
  const told = new Map<number, Told>();
  for (const line of lines) {
    if (!wanted.some(({ wants }) => wants(line))) continue;
    const about = await toldOf(store.read, line);
    if (about !== null) told.set(line.activity_no, about);
  }
  await store.write(async (tx) => {
    const numbers = lines.map(({ activity_no: no }) => no);
    // Whoever takes a line out of the queue hands it over: another process finds it gone.
    const mine = await tx.deleteFrom("untold").where("activity_no", "in", numbers).returning("activity_no").execute();
    const taken = new Set(mine.map(({ activity_no: no }) => no));
    const rows = lines.flatMap((line) => {
      const about = told.get(line.activity_no);
      if (about === undefined || !taken.has(line.activity_no)) return [];
      return wanted.filter(({ wants }) => wants(line)).map(({ webhook }) => newDelivery(webhook.no, about, now));
    });
    for (let from = 0; from < rows.length; from += ROWS) {
      await tx
        .insertInto("webhook_deliveries")
        .values(rows.slice(from, from + ROWS))
        .execute();
    }
  });
  return lines.length === PORTION;
}

/** What a webhook wants to be told of. Its filters were checked when they came in. */
function wishOf(webhook: WebhookRow): (line: Line) => boolean {
  const events: readonly string[] = JSON.parse(webhook.events);
  const applications: readonly string[] | null = JSON.parse(webhook.applications ?? "null");
  const groups: readonly string[] | null = JSON.parse(webhook.groups ?? "null");
  return ({ class: activityClass, application_id: applicationId, group_id: groupId }) => {
    const event = activityClass === null ? null : eventOf(activityClass);
    return (
      event !== null &&
      (events.length === 0 || events.includes(event)) &&
      (applications === null || (applicationId !== null && applications.includes(applicationId))) &&
      (groups === null || (groupId !== null && groups.includes(groupId)))
    );
  };
}
