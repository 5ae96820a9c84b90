/** What people do to one node: hold it, label it, put it into another group, delete it. */
import { Argument, type Command, Option } from "commander";
import { Api, ApiError, type AppOptions, acting } from "./api.ts";
import { confirm, yesOption } from "./confirm.ts";
import { appPath, findGroup, findNode, groupArchOption } from "./naming.ts";
import { printNode, statusText } from "./node-facts.ts";
import { type LabelChanges, readLabel, withChanges } from "./node-labels.ts";
import type { GroupView, NodeView } from "./objects.ts";
import { note, printJson, say } from "./terminal.ts";

export interface Reasoned {
  readonly reason?: string;
}
export interface Target {
  readonly group?: string;
  readonly arch?: number;
  readonly byTrack?: true;
}

/** @param one makes a command about one node. */
export function careCommands(one: (name: string, description: string) => Command): void {
  one("hold", "give a node no update until it is released; what it has begun goes on")
    .addOption(reasonOption())
    .action(acting(hold));
  one("release", "let a node that is held have updates again").action(acting(release));
  one("label", "write labels on a node, or take them away; all others stay")
    .addArgument(labelsArgument())
    .action(acting(label));
  targeted(one("move", "put a node into another group, whatever its track")).action(acting(move));
  one("delete", "delete a node with its history; should it check in again, it is a new one")
    .addOption(yesOption())
    .action(acting(remove));
}

export const reasonOption = (): Option => new Option("--reason <text>", "why; whoever looks at the node sees it");

export const labelsArgument = (): Argument =>
  new Argument("<label...>", "NAME=VALUE sets one, NAME- takes it away").argParser(readLabel);

export function targeted(command: Command): Command {
  return command
    .option("--group <group>", "into this one: its id, name or track")
    .addOption(groupArchOption())
    .addOption(new Option("--by-track", "into the one of its track again, with its next check-in").conflicts("group"));
}

/** Null: wherever the track leads. @throws ApiError */
export async function targetOf(api: Api, app: string, { group, arch, byTrack }: Target): Promise<GroupView | null> {
  if (byTrack) return null;
  if (group === undefined) throw new ApiError("say where to: --group GROUP, or --by-track");
  return findGroup(api, app, group, { arch, lasting: true });
}

export function holdBody({ reason }: Reasoned): object {
  return reason === undefined ? {} : { reason };
}

async function hold(name: string, options: AppOptions & Reasoned): Promise<void> {
  const api = new Api(options.server);
  const { path, group } = await findNode(api, await appPath(api, options.app), name);
  printNode(await api.call<NodeView>("POST", `${path}/hold`, holdBody(options)), group, options);
}

async function release(name: string, options: AppOptions): Promise<void> {
  const api = new Api(options.server);
  const { path, group } = await findNode(api, await appPath(api, options.app), name);
  printNode(await api.call<NodeView>("POST", `${path}/release`), group, options);
}

async function label(name: string, changes: LabelChanges, options: AppOptions): Promise<void> {
  const api = new Api(options.server);
  const { path, group } = await findNode(api, await appPath(api, options.app), name);
  const seen = await api.seen<NodeView>(path);
  const labels = withChanges(seen.value.labels, changes);
  printNode(await api.call<NodeView>("PUT", `${path}/labels`, { labels }, seen), group, options);
}

async function move(name: string, options: AppOptions & Target): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const target = await targetOf(api, app, options);
  const { path, group } = await findNode(api, app, name);
  const moved = await api.call<NodeView>("POST", `${path}/move`, { group_id: target?.id ?? null });
  printNode(moved, target ?? group, options);
  if (target === null) note("with its next check-in it is in the group of its track");
}

async function remove(name: string, options: AppOptions & { readonly yes?: true }): Promise<void> {
  const api = new Api(options.server);
  const { path, group } = await findNode(api, await appPath(api, options.app), name);
  const seen = await api.seen<NodeView>(path);
  const { id, alias, application } = seen.value;
  if (options.yes !== true) {
    const what = alias === "" ? id : `${id} ("${alias}")`;
    const where = `${application.version}, ${statusText(application)}`;
    await confirm(`Delete node ${what} of group "${group.name}", which runs ${where}?`);
  }
  await api.remove(path, seen);
  if (options.json) printJson(seen.value);
  else say(`deleted node ${id}`);
}
