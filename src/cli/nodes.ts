/** `turnout nodes`: which machines there are, how they stand, and how they came there. */
import { Command, Option } from "commander";
import { Api, type AppOptions, acting, ofApp, type ServerOptions } from "./api.ts";
import { wholeNumber } from "./fields.ts";
import { appPath, findGroup, findNode, groupsOf } from "./naming.ts";
import type { GroupView, NodeView } from "./objects.ts";
import { type Cell, facts, note, printJson, say, shortTime, table } from "./terminal.ts";

/** The API's numbers for where a node stands. */
const STATUS: Readonly<Record<string, number>> = {
  unknown: 1,
  granted: 2,
  failed: 3,
  complete: 4,
  installed: 5,
  downloaded: 6,
  downloading: 7,
  "on-hold": 8,
};
const SORT: Readonly<Record<string, string>> = {
  name: "sortFilter=0&sortOrder=0",
  ip: "sortFilter=1&sortOrder=0",
  seen: "sortFilter=2&sortOrder=1",
};
const SEEN = ["1h", "1d", "7d", "30d"];
const LIMIT = 1_000;

interface ListOptions extends AppOptions {
  readonly group?: string;
  readonly status?: string;
  readonly version?: string;
  readonly search?: string;
  readonly seen: string;
  readonly sort: string;
  readonly limit: number;
}

export function nodesCommand(): Command {
  const command = new Command("nodes").description("nodes: which there are, how they stand, and how they came there");
  const sub = (name: string, description: string) => ofApp(command.command(name).description(description));
  const one = (name: string, description: string) =>
    sub(name, description).argument("<node>", "its machine id or alias");
  sub("list", "the nodes of a group, or of all groups")
    .option("--group <group>", "only of this one: its id, name or track")
    .addOption(
      new Option("--status <status>", "only those (failed: also timed out, rolled back, lost)").choices(
        Object.keys(STATUS),
      ),
    )
    .option("--version <version>", "only those that run it")
    .option("--search <text>", "only those with it in their id, alias or address")
    .addOption(new Option("--seen <within>", "only those seen within this time").choices(SEEN).default("1d"))
    .addOption(
      new Option("--sort <by>", "alias or id, address, or the latest first").choices(Object.keys(SORT)).default("name"),
    )
    .option("--limit <n>", "at most so many of each group", wholeNumber, LIMIT)
    .action(acting(list));
  one("show", "one node, and how it came to where it stands")
    .option("--history <n>", "so many changes of its status", wholeNumber, 20)
    .action(acting(show));
  one("set", "give a node a name that its own does not replace")
    .requiredOption("--alias <text>", 'what people call it; "": what it calls itself')
    .action(acting(set));
  return command;
}

interface Listed {
  readonly total: number;
  readonly instances: readonly NodeView[];
}

async function list(options: ListOptions): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const all = options.group === undefined;
  const groups = options.group === undefined ? await groupsOf(api, app) : [await findGroup(api, app, options.group)];
  const rows: Cell[][] = [];
  const instances: NodeView[] = [];
  let total = 0;
  for (const group of groups) {
    const listed = await nodesOf(api, `${app}/groups/${group.id}`, options);
    total += listed.total;
    instances.push(...listed.instances);
    rows.push(...listed.instances.map((node) => rowOf(node, group, all)));
  }
  if (options.json) printJson({ total, instances });
  else if (rows.length > 0) process.stdout.write(table(headOf(all), rows));
  const left = total - instances.length;
  if (left > 0)
    note(`${left} more are not shown: say which with --group, --status, --version or --search, or set --limit`);
  if (total === 0 && !options.json) say(`no such node was seen within ${options.seen}; --seen looks further back`);
}

/** Page by page, as many as are wanted. */
async function nodesOf(api: Api, path: string, options: ListOptions): Promise<Listed> {
  const { status, version, search, seen, sort, limit } = options;
  const query = [
    `duration=${seen}`,
    SORT[sort],
    ...(status === undefined ? [] : [`status=${STATUS[status]}`]),
    ...(version === undefined ? [] : [`version=${encodeURIComponent(version)}`]),
    ...(search === undefined ? [] : [`searchFilter=All&searchValue=${encodeURIComponent(search)}`]),
  ].join("&");
  const instances: NodeView[] = [];
  for (let page = 1; ; page += 1) {
    const perPage = Math.min(Math.max(limit, 1), 1_000);
    const answer = await api.call<Listed>("GET", `${path}/instances?${query}&perpage=${perPage}&page=${page}`);
    instances.push(...answer.instances);
    if (instances.length >= limit || answer.instances.length < perPage) {
      return { total: answer.total, instances: instances.slice(0, limit) };
    }
  }
}

function headOf(withGroup: boolean): string[] {
  return ["NODE", "ALIAS", ...(withGroup ? ["GROUP"] : []), "VERSION", "STATUS", "LAST SEEN"];
}

function rowOf({ id, alias, application }: NodeView, group: GroupView, withGroup: boolean): Cell[] {
  const { version, last_check_for_updates: seen } = application;
  return [id, alias || null, ...(withGroup ? [group.name] : []), version, statusText(application), shortTime(seen)];
}

function statusText({ state, error_code: code }: NodeView["application"]): string {
  return state === "failed" && code !== null ? `failed (${code})` : state;
}

interface Step {
  readonly state: string;
  readonly version: string;
  readonly created_ts: string;
  readonly error_code: string | null;
}

async function show(name: string, options: AppOptions & { readonly history: number }): Promise<void> {
  const api = new Api(options.server);
  const { node, group, path } = await findNode(api, await appPath(api, options.app), name);
  const limit = Math.min(Math.max(options.history, 1), 1_000);
  const history = await api.call<readonly Step[]>("GET", `${path}/status_history?limit=${limit}`);
  if (options.json) return printJson({ ...node, history });
  const rows = history.map((step) => [shortTime(step.created_ts), step.state, step.version, step.error_code]);
  process.stdout.write(`${described(node, group)}\n${table(["WHEN", "STATUS", "VERSION", "ERROR"], rows)}`);
}

function described(
  { id, ip, oem, alias, created_ts: created, application }: NodeView,
  group: GroupView | null,
): string {
  const { last_update_version: update, last_update_granted_ts: granted } = application;
  return facts([
    ["node", id],
    ["alias", alias || null],
    ["group", group?.name ?? null],
    ["version", application.version],
    ["status", statusText(application)],
    ["last update", update === null ? null : `${update}${granted === null ? "" : `, offered ${shortTime(granted)}`}`],
    ["last seen", shortTime(application.last_check_for_updates)],
    ["first seen", shortTime(created)],
    ["address", ip],
    ["oem", oem || null],
  ]);
}

async function set(name: string, options: AppOptions & { readonly alias: string }): Promise<void> {
  const api = new Api(options.server);
  const { node, group } = await findNode(api, await appPath(api, options.app), name);
  const path = `/instances/${encodeURIComponent(node.id)}`;
  print(await api.call<NodeView>("PUT", path, { alias: options.alias }), group, options);
}

function print(node: NodeView, group: GroupView, { json }: ServerOptions): void {
  if (json) printJson(node);
  else process.stdout.write(described(node, group));
}
