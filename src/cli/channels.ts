/** `turnout channels`: named pointers to packages. Moving one is how a release starts. */
import { Command } from "commander";
import { FIRST_COLOR } from "../fleet/document.ts";
import { Api, type AppOptions, acting, nothingToChange, ofApp, type ServerOptions } from "./api.ts";
import { confirm, yesOption } from "./confirm.ts";
import { bodyOf, type Field, type Given, text, withFields } from "./fields.ts";
import { floorCommand } from "./floors.ts";
import { appPath, archOption, channelName, findChannel, findPackage } from "./naming.ts";
import type { ChannelView } from "./objects.ts";
import { facts, note, printJson, printJsonList, say, shortTime, table } from "./terminal.ts";

const NAME = text("--name <name>", "name", "another name");
const COLOR = text("--color <color>", "color", "for charts, e.g. #14b9d6");
const FIELDS: readonly Field[] = [NAME, COLOR];

type ChannelOptions = AppOptions & Given & { readonly arch?: number; readonly package?: string };

export function channelsCommand(): Command {
  const command = new Command("channels").description("channels: each points to a package for one architecture");
  const sub = (name: string, description: string) => ofApp(command.command(name).description(description));
  const one = (name: string, description: string) =>
    sub(name, description)
      .argument("<channel>", "its name or id")
      .addOption(archOption("its architecture, where several have the name"));
  const target = "the package that it points to: its version or id; none";
  sub("list", "the application's channels").action(acting(list));
  one("show", "one channel, and what it points to").action(acting(show));
  withFields(sub("create", "make a channel").argument("<name>", "what it is called"), [COLOR])
    .addOption(archOption("its architecture; it never changes").makeOptionMandatory())
    .option("--package <package>", target)
    .action(acting(create));
  withFields(one("set", "change a channel; with another package, a rollout starts in its groups"), FIELDS)
    .option("--package <package>", target)
    .addHelpText("after", SET_HELP)
    .action(acting(set));
  one("delete", "delete a channel; its groups are left without one").addOption(yesOption()).action(acting(remove));
  command.addCommand(floorCommand());
  return command;
}

const SET_HELP = `
For example, release a package that is there already:

  turnout channels set stable --arch amd64 --package 4230.2.1
`;

async function list(options: AppOptions): Promise<void> {
  const api = new Api(options.server);
  const channels = await api.all<ChannelView>(`${await appPath(api, options.app)}/channels`, "channels");
  if (options.json) return printJsonList("channels", channels);
  process.stdout.write(channelTable(channels));
}

export function channelTable(channels: readonly ChannelView[]): string {
  if (channels.length === 0) return "no channels\n";
  const rows = channels.map((channel) => [channelName(channel), channel.package?.version ?? null, channel.id]);
  return table(["CHANNEL", "VERSION", "ID"], rows);
}

async function show(name: string, options: ChannelOptions): Promise<void> {
  const api = new Api(options.server);
  print(await findChannel(api, await appPath(api, options.app), name, options.arch ?? null), options);
}

async function create(name: string, options: ChannelOptions & { readonly arch: number }): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const body = { name, arch: options.arch, color: FIRST_COLOR, ...(await changesOf(api, app, options, options.arch)) };
  print(await api.call<ChannelView>("POST", `${app}/channels`, body), options);
}

async function set(name: string, options: ChannelOptions): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const path = `${app}/channels/${(await findChannel(api, app, name, options.arch ?? null)).id}`;
  const seen = await api.seen<ChannelView>(path);
  const changes = await changesOf(api, app, options, seen.value.arch);
  if (Object.keys(changes).length === 0) throw nothingToChange();
  const changed = await api.change(path, seen, changes);
  print(changed, options);
  for (const warning of changed.warnings ?? []) note(warning);
}

async function changesOf(api: Api, app: string, options: ChannelOptions, arch: number): Promise<object> {
  const changes = bodyOf(FIELDS, options);
  const { package: target } = options;
  if (target === "none") changes.package_id = null;
  else if (target !== undefined) changes.package_id = (await findPackage(api, app, target, arch)).id;
  return changes;
}

async function remove(name: string, options: ChannelOptions & { readonly yes?: true }): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const path = `${app}/channels/${(await findChannel(api, app, name, options.arch ?? null)).id}`;
  const seen = await api.seen<ChannelView>(path);
  const title = channelName(seen.value);
  if (options.yes !== true) await confirm(`Delete channel ${title}?`);
  await api.remove(path, seen);
  if (options.json) printJson(seen.value);
  else say(`deleted channel ${title}`);
}

function print(channel: ChannelView, { json }: ServerOptions): void {
  if (json) printJson(channel);
  else process.stdout.write(described(channel));
}

function described(channel: ChannelView): string {
  return facts([
    ["channel", channelName(channel)],
    ["id", channel.id],
    ["color", channel.color],
    ["package", channel.package?.version ?? "none"],
    ["created", shortTime(channel.created_ts)],
  ]);
}
