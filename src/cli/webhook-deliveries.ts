/** What a webhook was told, is told now, and is to be told again. */
import { type Command, Option } from "commander";
import { DELIVERY_STATES } from "../notify/outbox.ts";
import { Api, acting, type ServerOptions } from "./api.ts";
import { positive } from "./fields.ts";
import { webhookPath } from "./naming.ts";
import { type Cell, note, printJson, printJsonList, say, shortTime, table } from "./terminal.ts";

interface DeliveryView {
  readonly id: string;
  readonly event: string;
  readonly state: string;
  readonly tries: number;
  readonly created_ts: string;
  readonly next_try_ts: string | null;
  readonly status: number | null;
  readonly error: string | null;
}

interface ListOptions extends ServerOptions {
  readonly state?: string;
  readonly limit: number;
}

/** @param one makes a command about one webhook. */
export function deliveryCommands(one: (name: string, description: string) => Command): void {
  one("test", "send it an event of the type test; the deliveries show what becomes of it").action(acting(test));
  one("deliveries", "what it was told and is to be told, the newest first")
    .addOption(new Option("--state <state>", "only those that stand so").choices(DELIVERY_STATES))
    .option("--limit <n>", "at most so many", positive, 20)
    .action(acting(list));
  one("retry", "send deliveries again at once, whatever became of them")
    .argument("<delivery...>", "their ids")
    .action(acting(retry));
}

async function test(name: string, options: ServerOptions): Promise<void> {
  const api = new Api(options.server);
  const delivery = await api.call<DeliveryView>("POST", `${await webhookPath(api, name)}/test`);
  if (options.json) printJson(delivery);
  else say(`delivery ${delivery.id} is on its way; "turnout webhooks deliveries" shows what becomes of it`);
}

async function list(name: string, options: ListOptions): Promise<void> {
  const api = new Api(options.server);
  const path = `${await webhookPath(api, name)}/deliveries`;
  const state = options.state === undefined ? "" : `&state=${options.state}`;
  const deliveries: DeliveryView[] = [];
  let total = 0;
  // New ones come meanwhile: each page begins behind the last delivery of the one before.
  for (let after = ""; ; ) {
    const perPage = Math.min(options.limit - deliveries.length, 1_000);
    const page = `${path}?perpage=${perPage}${state}${after}`;
    const answer = await api.call<{ totalCount: number; deliveries: readonly DeliveryView[] }>("GET", page);
    total = answer.totalCount;
    deliveries.push(...answer.deliveries);
    if (deliveries.length >= options.limit || answer.deliveries.length < perPage) break;
    after = `&after=${deliveries.at(-1)?.id}`;
  }
  if (options.json) return printJson({ totalCount: total, count: deliveries.length, deliveries });
  if (total === 0) {
    say("no such deliveries");
    return;
  }
  process.stdout.write(table(["WHEN", "EVENT", "STATE", "TRIES", "ANSWER", "DELIVERY"], deliveries.map(rowOf)));
  if (total > deliveries.length) note("there are more: set --limit");
}

function rowOf(delivery: DeliveryView): Cell[] {
  const { status, error, next_try_ts: next } = delivery;
  const answer = error ?? (status === null ? null : String(status));
  // In one column: with another, ids would be broken on a narrow terminal.
  const became = [answer, next === null ? null : `next try ${shortTime(next)}`].filter((part) => part !== null);
  return [
    shortTime(delivery.created_ts),
    delivery.event,
    delivery.state,
    delivery.tries,
    became.join("; ") || null,
    delivery.id,
  ];
}

async function retry(name: string, ids: readonly string[], options: ServerOptions): Promise<void> {
  const api = new Api(options.server);
  const path = `${await webhookPath(api, name)}/deliveries`;
  const deliveries: DeliveryView[] = [];
  for (const id of ids) {
    deliveries.push(await api.call<DeliveryView>("POST", `${path}/${encodeURIComponent(id)}/retry`));
    if (!options.json) say(`delivery ${id} is sent again`);
  }
  if (options.json) printJsonList("deliveries", deliveries);
}
