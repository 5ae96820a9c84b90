/** `turnout apps`: what is updated. */
import { Command } from "commander";
import { BUILD_METADATA, VERSION_SCHEMES } from "../rollout/model/configuration.ts";
import { Api, acting, jsonOption, nothingToChange, type ServerOptions, serverOption } from "./api.ts";
import { channelTable } from "./channels.ts";
import { confirm, yesOption } from "./confirm.ts";
import { bodyOf, choice, type Field, type Given, text, textOrNone, withFields } from "./fields.ts";
import { groupTable } from "./groups.ts";
import { appPath, idOf } from "./naming.ts";
import type { ApplicationView } from "./objects.ts";
import { facts, printJson, printJsonList, say, table } from "./terminal.ts";

const NAME = text("--name <name>", "name", "another name");
const FIELDS: readonly Field[] = [
  text("--description <text>", "description", "what it is"),
  textOrNone("--product-id <id>", "product_id", "a name for machines, e.g. io.example.billing; none"),
  choice(
    "--version-scheme <scheme>",
    "version_scheme",
    "what its versions are: 4230.2.1, or four numbers",
    VERSION_SCHEMES,
  ),
  choice(
    "--build-metadata <how>",
    "build_metadata",
    "whether versions that differ in it alone, as nightlies do, count as the same (ignore) or go by the date in it (order)",
    BUILD_METADATA,
  ),
];

export function appsCommand(): Command {
  const command = new Command("apps").description("applications: what is updated");
  const sub = (name: string, description: string) =>
    command.command(name).description(description).addOption(serverOption()).addOption(jsonOption());
  const one = (name: string, description: string) =>
    sub(name, description).argument("<app>", "its id, product id or name");
  sub("list", "the applications").action(acting(list));
  one("show", "one application, with its channels and groups").action(acting(show));
  withFields(sub("create", "make an application").argument("<name>", "what it is called"), FIELDS)
    .option("--clone-from <app>", "with the channels and groups of this one")
    .action(acting(create));
  withFields(one("set", "change an application; what is not named stays"), [NAME, ...FIELDS]).action(acting(set));
  one("delete", "delete an application with its groups, channels, packages and nodes")
    .addOption(yesOption())
    .action(acting(remove));
  return command;
}

async function list(options: ServerOptions): Promise<void> {
  const apps = await new Api(options.server).all<ApplicationView>("/apps", "applications");
  if (options.json) return printJsonList("applications", apps);
  const rows = apps.map(({ name, id, product_id: product, instances }) => [name, id, product, instances.count]);
  process.stdout.write(table(["APPLICATION", "ID", "PRODUCT ID", "NODES"], rows));
}

async function show(name: string, options: ServerOptions): Promise<void> {
  const api = new Api(options.server);
  print(await api.call<ApplicationView>("GET", await appPath(api, name)), options);
}

async function create(name: string, options: ServerOptions & Given & { readonly cloneFrom?: string }): Promise<void> {
  const api = new Api(options.server);
  const { cloneFrom } = options;
  const query = cloneFrom === undefined ? "" : `?clone_from=${idOf(await appPath(api, cloneFrom))}`;
  print(await api.call<ApplicationView>("POST", `/apps${query}`, { name, ...bodyOf(FIELDS, options) }), options);
}

async function set(name: string, options: ServerOptions & Given): Promise<void> {
  const api = new Api(options.server);
  const changes = bodyOf([NAME, ...FIELDS], options);
  if (Object.keys(changes).length === 0) throw nothingToChange();
  const path = await appPath(api, name);
  print(await api.change(path, await api.seen<ApplicationView>(path), changes), options);
}

async function remove(name: string, options: ServerOptions & { readonly yes?: true }): Promise<void> {
  const api = new Api(options.server);
  const path = await appPath(api, name);
  const seen = await api.seen<ApplicationView>(path);
  const { groups, channels, instances } = seen.value;
  if (options.yes !== true) {
    const what = `${groups?.length ?? 0} groups, ${channels?.length ?? 0} channels, all packages and nodes (${instances.count} seen today)`;
    await confirm(`Delete application "${seen.value.name}" with ${what}?`);
  }
  await api.remove(path, seen);
  if (options.json) printJson(seen.value);
  else say(`deleted application "${seen.value.name}"`);
}

function print(app: ApplicationView, { json }: ServerOptions): void {
  if (json) printJson(app);
  else process.stdout.write(described(app));
}

function described(app: ApplicationView): string {
  const head = facts([
    ["application", app.name],
    ["id", app.id],
    ["product-id", app.product_id],
    ["description", app.description || null],
    ["version-scheme", app.version_scheme],
    ["build-metadata", app.build_metadata],
    ["nodes", `${app.instances.count} seen within a day`],
  ]);
  return `${head}\n${channelTable(app.channels ?? [])}\n${groupTable(app.groups ?? [])}`;
}
