/** From what people call things to what the API calls them. A name that nothing has is answered with those there are. */
import { InvalidArgumentError, Option } from "commander";
import { archName } from "../fleet/document.ts";
import { fold } from "../rollout/fold.ts";
import { ARCH } from "../rollout/model/arch.ts";
import type { VersionOrder } from "../rollout/model/configuration.ts";
import { orderOf } from "../rollout/version.ts";
import { type Api, ApiError, thereIsNo } from "./api.ts";
import type { ApplicationView, ChannelView, GroupView, NodeView, PackageView, WebhookView } from "./objects.ts";
import { inParallel } from "./parallel.ts";
import { note } from "./terminal.ts";

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** The path of an application that is named by its id, product id or name. @throws ApiError */
export async function appPath(api: Api, name: string): Promise<string> {
  if (UUID.test(name)) return `/apps/${name.toLowerCase()}`;
  const apps = await api.all<ApplicationView>("/apps", "applications");
  const found = apps.find((app) => same(app.product_id, name)) ?? apps.find((app) => same(app.name, name));
  if (found !== undefined) return `/apps/${found.id}`;
  throw new ApiError(
    thereIsNo(
      `application "${name}"`,
      apps.map((app) => `"${app.name}"`),
    ),
  );
}

/** The id in a path. */
export function idOf(path: string): string {
  return path.split("/").at(-1) ?? "";
}

export function groupsOf(api: Api, app: string): Promise<GroupView[]> {
  return api.all(`${app}/groups`, "groups");
}

/** How a group is picked, where several have the track that is named. */
export interface GroupChoice {
  readonly arch?: number | undefined;
  /** Something that lasts is meant, or can't be taken back: then it is not for whichever group has nodes now. */
  readonly lasting?: true;
}

/**
 * @param app its path.
 * @param name the group's id, name or track.
 * @throws ApiError
 */
export async function findGroup(api: Api, app: string, name: string, choice: GroupChoice): Promise<GroupView> {
  return groupAmong(api, await groupsOf(api, app), name, choice);
}

/** The path of a group that is named by id, name or track. @throws ApiError */
export async function groupPath(api: Api, app: string, name: string, choice: GroupChoice): Promise<string> {
  const path = await appPath(api, app);
  return `${path}/groups/${(await findGroup(api, path, name, choice)).id}`;
}

/**
 * A group of any application.
 * @param within the applications that it may be of, by id; null: all.
 * @throws ApiError
 */
export async function groupAnywhere(
  api: Api,
  name: string,
  choice: GroupChoice,
  within: readonly string[] | null = null,
): Promise<GroupView> {
  const apps = await api.all<ApplicationView>("/apps", "applications");
  const here = apps.filter(({ id }) => within === null || within.includes(id));
  return groupAmong(
    api,
    here.flatMap(({ groups }) => groups ?? []),
    name,
    choice,
  );
}

/** The one that has this id or name. */
export function groupNamed(groups: readonly GroupView[], name: string): GroupView | undefined {
  return groups.find((group) => same(group.id, name) || same(group.name, name));
}

/** By id or name; else by track: of several, the one for `arch`, or the only one that has nodes, which is said. @throws ApiError */
async function groupAmong(
  api: Api,
  groups: readonly GroupView[],
  name: string,
  { arch, lasting }: GroupChoice,
): Promise<GroupView> {
  const exact = groupNamed(groups, name);
  const named = exact === undefined ? groups.filter(({ track }) => track === name) : [exact];
  const fitting = arch === undefined ? named : named.filter(({ channel }) => channel?.arch === arch);
  const [found, another] = fitting;
  if (found === undefined) throw new ApiError(thereIsNo(`group "${name}"${ofArch(arch ?? null)}`, groupNames(groups)));
  if (another === undefined) return found;

  const peopled = lasting ? null : await withNodes(api, fitting);
  const [only, second] = peopled ?? [];
  if (only === undefined || second !== undefined) {
    const none = peopled?.length === 0 ? ", and none of them has nodes" : "";
    const names = groupNames(fitting).join(", ");
    throw new ApiError(
      `several groups have the track "${name}": ${names}${none}; say which by its name, or with --arch`,
    );
  }
  note(`group "${only.name}" is taken: of those with the track "${name}", only it has nodes`);
  return only;
}

/** Those that a node was seen in within 30 days. */
async function withNodes(api: Api, groups: readonly GroupView[]): Promise<GroupView[]> {
  const totals = await inParallel(groups, async ({ application_id: app, id }) => {
    const path = `/apps/${app}/groups/${id}/instances_stats?duration=30d`;
    return (await api.call<{ total: number }>("GET", path)).total;
  });
  return groups.filter((_, index) => (totals[index] ?? 0) > 0);
}

function groupNames(groups: readonly GroupView[]): string[] {
  return groups.map(({ name }) => `"${name}"`);
}

/**
 * @param name the channel's name or id.
 * @param arch null: whichever it is, if there is only one.
 * @throws ApiError
 */
export async function findChannel(api: Api, app: string, name: string, arch: number | null): Promise<ChannelView> {
  const channels = await api.all<ChannelView>(`${app}/channels`, "channels");
  const named = channels.filter((one) => same(one.id, name) || one.name === name);
  const found = ofOneArch(named, arch, `channels "${name}"`);
  if (found !== undefined) return found;
  throw new ApiError(thereIsNo(`channel "${name}"${ofArch(arch)}`, channels.map(channelName)));
}

/**
 * @param name the package's version or id.
 * @param arch null: whichever it is, if there is only one.
 * @throws ApiError
 */
export async function findPackage(api: Api, app: string, name: string, arch: number | null): Promise<PackageView> {
  if (UUID.test(name)) return api.call("GET", `${app}/packages/${name.toLowerCase()}`);
  const packages = await api.all<PackageView>(`${app}/packages`, "packages");
  const named = packages.filter(({ version }) => version === name);
  const found = ofOneArch(named, arch, `packages ${name}`);
  if (found !== undefined) return found;
  throw new ApiError(thereIsNo(`package "${name}"${ofArch(arch)}`, packages.map(packageName)));
}

/** The path of a webhook that is named by its id or name. @throws ApiError */
export async function webhookPath(api: Api, name: string): Promise<string> {
  const webhooks = await api.all<WebhookView>("/webhooks", "webhooks");
  const found = webhooks.find((one) => same(one.id, name)) ?? webhooks.find((one) => one.name === name);
  if (found !== undefined) return `/webhooks/${found.id}`;
  throw new ApiError(
    thereIsNo(
      `webhook "${name}"`,
      webhooks.map((one) => `"${one.name}"`),
    ),
  );
}

/** A node, the group that it is in, and its path. */
export interface FoundNode {
  readonly node: NodeView;
  readonly group: GroupView;
  readonly path: string;
}

/**
 * A node does not say which group it is in: all of them are asked.
 * @param name its machine id, or its alias if it was seen within 30 days.
 * @throws ApiError
 */
export async function findNode(api: Api, app: string, name: string): Promise<FoundNode> {
  const groups = await groupsOf(api, app);
  const asked = await inParallel(groups, async (group) => {
    const path = `${app}/groups/${group.id}/instances/${encodeURIComponent(name)}`;
    try {
      return { node: await api.call<NodeView>("GET", path), group, path };
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return null;
      throw error;
    }
  });
  const found = asked.find((one) => one !== null) ?? (await nodeByAlias(api, app, groups, name));
  if (found !== null) return found;
  throw new ApiError(
    `there is no node "${name}" in any of the ${groups.length} groups; it is found by its whole machine id, or its alias`,
  );
}

async function nodeByAlias(
  api: Api,
  app: string,
  groups: readonly GroupView[],
  alias: string,
): Promise<FoundNode | null> {
  const query = `duration=30d&perpage=100&searchFilter=alias&searchValue=${encodeURIComponent(alias)}`;
  const asked = await inParallel(groups, async (group) => {
    const path = `${app}/groups/${group.id}/instances`;
    const { instances } = await api.call<{ instances: readonly NodeView[] | null }>("GET", `${path}?${query}`);
    const named = (instances ?? []).filter((node) => same(node.alias, alias));
    return named.map((node) => ({ node, group, path: `${path}/${encodeURIComponent(node.id)}` }));
  });
  const [found, ...others] = asked.flat();
  if (found === undefined) return null;
  if (others.length === 0) return found;
  const ids = [found, ...others].map(({ node }) => node.id).join(", ");
  throw new ApiError(`several nodes have the alias "${alias}": ${ids}; say which`);
}

/** By what an application's versions are compared. @param app its path */
export async function versionOrderOf(api: Api, app: string): Promise<VersionOrder> {
  const { version_scheme: scheme, build_metadata: builds } = await api.call<ApplicationView>("GET", app);
  return orderOf(scheme, builds);
}

function ofOneArch<T extends { readonly arch: number }>(
  named: readonly T[],
  arch: number | null,
  what: string,
): T | undefined {
  const [found, another] = named.filter((one) => arch === null || one.arch === arch);
  if (another === undefined) return found;
  const archs = named.map((one) => archName(one.arch)).join(", ");
  throw new ApiError(`there are several ${what}, for ${archs}: say which with --arch`);
}

function ofArch(arch: number | null): string {
  return arch === null ? "" : ` for ${archName(arch)}`;
}

/** e.g. stable (amd64) */
export function channelName({ name, arch }: { readonly name: string; readonly arch: number }): string {
  return `${name} (${archName(arch)})`;
}

/** e.g. 4230.2.1 (amd64) */
export function packageName({ version, arch }: { readonly version: string; readonly arch: number }): string {
  return `${version} (${archName(arch)})`;
}

function same(a: string | null, b: string): boolean {
  return a !== null && fold(a) === fold(b);
}

/** Beside a group. */
export const groupArchOption = (): Option => archOption("the group's architecture, where several have the track");

export function archOption(description: string, flags = "--arch <arch>"): Option {
  const names = Object.keys(ARCH);
  return new Option(flags, description).choices(names).argParser((text) => {
    const name = text === "arm64" ? "aarch64" : text; // what Flatcar's boards call it
    const found = Object.entries(ARCH).find(([known]) => known === name);
    if (found === undefined) throw new InvalidArgumentError(`Allowed choices are ${names.join(", ")}.`);
    return found[1];
  });
}
