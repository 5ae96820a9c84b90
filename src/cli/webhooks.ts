/** `turnout webhooks`: who is told of what happens. */
import { readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { EVENTS } from "../notify/events.ts";
import { Api, ApiError, acting, jsonOption, nothingToChange, type ServerOptions, serverOption } from "./api.ts";
import { confirm, yesOption } from "./confirm.ts";
import { bodyOf, type Field, type Given, onOffField, text, withFields } from "./fields.ts";
import { groupArchOption, webhookPath } from "./naming.ts";
import type { ApplicationView, WebhookView } from "./objects.ts";
import { type Scoped, scopeFrom } from "./scope.ts";
import { facts, note, onOff, printJson, printJsonList, say, several, shortTime, table } from "./terminal.ts";
import { deliveryCommands } from "./webhook-deliveries.ts";

const ALL = "all";
const NAME = text("--name <name>", "name", "another name");
const TARGET = text("--url <url>", "url", "where events are posted to");
const FIELDS: readonly Field[] = [
  TARGET,
  {
    option: new Option("--events <event...>", "only these, or all").choices([...EVENTS, ALL]),
    field: "events",
  },
  onOffField("--enabled", "enabled", "off: nothing is sent, and nothing is kept for later"),
];

interface WebhookOptions extends ServerOptions, Given, Scoped {
  readonly secretFile?: string;
}

export function webhooksCommand(): Command {
  const command = new Command("webhooks").description("webhooks: who is told of what happens");
  const sub = (name: string, description: string) =>
    command.command(name).description(description).addOption(serverOption()).addOption(jsonOption());
  const one = (name: string, description: string) => sub(name, description).argument("<webhook>", "its name or id");
  sub("list", "the webhooks, and how their deliveries go").action(acting(list));
  one("show", "one webhook, and how its deliveries go").action(acting(show));
  settings(sub("create", "make a webhook; its secret is printed this once, alone on the standard output"), FIELDS)
    .argument("<name>", "what it is called")
    .addHelpText("after", CREATE_HELP)
    .action(acting(create));
  settings(one("set", "change a webhook; what is not named stays"), [NAME, ...FIELDS]).action(acting(set));
  one("delete", "delete a webhook; what waits for it is not sent any more")
    .addOption(yesOption())
    .action(acting(remove));
  deliveryCommands(one);
  return command;
}

const CREATE_HELP = `
For example:

  SECRET=$(turnout webhooks create pager --url https://hooks.example.org/turnout \\
    --events rollout-halted node-lost)
`;

function settings(command: Command, fields: readonly Field[]): Command {
  return withFields(command, fields)
    .option("--app <app...>", "only of these applications: id, product id or name; or all")
    .option("--group <group...>", "only of these groups: id, name or track; or all")
    .addOption(groupArchOption())
    .option(
      "--secret-file <file>",
      "a file with the secret to sign with, 16 characters or more; - is the standard input",
    );
}

async function list(options: ServerOptions): Promise<void> {
  const webhooks = await new Api(options.server).all<WebhookView>("/webhooks", "webhooks");
  if (options.json) return printJsonList("webhooks", webhooks);
  if (webhooks.length === 0) {
    say("no webhooks");
    return;
  }
  const rows = webhooks.map((one) => [one.name, one.url, eventsOf(one), stateOf(one), one.health.waiting]);
  process.stdout.write(table(["WEBHOOK", "URL", "EVENTS", "STATE", "WAITING"], rows));
}

function eventsOf({ events }: WebhookView): string {
  return events.join(", ") || ALL;
}

function stateOf({ enabled, health: { consecutive_failures: failures } }: WebhookView): string {
  return enabled && failures > 0 ? `on, ${several(failures, "failure")}` : onOff(enabled);
}

async function show(name: string, options: ServerOptions): Promise<void> {
  const api = new Api(options.server);
  await print(api, await api.call<WebhookView>("GET", await webhookPath(api, name)), options);
}

async function create(name: string, options: WebhookOptions): Promise<void> {
  const api = new Api(options.server);
  const body = { name, ...(await changesOf(api, options)) };
  if (!(TARGET.field in body)) throw new ApiError("say where to: --url URL");
  const made = await api.call<WebhookView & { readonly secret: string }>("POST", "/webhooks", body);
  if (options.json) return printJson(made);
  // Whoever has brought a secret knows it.
  if (options.secretFile !== undefined) return print(api, made, options);
  note(`webhook "${made.name}": its secret is not shown again`);
  say(made.secret);
}

async function set(name: string, options: WebhookOptions): Promise<void> {
  const api = new Api(options.server);
  const path = await webhookPath(api, name);
  const changes = await changesOf(api, options);
  if (Object.keys(changes).length === 0) throw nothingToChange();
  await print(api, await api.change(path, await api.seen<WebhookView>(path), changes), options);
}

async function changesOf(api: Api, options: WebhookOptions): Promise<object> {
  const { app, group, arch, secretFile } = options;
  const all = (names: readonly string[] | undefined) => names?.includes(ALL) === true;
  const changes = bodyOf([NAME, ...FIELDS], options);
  if (Array.isArray(changes.events) && changes.events.includes(ALL)) changes.events = [];
  const named = { app: all(app) ? undefined : app, group: all(group) ? undefined : group, arch };
  return {
    ...changes,
    // Groups bring their applications along, whichever there were before.
    ...((all(app) || (app === undefined && named.group !== undefined)) && { applications: null }),
    ...(all(group) && { groups: null }),
    ...(await scopeFrom(api, named)),
    ...(secretFile !== undefined && { secret: readSecret(secretFile) }),
  };
}

/** From a file: an option would be in everybody's list of processes. @throws ApiError */
function readSecret(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8").trim();
  } catch (error) {
    throw new ApiError(`--secret-file: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function remove(name: string, options: ServerOptions & { readonly yes?: true }): Promise<void> {
  const api = new Api(options.server);
  const path = await webhookPath(api, name);
  const seen = await api.seen<WebhookView>(path);
  const { waiting } = seen.value.health;
  const unsent = waiting === 0 ? "" : ` with ${waiting} that wait to be sent`;
  if (options.yes !== true) await confirm(`Delete webhook "${seen.value.name}"${unsent}?`);
  await api.remove(path, seen);
  if (options.json) printJson(seen.value);
  else say(`deleted webhook "${seen.value.name}"`);
}

async function print(api: Api, webhook: WebhookView, { json }: ServerOptions): Promise<void> {
  if (json) printJson(webhook);
  else process.stdout.write(described(webhook, await namesOf(api, webhook)));
}

/** What people call the applications and groups that it is confined to. */
async function namesOf(api: Api, { applications, groups }: WebhookView): Promise<ReadonlyMap<string, string>> {
  if (applications === null && groups === null) return new Map();
  const apps = await api.all<ApplicationView>("/apps", "applications");
  return new Map([...apps, ...apps.flatMap((app) => app.groups ?? [])].map(({ id, name }) => [id, name]));
}

function described(webhook: WebhookView, names: ReadonlyMap<string, string>): string {
  const { applications, groups, health } = webhook;
  const named = (ids: readonly string[] | null) => ids?.map((id) => names.get(id) ?? id).join(", ") ?? ALL;
  const time = (iso: string | null) => (iso === null ? null : shortTime(iso));
  const { last_failure_ts: failed, last_error: error, consecutive_failures: failures } = health;
  const inARow = failures > 1 ? `; ${failures} in a row` : "";
  return facts([
    ["webhook", webhook.name],
    ["id", webhook.id],
    ["url", webhook.url],
    ["events", eventsOf(webhook)],
    ["applications", named(applications)],
    ["groups", named(groups)],
    ["enabled", onOff(webhook.enabled)],
    ["created", `${shortTime(webhook.created_ts)} by ${webhook.created_by}`],
    ["secret", `of ${shortTime(webhook.secret_ts)}`],
    ["waiting", String(health.waiting)],
    ["last success", time(health.last_success_ts)],
    ["last failure", failed === null ? null : `${shortTime(failed)}: ${error}${inARow}`],
    ["resting until", time(health.resting_until_ts)],
  ]);
}
