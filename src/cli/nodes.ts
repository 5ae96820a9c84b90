/** `turnout nodes`: which machines there are, how they stand, how they came there, and what people do to them. */
import { Command, Option } from "commander";
import { Api, ApiError, type AppOptions, acting, ofApp } from "./api.ts";
import { positive } from "./fields.ts";
import { appPath, findGroup, findNode, groupArchOption, groupsOf } from "./naming.ts";
import { bulkCommand } from "./node-bulk.ts";
import { careCommands } from "./node-care.ts";
import { nodeFacts, printNode, statusText } from "./node-facts.ts";
import type { GroupView, NodeView } from "./objects.ts";
import { type Cell, note, printJson, say, shortTime, table } from "./terminal.ts";

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
  readonly arch?: number;
  readonly status?: string;
  readonly version?: string;
  readonly search?: string;
  readonly held?: true;
  readonly notHeld?: true;
  readonly sharedId?: true;
  readonly label?: string;
  readonly seen: string;
  readonly sort: string;
  readonly limit: number;
}

export function nodesCommand(): Command {
  const command = new Command("nodes").description("nodes: which there are, how they stand, and taking care of them");
  const sub = (name: string, description: string) => ofApp(command.command(name).description(description));
  const one = (name: string, description: string) =>
    sub(name, description).argument("<node>", "its machine id or alias");
  sub("list", "the nodes of a group, or of all groups")
    .option("--group <group>", "only of this one: its id, name or track")
    .addOption(groupArchOption())
    .addOption(
      new Option("--status <status>", "only those (failed: also timed out, rolled back, lost)").choices(
        Object.keys(STATUS),
      ),
    )
    .option("--version <version>", "only those that run it")
    .option("--search <text>", "only those with it in their id, alias or address")
    .option("--label <name=value>", "only those with this label")
    .option("--held", "only those that are held")
    .addOption(new Option("--not-held", "only those that are not").conflicts("held"))
    .option("--shared-id", "only ids that two machines or more report with")
    .addOption(new Option("--seen <within>", "only those seen within this time").choices(SEEN).default("1d"))
    .addOption(
      new Option("--sort <by>", "alias or id, address, or the latest first").choices(Object.keys(SORT)).default("name"),
    )
    .option("--limit <n>", "at most so many of each group", positive, LIMIT)
    .action(acting(list));
  one("show", "one node, and how it came to where it stands")
    .option("--history <n>", "so many changes of its status", positive, 20)
    .action(acting(show));
  one("set", "give a node a name that its own does not replace")
    .requiredOption("--alias <text>", 'what people call it; "": what it calls itself')
    .action(acting(set));
  careCommands(one);
  return command.addCommand(bulkCommand());
}

interface Listed {
  readonly total: number;
  readonly instances: readonly NodeView[] | null;
  /** Where it goes on; null: that is all. */
  readonly next: string | null;
}

async function list(options: ListOptions): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const all = options.group === undefined;
  if (all && options.arch !== undefined) throw new ApiError("--arch goes with --group");
  const groups =
    options.group === undefined ? await groupsOf(api, app) : [await findGroup(api, app, options.group, options)];
  const rows: Cell[][] = [];
  const instances: NodeView[] = [];
  let total = 0;
  let more = false;
  for (const group of groups) {
    const listed = await nodesOf(api, `${app}/groups/${group.id}`, options);
    total += listed.total;
    more ||= listed.more;
    instances.push(...listed.nodes);
    rows.push(...listed.nodes.map((node) => rowOf(node, group, all)));
  }
  if (options.json) printJson({ total, instances });
  else if (rows.length === 0) say(`no such node was seen within ${options.seen}; --seen looks further back`);
  else process.stdout.write(table(headOf(all), rows));
  if (more) note("there are more: say which with --group, --status, --version or --search, or set --limit");
}

/** Page by page, as many as are wanted. */
async function nodesOf(api: Api, path: string, options: ListOptions) {
  const query = queryOf(options);
  const nodes: NodeView[] = [];
  for (let after = ""; ; ) {
    const perPage = Math.min(options.limit - nodes.length, 1_000);
    const page = `${path}/instances?${query}&perpage=${perPage}${after}`;
    const { total, instances, next } = await api.call<Listed>("GET", page);
    nodes.push(...(instances ?? []));
    if (next === null || nodes.length >= options.limit) return { total, nodes, more: next !== null };
    after = `&after=${encodeURIComponent(next)}`;
  }
}

function queryOf({ status, version, search, held, notHeld, sharedId, label, seen, sort }: ListOptions): string {
  const query = [`duration=${seen}`, SORT[sort]];
  if (status !== undefined) query.push(`status=${STATUS[status]}`);
  if (version !== undefined) query.push(`version=${encodeURIComponent(version)}`);
  if (search !== undefined) query.push(`searchFilter=All&searchValue=${encodeURIComponent(search)}`);
  if (held) query.push("held=true");
  if (notHeld) query.push("held=false");
  if (sharedId) query.push("shared_machine_id=true");
  if (label !== undefined) query.push(`label=${encodeURIComponent(label)}`);
  return query.join("&");
}

function headOf(withGroup: boolean): string[] {
  return ["NODE", "ALIAS", ...(withGroup ? ["GROUP"] : []), "VERSION", "STATUS", "LAST SEEN"];
}

function rowOf(node: NodeView, group: GroupView, withGroup: boolean): Cell[] {
  const { id, alias, held, shared_machine_id: shared, application } = node;
  const { version, last_check_for_updates: seen } = application;
  // In lists, a node without any alias is called by its id.
  return [
    id,
    alias === id ? null : alias,
    ...(withGroup ? [group.name] : []),
    version,
    `${statusText(application)}${held === null ? "" : ", held"}${shared === null ? "" : ", shared id"}`,
    shortTime(seen),
  ];
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
  const limit = Math.min(options.history, 1_000);
  const history = (await api.call<readonly Step[] | null>("GET", `${path}/status_history?limit=${limit}`)) ?? [];
  if (options.json) return printJson({ ...node, history });
  const rows = history.map((step) => [shortTime(step.created_ts), step.state, step.version, step.error_code]);
  process.stdout.write(`${nodeFacts(node, group)}\n${table(["WHEN", "STATUS", "VERSION", "ERROR"], rows)}`);
}

async function set(name: string, options: AppOptions & { readonly alias: string }): Promise<void> {
  const api = new Api(options.server);
  const { node, group } = await findNode(api, await appPath(api, options.app), name);
  const path = `/instances/${encodeURIComponent(node.id)}`;
  printNode(await api.call<NodeView>("PUT", path, { alias: options.alias }), group, options);
}
