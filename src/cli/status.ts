/** `turnout status`: the server, the fleet and its rollouts at a glance; the exit code says whether a person is needed. */
import { Command } from "commander";
import { inWords } from "../rollout/missing.ts";
import { Api, acting, jsonOption, type ServerOptions, serverOption } from "./api.ts";
import { EXIT } from "./exit-codes.ts";
import type { ApplicationView, GroupView } from "./objects.ts";
import { inParallel } from "./parallel.ts";
import { askLinks, centralFact, type Links, mirrorTable, needsOfLinks, siteTable } from "./status-links.ts";
import { facts, printable, printJson, several, shortTime, table } from "./terminal.ts";

interface Principal {
  readonly kind: string;
  readonly name: string;
  readonly role: string;
  readonly applications: readonly string[] | null;
  readonly groups: readonly string[] | null;
}

interface Statistics {
  readonly total: number;
  readonly complete: number;
  readonly update_granted: number;
  readonly downloading: number;
  readonly downloaded: number;
  readonly installed: number;
  readonly error: number;
  readonly onhold: number;
  readonly undefined: number;
}

interface Rollout {
  readonly id: string;
  readonly version: string;
  readonly state: string;
  readonly stage: number;
  readonly stages: readonly unknown[];
  readonly next: { readonly on: string; readonly not_before: string | null } | null;
  readonly awaits_approval: boolean;
  readonly counters: { readonly in_flight: number };
  readonly ramp: { readonly exposed: number; readonly limit: number } | null;
  readonly health: {
    readonly closed: readonly { readonly slice: string; readonly why: string; readonly only_watched: boolean }[];
  };
}

interface Misplaced {
  readonly architectures: readonly { readonly arch: number; readonly instances: number; readonly text: string }[];
}

interface GroupStatus {
  readonly id: string;
  readonly name: string;
  readonly channel: string | null;
  readonly version: string | null;
  readonly updates_enabled: boolean;
  readonly updates_stopped_by: GroupView["updates_stopped_by"];
  readonly nodes: Statistics;
  /** Machine ids that two machines or more report with, of those seen within a day; the first few by name. */
  readonly shared_machine_ids: { readonly total: number; readonly some: readonly string[] };
  /** Those that are not over. */
  readonly rollouts: readonly Rollout[];
  /** Nodes that nothing fits which the group has. */
  readonly other_architectures: Misplaced["architectures"];
}

interface Status extends Links {
  readonly server: string;
  readonly version: string;
  readonly who: Principal;
  readonly applications: readonly {
    readonly id: string;
    readonly name: string;
    readonly groups: readonly GroupStatus[];
  }[];
  /** What a person has to look at; empty: all is well. */
  readonly needs: readonly string[];
}

/** So many are named. */
const SOME = 2;
const OPEN = ["scheduled", "running", "paused", "halted"];

export function statusCommand(): Command {
  return new Command("status")
    .description("the server, the fleet and its rollouts; says when a person is needed")
    .addOption(serverOption())
    .addOption(jsonOption())
    .addHelpText("after", HELP)
    .action(acting(status));
}

const HELP = `
Nodes are those seen within a day. Exit code: 0 all is well, 1 the server can't
be asked, ${EXIT.halted} something is halted or paused, or waits for a person; also a central
server, upstream or site that fails.
`;

async function status(options: ServerOptions): Promise<void> {
  const found = await ask(new Api(options.server));
  if (options.json) printJson(found);
  else process.stdout.write(described(found));
  if (found.needs.length > 0) process.exitCode = EXIT.halted;
}

async function ask(api: Api): Promise<Status> {
  const { info } = await api.call<{ info: { version: string } }>("GET", "/openapi.json");
  const who = await api.call<Principal>("GET", "/whoami");
  const apps = await api.all<ApplicationView>("/apps", "applications");
  const needs: string[] = [];
  const applications: { id: string; name: string; groups: readonly GroupStatus[] }[] = [];
  for (const { id, name, groups: all } of apps) {
    const groups = all ?? [];
    const asked = await inParallel(groups, (group) => askGroup(api, `/apps/${id}/groups/${group.id}`, group));
    needs.push(...groups.flatMap((group, index) => needsOf(group, asked[index])));
    applications.push({ id, name, groups: asked });
  }
  const links = await askLinks(api, apps, who.applications !== null || who.groups !== null);
  needs.push(...needsOfLinks(links));
  return { server: api.server, version: info.version, who, applications, ...links, needs };
}

async function askGroup(api: Api, path: string, group: GroupView): Promise<GroupStatus> {
  const nodes = await api.call<Statistics>("GET", `${path}/instances_stats?duration=1d`);
  const { rollouts } = await api.call<{ rollouts: readonly Rollout[] }>("GET", `${path}/rollouts?perpage=50`);
  const { architectures } = await api.call<Misplaced>("GET", `${path}/other_architectures`);
  const shared = await api.call<{ total: number; instances: readonly { id: string }[] | null }>(
    "GET",
    `${path}/instances?duration=1d&shared_machine_id=true&perpage=${SOME}`,
  );
  return {
    id: group.id,
    name: group.name,
    channel: group.channel?.name ?? null,
    version: group.channel?.package?.version ?? null,
    updates_enabled: group.policy_updates_enabled,
    updates_stopped_by: group.updates_stopped_by,
    nodes,
    shared_machine_ids: { total: shared.total, some: (shared.instances ?? []).map(({ id }) => id) },
    rollouts: rollouts.filter(({ state }) => OPEN.includes(state)),
    other_architectures: architectures,
  };
}

function needsOf(group: GroupView, asked: GroupStatus | undefined): string[] {
  const { rollouts = [], other_architectures: misplaced = [] } = asked ?? {};
  const needs = rollouts.flatMap((one) => needsOfRollout(one).map((need) => `the rollout of ${one.version} ${need}`));
  const { name: channel, package: target } = group.channel ?? {};
  if (target && target.missing.length > 0) {
    needs.push(
      `channel ${channel} points to ${target.version}, which lacks ${inWords(target.missing)}: nobody gets it`,
    );
  }
  needs.push(...misplaced.map(({ text }) => text));
  const { updates_stopped: stop } = group;
  if (stop !== null) {
    needs.push(
      `safe mode has stopped updates since ${shortTime(stop.since)}: ${stop.reason} with ${stop.version}; ` +
        `turnout groups resume-updates lets them go on`,
    );
  }
  const { total = 0, some = [] } = asked?.shared_machine_ids ?? {};
  if (total > 0) {
    const which = `${some.join(", ")}${total > some.length ? ", …" : ""}`;
    needs.push(
      `${several(total, "machine id")} (${which}) ${total === 1 ? "is" : "are"} shared by two machines or more, which get no update; ` +
        "turnout nodes list --shared-id",
    );
  }
  return needs.map((need) => `${group.name}: ${need}`);
}

function needsOfRollout({ state, awaits_approval: awaits, next, health, ramp, counters }: Rollout): string[] {
  if (state === "halted" || state === "paused" || awaits)
    return [`is ${state}, and waits for ${next?.on ?? "a person"}`];
  if (ramp !== null && ramp.exposed >= ramp.limit && counters.in_flight === 0) {
    return [`has used up its ramp: ${ramp.exposed} nodes came to a bad end, and nothing more is granted until one comes through or a person resumes it`]; // biome-ignore format: one line
  }
  const closed = health.closed.filter(({ only_watched: watched }) => !watched);
  return closed.map(({ slice, why }) => `is closed for ${slice} (${why}) until a person resumes it`);
}

function described(status: Status): string {
  const { server, version, who, applications, central, sites, mirroring_servers: mirrors, needs } = status;
  const parts = [
    facts([
      ["server", `${server}, Turnout ${version}`],
      ["you", `${who.kind} "${who.name}", ${who.role}${scopeOf(who)}`],
      ...(central === null ? [] : [["central", centralFact(central)] as const]),
    ]),
    ...applications.map(({ name, groups }) => `${printable(name)}\n${groupTable(groups)}`),
  ];
  const rollouts = applications.flatMap(({ groups }) => groups.flatMap(rolloutRows));
  if (rollouts.length > 0) parts.push(table(["ROLLOUT", "GROUP", "STATE", "STAGE", "WAITS FOR"], rollouts));
  if (sites.length > 0) parts.push(siteTable(sites));
  if (mirrors.length > 0) parts.push(mirrorTable(mirrors));
  parts.push(needs.length === 0 ? "all is well\n" : needs.map((need) => `! ${printable(need)}\n`).join(""));
  return parts.join("\n");
}

function scopeOf({ applications, groups }: Principal): string {
  if (groups !== null) return `, changes ${several(groups.length, "group")}`;
  return applications === null ? "" : ` of ${several(applications.length, "application")}`;
}

function groupTable(groups: readonly GroupStatus[]): string {
  if (groups.length === 0) return "no groups\n";
  const rows = groups.map(
    ({ name, channel, version, updates_enabled: enabled, updates_stopped_by: stoppedBy, nodes }) => [
      name,
      channel === null ? null : `${channel} → ${version ?? "nothing"}${updatesText(enabled, stoppedBy)}`,
      nodes.total,
      nodes.complete,
      nodes.update_granted + nodes.downloading + nodes.downloaded + nodes.installed,
      nodes.onhold,
      nodes.error,
    ],
  );
  return table(["GROUP", "CHANNEL", "NODES", "COMPLETE", "UNDER WAY", "ON HOLD", "FAILED"], rows);
}

function updatesText(enabled: boolean, stoppedBy: GroupStatus["updates_stopped_by"]): string {
  if (stoppedBy !== null) return ", updates stopped";
  return enabled ? "" : ", updates off";
}

function rolloutRows({ name, rollouts }: GroupStatus): string[][] {
  return rollouts.map(({ version, state, stage, stages, next }) => {
    const until = next?.not_before ? `, not before ${shortTime(next.not_before)}` : "";
    return [version, name, state, `${stage} of ${stages.length}`, next === null ? "" : `${next.on}${until}`];
  });
}
