/** From the activity to the outbox: every line becomes a delivery for each webhook that wants it, once and for all. */
import type { Store } from "../store/store.ts";
import { type Happened, untold } from "./happened.ts";
import { newDelivery, type WebhookRow } from "./outbox.ts";
import { tell } from "./told.ts";

/** Lines that are handed over in one transaction: check-ins wait for it. */
const PORTION = 200;
/** Rows that are inserted with one statement. */
const ROWS = 500;

/**
 * Hands over the oldest lines; answers whether there may be more. What can be known of a line is read beforehand, so that
 * the transaction only writes.
 */
export async function handOver(store: Store, now: number): Promise<boolean> {
  const { numbers, happened } = await untold(store.read, PORTION);
  if (numbers.length === 0) return false;
  const rows = await store.read.selectFrom("webhooks").selectAll().where("enabled", "=", 1).execute();
  const webhooks = rows.map((row) => ({ no: row.no, wants: wishOf(row) }));
  const told = await tell(
    store.read,
    happened.filter((one) => webhooks.some(({ wants }) => wants(one))),
  );
  await store.write(async (tx) => {
    // Whoever takes a line out of the queue hands it over: another process finds it gone.
    const taken = await tx.deleteFrom("untold").where("activity_no", "in", numbers).returning("activity_no").execute();
    const mine = new Set(taken.map(({ activity_no: no }) => no));
    const deliveries = happened.flatMap((one) => {
      const about = told.get(one.no);
      if (about === undefined || !mine.has(one.no)) return [];
      return webhooks.filter(({ wants }) => wants(one)).map(({ no }) => newDelivery(no, about, now));
    });
    for (let from = 0; from < deliveries.length; from += ROWS) {
      await tx
        .insertInto("webhook_deliveries")
        .values(deliveries.slice(from, from + ROWS))
        .execute();
    }
  });
  return numbers.length === PORTION;
}

/** What a webhook wants to be told of. Its filters were checked when they came in. */
function wishOf(webhook: WebhookRow): (one: Happened) => boolean {
  const events: readonly string[] = JSON.parse(webhook.events);
  const applications: readonly string[] | null = JSON.parse(webhook.applications ?? "null");
  const groups: readonly string[] | null = JSON.parse(webhook.groups ?? "null");
  return ({ event, application, group }) =>
    (events.length === 0 || events.includes(event)) &&
    (applications === null || (application !== null && applications.includes(application.id))) &&
    (groups === null || (group !== null && groups.includes(group.id)));
}
