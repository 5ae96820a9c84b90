/** `turnout rollouts`: how a group's rollouts stand, and steering them. */
import { Command, Option } from "commander";
import {
  Api,
  ApiError,
  type AppOptions,
  acting,
  appOption,
  groupOption,
  jsonOption,
  type ServerOptions,
  serverOption,
} from "./api.ts";
import { groupArchOption, groupPath } from "./naming.ts";
import { presetOption, readStrategyFile } from "./strategy-file.ts";
import { counted, facts, printJson, say, shortTime, table } from "./terminal.ts";

interface Stage {
  readonly number: number;
  readonly state: string;
  readonly percent?: number;
  readonly percent_now?: number;
  readonly match?: object;
  readonly eligible: number | null;
  readonly counters: Readonly<Record<string, number>>;
}

interface RolloutView {
  readonly id: string;
  readonly version: string;
  readonly undoes: string | null;
  readonly state: string;
  readonly revision: number;
  readonly stage: number;
  readonly next: { readonly on: string; readonly not_before: string | null } | null;
  readonly stages: readonly Stage[];
  readonly counters: Readonly<Record<string, number>>;
  readonly failed_by_cause: Readonly<Record<string, number>>;
  readonly health: {
    readonly breach: string | null;
    readonly silent: number;
    readonly silence: {
      readonly nodes: number;
      readonly silent: number;
      readonly against: string;
      readonly other_nodes: number;
      readonly other_silent: number;
    } | null;
    readonly closed: readonly { readonly slice: string; readonly why: string; readonly only_watched: boolean }[];
  };
  readonly ramp: { readonly exposed: number; readonly limit: number } | null;
  readonly created_ts: string;
  readonly history: readonly {
    readonly created_ts: string;
    readonly to_state: string;
    readonly actor: string;
    readonly reason: string;
  }[];
}

interface Failures {
  readonly total: number;
  readonly instances: readonly {
    readonly id: string;
    readonly alias: string;
    readonly oem: string;
    readonly version: string;
    readonly failure: string | null;
    readonly error_code: number | null;
    readonly attempt: number | null;
    readonly since: string;
  }[];
}

interface GroupOptions extends AppOptions {
  readonly group: string;
  readonly arch?: number;
}
interface ActionOptions extends GroupOptions {
  readonly reason?: string;
  readonly revision?: string;
  readonly rollback?: true;
  readonly to?: string;
  readonly node?: readonly string[];
}
interface PlanOptions extends GroupOptions {
  readonly strategy?: string;
  readonly preset?: string;
  readonly startAt?: string;
  readonly reason?: string;
}

const ACTIONS: Readonly<Record<string, string>> = {
  pause: "grant no more until it is resumed",
  resume: "go on; what failed so far is known to the gate from now on, and closed slices are opened",
  advance: "start a scheduled rollout, or open the next stage, without waiting",
  halt: "stop it like the health gate does",
  abort: "end it; with --rollback, take its version back from the nodes that have it",
  "retry-failed": "let failed nodes try again with their next check",
};

export function rolloutsCommand(): Command {
  const command = new Command("rollouts").description("how a group's rollouts stand, and steering them");
  const sub = (name: string, description: string) =>
    command
      .command(name)
      .description(description)
      .addOption(groupOption())
      .addOption(groupArchOption())
      .addOption(appOption())
      .addOption(serverOption())
      .addOption(jsonOption());
  sub("list", "the group's rollouts, the newest first").action(acting(list));
  sub("show", "one rollout: its stages, what comes next, its history")
    .argument("[id]", "the newest one when left out")
    .action(acting(show));
  sub("create", "roll out what the group's channel points to, with a strategy of its own")
    .addOption(strategyOption())
    .addOption(presetOption("or a strategy that comes along"))
    .option("--start-at <time>", "e.g. 2026-03-04T22:00:00Z")
    .option("--reason <text>", "for the history")
    .action(acting(create));
  sub("set", "change the stages of a rollout that have not opened yet")
    .argument("[id]", "the newest one when left out")
    .addOption(strategyOption().makeOptionMandatory())
    .option("--reason <text>", "for the history")
    .action(acting(set));
  sub("failures", "the nodes that have failed, and on what")
    .argument("[id]", "of the newest rollout when left out")
    .action(acting(failures));
  for (const [name, description] of Object.entries(ACTIONS)) {
    const action = sub(name, description)
      .argument("[id]", "the newest one when left out")
      .option("--reason <text>", "for the history")
      .option("--revision <n>", "only if the rollout is still as it was shown")
      .action(acting((id: string | undefined, options: ActionOptions) => act(name, id, options)));
    if (name === "abort") {
      action.option("--rollback", "make a rollout to the version before");
      action.option("--to <version>", "the version to go back to");
    }
    if (name === "retry-failed") action.option("--node <id...>", "only these");
  }
  return command;
}

const strategyOption = () => new Option("--strategy <file>", "a strategy as YAML or JSON");

async function list(options: GroupOptions): Promise<void> {
  const api = new Api(options.server);
  const path = await groupPath(api, options.app, options.group, options);
  const answer = await api.call<{ rollouts: readonly RolloutView[] }>("GET", `${path}/rollouts?perpage=100`);
  if (options.json) return printJson(answer);
  if (answer.rollouts.length === 0) {
    say("no rollouts yet: they are made as the group's channel comes to point to a package");
    return;
  }
  const head = ["ID", "VERSION", "STATE", "STAGE", "COMPLETE", "IN FLIGHT", "BAD", "CREATED"];
  const rows = answer.rollouts.map((one) => [
    one.id,
    versionOf(one),
    one.state,
    `${one.stage} of ${one.stages.length}`,
    one.counters.complete ?? 0,
    one.counters.in_flight ?? 0,
    badOf(one.counters),
    shortTime(one.created_ts),
  ]);
  process.stdout.write(table(head, rows));
}

function versionOf({ version, undoes }: RolloutView): string {
  return undoes === null ? version : `${version} (back from ${undoes})`;
}

function badOf(counters: Readonly<Record<string, number>>): number {
  const { failed = 0, timed_out = 0, rolled_back = 0, lost = 0, retrying = 0 } = counters;
  return failed + timed_out + rolled_back + lost + retrying;
}

async function show(id: string | undefined, options: GroupOptions): Promise<void> {
  const api = new Api(options.server);
  const view = await api.call<RolloutView>("GET", await rolloutPath(api, id, options));
  print(view, options);
}

async function failures(id: string | undefined, options: GroupOptions): Promise<void> {
  const api = new Api(options.server);
  const path = `${await rolloutPath(api, id, options)}/failures?perpage=1000`;
  const answer = await api.call<Failures>("GET", path);
  if (options.json) return printJson(answer);
  if (answer.total === 0) {
    process.stdout.write("no node has failed\n");
    return;
  }
  const head = ["NODE", "ALIAS", "OEM", "RUNS", "HOW", "CODE", "TRY", "SINCE"];
  const rows = answer.instances.map((node) => [
    node.id,
    node.alias,
    node.oem,
    node.version,
    node.failure,
    node.error_code,
    node.attempt,
    shortTime(node.since),
  ]);
  process.stdout.write(table(head, rows));
  const shown = answer.instances.length;
  if (shown < answer.total) process.stdout.write(`and ${answer.total - shown} more\n`);
}

async function rolloutPath(api: Api, id: string | undefined, { app, group, arch }: GroupOptions): Promise<string> {
  const path = `${await groupPath(api, app, group, { arch })}/rollouts`;
  if (id !== undefined) return `${path}/${encodeURIComponent(id)}`;
  const { rollouts } = await api.call<{ rollouts: readonly RolloutView[] }>("GET", `${path}?perpage=1`);
  const [newest] = rollouts;
  if (newest === undefined) throw new ApiError(`group "${group}" has no rollout yet`);
  return `${path}/${newest.id}`;
}

async function create(options: PlanOptions): Promise<void> {
  const api = new Api(options.server);
  const path = await groupPath(api, options.app, options.group, options);
  const { startAt, reason } = options;
  const strategy = await strategyOf(options);
  const body = {
    ...(strategy !== undefined && { strategy }),
    ...(startAt !== undefined && { start_at: startAt }),
    ...(reason !== undefined && { reason }),
  };
  print(await api.call<RolloutView>("POST", `${path}/rollouts`, body), options);
}

async function strategyOf({ strategy, preset }: PlanOptions): Promise<unknown> {
  if (strategy !== undefined && preset !== undefined) throw new ApiError("--strategy and --preset exclude each other");
  if (preset !== undefined) return { preset };
  return strategy === undefined ? undefined : readStrategyFile(strategy);
}

async function set(id: string | undefined, options: PlanOptions & { strategy: string }): Promise<void> {
  const api = new Api(options.server);
  const path = await rolloutPath(api, id, options);
  const { revision } = await api.call<RolloutView>("GET", path);
  const body = { ...readStrategyFile(options.strategy), revision, ...(options.reason && { reason: options.reason }) };
  print(await api.call<RolloutView>("PUT", path, body), options);
}

async function act(action: string, id: string | undefined, options: ActionOptions): Promise<void> {
  const api = new Api(options.server);
  const path = await rolloutPath(api, id, options);
  const { reason, revision, rollback, to, node } = options;
  if (revision !== undefined && !/^\d+$/.test(revision))
    throw new ApiError(`--revision: "${revision}" is not a number`);
  const body = {
    ...(reason !== undefined && { reason }),
    ...(revision !== undefined && { revision: Number(revision) }),
    ...(rollback !== undefined && { rollback }),
    ...(to !== undefined && { to }),
    ...(node !== undefined && { instances: node }),
  };
  if (action === "retry-failed") {
    const answer = await api.call<{ retried: number }>("POST", `${path}/${action}`, body);
    if (options.json) return printJson(answer);
    say(`${counted(answer.retried, "node")} may try again with their next check`);
    return;
  }
  print(await api.call<RolloutView>("POST", `${path}/${action}`, body), options);
}

function print(view: RolloutView, { json }: ServerOptions): void {
  if (json) printJson(view);
  else process.stdout.write(described(view));
}

const COUNTERS = ["granted", "in_flight", "complete", "failed", "timed_out", "rolled_back", "lost"] as const;

function described(view: RolloutView): string {
  const { next, health } = view;
  const causes = Object.entries(view.failed_by_cause).map(([code, nodes]) => `${nodes} × error ${code}`);
  const lines: (readonly [string, string])[] = [
    ["rollout", `${view.id} (revision ${view.revision})`],
    ["version", versionOf(view)],
    ["state", `${view.state}, stage ${view.stage} of ${view.stages.length}`],
  ];
  if (next !== null)
    lines.push(["next", `${next.on}${next.not_before === null ? "" : `: ${shortTime(next.not_before)}`}`]);
  if (view.ramp !== null && view.state === "running") {
    lines.push(["ramp", `${view.ramp.exposed} of ${view.ramp.limit} nodes are exposed (in flight, or failed)`]);
  }
  if (health.breach !== null) lines.push(["gate", `breached: ${health.breach}`]);
  if (health.silent > 0) lines.push(["silent", silenceOf(health)]);
  for (const { slice, why, only_watched: watched } of health.closed) {
    lines.push([watched ? "watched" : "closed", `${slice}: ${why}`]);
  }
  if (causes.length > 0) lines.push(["failed", causes.join(", ")]);
  const head = ["STAGE", "NODES", "STATE", "ELIGIBLE", ...COUNTERS.map((name) => name.toUpperCase().replace("_", " "))];
  const stages = view.stages.map((stage) => [
    stage.number,
    shareOf(stage),
    stage.state,
    stage.eligible,
    ...COUNTERS.map((name) => stage.counters[name] ?? 0),
  ]);
  const history = view.history.map((line) => [shortTime(line.created_ts), line.actor, line.to_state, line.reason]);
  return `${facts(lines)}\n${table(head, stages)}\n${table(["WHEN", "WHO", "STATE", "WHY"], history)}`;
}

/** e.g. `7 that had completed (7 of 40, and 3 of 900 others)`. */
function silenceOf({ silent, silence }: RolloutView["health"]): string {
  if (silence === null) return `${silent} that had completed`;
  const others = silence.against === "others" ? "others" : "in the worst hour of the week before";
  return `${silent} that had completed (${silence.silent} of ${silence.nodes}, and ${silence.other_silent} of ${silence.other_nodes} ${others})`;
}

function shareOf({ percent, percent_now: now, match }: Stage): string {
  const share = `${percent ?? 100} %`;
  const rising = now !== undefined && now < (percent ?? 100) ? ` (now ${now.toFixed(1)} %)` : "";
  return `${share}${rising}${match === undefined ? "" : ` of ${JSON.stringify(match)}`}`;
}
