/** `turnout groups`: the nodes that share a policy. */
import { Command, Option } from "commander";
import { FIRST_POLICY } from "../fleet/document.ts";
import { Api, ApiError, type AppOptions, acting, nothingToChange, ofApp, type ServerOptions } from "./api.ts";
import { confirm, yesOption } from "./confirm.ts";
import {
  bodyOf,
  count,
  type Field,
  type Given,
  list as listField,
  onOffField,
  text,
  textOrNone,
  withFields,
} from "./fields.ts";
import {
  appPath,
  archOption,
  channelName,
  findChannel,
  findGroup,
  type GroupChoice,
  groupArchOption,
  groupNamed,
  groupsOf,
} from "./naming.ts";
import type { GroupView } from "./objects.ts";
import { presetOption, readStrategyFile } from "./strategy-file.ts";
import { facts, note, onOff, printJson, printJsonList, say, shortTime, table } from "./terminal.ts";
import { freezeText, readFreeze, readWindow, windowText } from "./windows.ts";

const NAME = text("--name <name>", "name", "another name");
const FIELDS: readonly Field[] = [
  text("--description <text>", "description", "what it is for"),
  textOrNone("--track <track>", "track", "what its nodes have as GROUP; none: the group's id"),
  onOffField("--updates-enabled", "policy_updates_enabled", "whether anything is granted at all"),
  onOffField("--safe-mode", "policy_safe_mode", "one node first; its failure stops updates, see resume-updates"),
  onOffField("--office-hours", "policy_office_hours", "only Monday to Friday, 09:00 to 17:00"),
  text("--timezone <zone>", "policy_timezone", "of windows and office hours, e.g. Europe/Berlin"),
  text("--period-interval <interval>", "policy_period_interval", 'e.g. "15 minutes"'),
  count("--max-updates-per-period <n>", "policy_max_updates_per_period", "and at the same time; 900000: no limit"),
  text("--update-timeout <interval>", "policy_update_timeout", 'how long an update may take, e.g. "60 minutes"'),
  listField(
    "--maintenance-windows <window...>",
    "maintenance_windows",
    'when updates may start, e.g. "mon-thu 22:00-04:00", "fri 22:00 to mon 06:00", "thu 23:00 + 1h30m"; none: always',
    readWindow,
  ),
  listField(
    "--freezes <freeze...>",
    "freezes",
    'when none may start, e.g. "2026-12-20..2027-01-06 holidays"; none: never',
    readFreeze,
  ),
];

type GroupOptions = AppOptions &
  Given & { readonly channel?: string; readonly arch?: number; readonly strategy?: string; readonly preset?: string };

export function groupsCommand(): Command {
  const command = new Command("groups").description("the nodes that share a policy, and follow a channel");
  const sub = (name: string, description: string) => ofApp(command.command(name).description(description));
  const one = (name: string, description: string) =>
    sub(name, description).argument("<group>", "its id, name or track");
  sub("list", "the application's groups").action(acting(list));
  one("show", "one group, as it is set").addOption(groupArchOption()).action(acting(show));
  settings(sub("create", "make a group").argument("<name>", "what it is called"), FIELDS).action(acting(create));
  settings(one("set", "change a group; what is not named stays"), [NAME, ...FIELDS])
    .addHelpText("after", SET_HELP)
    .action(acting(set));
  one("resume-updates", "let updates go on that safe mode has stopped: one node first, again")
    .addOption(groupArchOption())
    .option("--reason <text>", "why; the audit log keeps it")
    .action(acting(resumeUpdates));
  one("delete", "delete a group; its nodes move to another one with their next check-in")
    .addOption(groupArchOption())
    .addOption(yesOption())
    .action(acting(remove));
  return command;
}

const SET_HELP = `
For example, at most 20 nodes at the same time, at night only:

  turnout groups set "Stable (AMD64)" --max-updates-per-period 20 \\
    --timezone Europe/Berlin --maintenance-windows "22:00-04:00"
`;

function settings(command: Command, fields: readonly Field[]): Command {
  command
    .addOption(new Option("--channel <channel>", "what it follows: a channel's name or id; none"))
    .addOption(
      archOption("the channel's architecture, where several have the name; the group's, where several have the track"),
    );
  return withFields(command, fields)
    .addOption(new Option("--strategy <file>", "how releases go out, as YAML or JSON; none: to all at once"))
    .addOption(presetOption("or a strategy that comes along"));
}

async function list(options: AppOptions): Promise<void> {
  const api = new Api(options.server);
  const groups = await groupsOf(api, await appPath(api, options.app));
  if (options.json) return printJsonList("groups", groups);
  process.stdout.write(groupTable(groups));
}

export function groupTable(groups: readonly GroupView[]): string {
  if (groups.length === 0) return "no groups\n";
  const rows = groups.map((group) => [
    group.name,
    group.track,
    group.channel === undefined ? null : channelName(group.channel),
    group.channel?.package?.version ?? null,
    group.updates_stopped === null ? onOff(group.policy_updates_enabled) : "stopped",
  ]);
  return table(["GROUP", "TRACK", "CHANNEL", "VERSION", "UPDATES"], rows);
}

async function show(name: string, options: AppOptions & GroupChoice): Promise<void> {
  const api = new Api(options.server);
  print(await findGroup(api, await appPath(api, options.app), name, options), options);
}

async function create(name: string, options: GroupOptions): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const policy = Object.entries(FIRST_POLICY).map(([field, value]) => [`policy_${field}`, value]);
  const body = { name, ...Object.fromEntries(policy), ...(await changesOf(api, app, options, null)) };
  print(await api.call<GroupView>("POST", `${app}/groups`, body), options);
}

async function set(name: string, options: GroupOptions): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  // Of a group that is named by its name, it is the channel's.
  const named = options.arch === undefined ? undefined : groupNamed(await groupsOf(api, app), name);
  if (named !== undefined && options.channel === undefined) throw onlyWithChannel();
  const path = `${app}/groups/${(named ?? (await findGroup(api, app, name, options))).id}`;
  const seen = await api.seen<GroupView>(path);
  const changes = await changesOf(api, app, options, seen.value);
  if (Object.keys(changes).length === 0) throw nothingToChange();
  // What is shown as off because safe mode has stopped it is no setting; what is asked for here is.
  const said = "policy_updates_enabled" in changes ? { updates_stopped_by: null } : {};
  print(await api.change(path, seen, { ...changes, ...said }), options);
}

/** @param before a channel of the same architecture is meant, where none is named. */
async function changesOf(api: Api, app: string, options: GroupOptions, before: GroupView | null): Promise<object> {
  const { channel, arch, strategy, preset } = options;
  if (strategy !== undefined && preset !== undefined) throw new ApiError("--strategy and --preset exclude each other");
  const changes = bodyOf([NAME, ...FIELDS], options);
  if (channel === "none") changes.channel_id = null;
  else if (channel !== undefined) {
    changes.channel_id = (await findChannel(api, app, channel, arch ?? before?.channel?.arch ?? null)).id;
  } else if (arch !== undefined && before === null) throw onlyWithChannel();
  if (strategy !== undefined) changes.strategy = strategy === "none" ? null : readStrategyFile(strategy);
  if (preset !== undefined) changes.strategy = { preset };
  return changes;
}

async function resumeUpdates(
  name: string,
  { arch, reason, ...options }: AppOptions & GroupChoice & { readonly reason?: string },
): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const path = `${app}/groups/${(await findGroup(api, app, name, { arch, lasting: true })).id}`;
  const group = await api.call<GroupView>(
    "POST",
    `${path}/resume-updates`,
    reason === undefined ? undefined : { reason },
  );
  print(group, options);
  if (!group.policy_updates_enabled) {
    note(`a person has turned updates off besides: turnout groups set "${group.name}" --updates-enabled on`);
  }
}

function onlyWithChannel(): ApiError {
  return new ApiError("--arch goes with --channel");
}

async function remove(
  name: string,
  { arch, ...options }: AppOptions & GroupChoice & { readonly yes?: true },
): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const path = `${app}/groups/${(await findGroup(api, app, name, { arch, lasting: true })).id}`;
  const seen = await api.seen<GroupView>(path);
  if (options.yes !== true) await confirm(`Delete group "${seen.value.name}"?`);
  await api.remove(path, seen);
  if (options.json) printJson(seen.value);
  else say(`deleted group "${seen.value.name}"`);
}

function print(group: GroupView, { json }: ServerOptions): void {
  if (json) printJson(group);
  else process.stdout.write(described(group));
}

/** By the names that the options have. */
function described(group: GroupView): string {
  const { channel } = group;
  const target = channel?.package?.version ?? "which points to nothing";
  return facts([
    ["group", group.name],
    ["id", group.id],
    ["description", group.description || null],
    ["track", group.track],
    ["channel", channel === undefined ? null : `${channelName(channel)}, ${target}`],
    ["updates-enabled", onOff(group.policy_updates_enabled)],
    ...stopFacts(group),
    ["safe-mode", onOff(group.policy_safe_mode)],
    ["office-hours", onOff(group.policy_office_hours)],
    ["timezone", group.policy_timezone],
    ["period-interval", group.policy_period_interval],
    ["max-updates-per-period", String(group.policy_max_updates_per_period)],
    ["update-timeout", group.policy_update_timeout],
    ["maintenance-windows", group.maintenance_windows.map(windowText).join("; ") || null],
    ["freezes", group.freezes.map(freezeText).join("; ") || null],
    ["strategy", strategyText(group)],
  ]);
}

function stopFacts({ name, updates_stopped: stop }: GroupView): (readonly [string, string])[] {
  if (stop === null) return [];
  const { since, reason, version, instance_id: node } = stop;
  const why = `by safe mode since ${shortTime(since)}: ${reason} with ${version} (${node})`;
  return [["stopped", `${why}; once you know why: turnout groups resume-updates "${name}"`]];
}

function strategyText({ strategy, effective_strategy: effective }: GroupView): string {
  const { stages = [], ramp, health } = effective;
  const shares = stages.map(({ percent = 100, bake }) => `${percent} %${bake ? ` (${bake})` : ""}`).join(", ");
  const start = ramp == null ? "" : `, starting slowly (${ramp.start})`;
  const gate = health == null ? ", without a health gate" : "";
  return `${shares}${start}${gate}${strategy === null ? " (the server's default)" : ""}`;
}
