/** `turnout simulate`: what a rollout would do, on virtual time; nothing is changed anywhere. */
import { Command, InvalidArgumentError, Option } from "commander";
import {
  type ForecastDocument,
  type ForecastView,
  forecastSchema,
  MAX_NODES,
  madeUpNodes,
  NO_LIMITS,
  planOf,
  toForecastView,
} from "../forecast/document.ts";
import { makeUp } from "../forecast/nodes.ts";
import { simulate } from "../forecast/simulation.ts";
import type { StrategyDocument } from "../rollout/strategy.ts";
import { Api, ApiError, acting, appOption, jsonOption, serverOption } from "./api.ts";
import { curve } from "./curve.ts";
import { EXIT } from "./exit-codes.ts";
import { groupArchOption, groupPath } from "./naming.ts";
import { span } from "./span.ts";
import { presetOption, readStrategyFile } from "./strategy-file.ts";
import { printJson, shortTime, table } from "./terminal.ts";

interface Options {
  readonly group?: string;
  readonly arch?: number;
  readonly server: string;
  readonly app: string;
  readonly strategy?: string;
  readonly preset?: string;
  readonly nodes?: number;
  readonly oem?: string[];
  readonly from?: string;
  readonly to?: string;
  readonly poll?: string;
  readonly download?: string;
  readonly install?: string;
  readonly reboot?: string;
  readonly fail: string[];
  readonly die: string[];
  readonly fallBack: string[];
  readonly dieLater: string[];
  readonly fallBackLater: string[];
  readonly later?: string;
  readonly startAt?: string;
  readonly for?: string;
  readonly approveAfter?: string;
  readonly seed?: string;
  readonly json?: true;
}

export function simulateCommand(): Command {
  return new Command("simulate")
    .description("forecast a rollout: when its stages open, and how far a bad release would get")
    .option(
      "--group <group>",
      "with this group's nodes, policy and strategy, asked of the server; without: made up, here",
    )
    .addOption(groupArchOption())
    .addOption(appOption())
    .addOption(serverOption())
    .option("--strategy <file>", "a strategy as YAML or JSON")
    .addOption(presetOption("a strategy that comes along (default: careful; of a group: its own)"))
    .option("--nodes <n>", "how many to make up (default: 10000; of a group: those it has)", count)
    .option("--oem <list>", "OEMs of made-up nodes, spread evenly, e.g. azure,vmware", (text) => text.split(","))
    .option("--from <version>", "what made-up nodes run at first")
    .option("--to <version>", "what is rolled out (of a group: what its channel points to)")
    .option("--poll <duration>", "between two checks (default: 45m)")
    .option("--download <duration>", "what a download takes (default: 4m)")
    .option("--install <duration>", "what installing takes (default: 1m)")
    .option("--reboot <duration>", "how long an installed update waits for the reboot (default: 2m)")
    .addOption(rules("--fail", "SHARE%:CODE[,oem=OEM]: nodes that fail with this code (repeatable)"))
    .addOption(rules("--die", "SHARE%[,oem=OEM]: nodes never heard of after the reboot (repeatable)"))
    .addOption(rules("--fall-back", "like --die: nodes that come back on their old version"))
    .addOption(rules("--die-later", "like --die: nodes that come up with it, and die some time later"))
    .addOption(rules("--fall-back-later", "like --die: nodes that come up with it, and fall back some time later"))
    .option("--later <duration>", "how much later (default: 1h)")
    .option("--start-at <time>", "e.g. 2026-03-04T22:00:00Z (default: now)")
    .option("--for <duration>", "ends after this time, finished or not (default: 30d)")
    .option("--approve-after <duration>", "how long a person takes to open a stage, or never (default: 1h)")
    .option("--seed <text>", "the same seed has the same nodes go first, and the same ones fail")
    .addOption(jsonOption())
    .addHelpText("after", HELP)
    .action(acting(run));
}

const HELP = `
Exit code: 0 the rollout completes, ${EXIT.halted} it is halted or paused, ${EXIT.noEnd} it does not come to an end.
For example, how far a release gets whose nodes do not come back from the reboot:

  turnout simulate --preset careful --nodes 10000 --die 100%
`;

async function run(options: Options): Promise<void> {
  const document = documentOf(options);
  const view = options.group === undefined ? here(document) : await there(options.group, document, options);
  if (options.json) printJson(view);
  else process.stdout.write(described(view));
  if (view.end !== "completed")
    process.exitCode = view.end === "halted" || view.end === "paused" ? EXIT.halted : EXIT.noEnd;
}

/** What the options say, as the API would be asked. */
function documentOf(options: Options): ForecastDocument {
  if (options.strategy !== undefined && options.preset !== undefined) {
    throw new ApiError("--strategy and --preset exclude each other");
  }
  const strategy = options.strategy === undefined ? undefined : readStrategyFile(options.strategy);
  const preset = options.preset === undefined ? undefined : ({ preset: options.preset } as StrategyDocument);
  const approveAfter = options.approveAfter === "never" ? null : options.approveAfter;
  const given: Partial<Record<keyof ForecastDocument, unknown>> = {
    version: options.to,
    strategy: strategy ?? preset,
    nodes: options.nodes,
    oems: options.oem,
    from_version: options.from,
    poll_interval: options.poll,
    download: options.download,
    install: options.install,
    reboot: options.reboot,
    fail: options.fail,
    die: options.die,
    fall_back: options.fallBack,
    die_later: options.dieLater,
    fall_back_later: options.fallBackLater,
    later: options.later,
    start_at: options.startAt,
    for: options.for,
    approve_after: approveAfter,
    seed: options.seed,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as ForecastDocument;
}

function here(document: ForecastDocument): ForecastView {
  const parsed = forecastSchema.safeParse({ nodes: 10_000, strategy: { preset: "careful" }, ...document });
  if (!parsed.success) {
    throw new ApiError(parsed.error.issues.map(({ path, message }) => `${optionOf(path)}: ${message}`).join("; "));
  }
  const plan = planOf(parsed.data, { version: "4230.2.1", strategy: {}, policy: NO_LIMITS, now: Date.now() });
  const nodes = makeUp(madeUpNodes(parsed.data, plan), plan.seed);
  return toForecastView(simulate({ ...plan, nodes }));
}

const OPTIONS: Readonly<Record<string, string>> = { version: "--to", from_version: "--from", poll_interval: "--poll", oems: "--oem" }; // biome-ignore format: one line

function optionOf([field]: readonly PropertyKey[]): string {
  const name = String(field);
  return OPTIONS[name] ?? `--${name.replaceAll("_", "-")}`;
}

async function there(group: string, document: ForecastDocument, { server, app, arch }: Options): Promise<ForecastView> {
  const api = new Api(server);
  return api.call("POST", `${await groupPath(api, app, group, { arch })}/rollouts/simulate`, document);
}

function described(view: ForecastView): string {
  const start = Date.parse(view.starts_at);
  const after = (iso: string | null): string | null => (iso === null ? null : span(Date.parse(iso) - start));
  const head = ["STAGE", "SHARE", "OPENS AFTER", "UPDATED AFTER", "NODES", "OFFERED", "COMPLETE", "BAD"];
  const stages = view.stages.map((stage) => [
    stage.number,
    `${stage.percent} %${stage.matched ? " of some" : ""}`,
    after(stage.opened_at),
    after(stage.finished_at),
    stage.eligible,
    stage.granted,
    stage.complete,
    stage.bad,
  ]);
  const history = view.history.map(({ at, state, stage, reason }) => [after(at), state, stage, reason]);
  return [
    `${view.version} to ${view.nodes} nodes, from ${shortTime(view.starts_at)}\n${sentence(view)}\n`,
    table(head, stages),
    curve(view),
    table(["AFTER", "STATE", "STAGE", "WHY"], history),
  ].join("\n");
}

function sentence(view: ForecastView): string {
  const time = span(Date.parse(view.ends_at) - Date.parse(view.starts_at));
  const share = ((view.reached * 100) / view.nodes).toFixed(view.reached * 10 < view.nodes ? 2 : 1);
  const downloads =
    view.most_downloads === null ? "" : `. The server serves the files to ${view.most_downloads} nodes at a time`;
  const gate = view.broken_at_halt === null ? "" : ` (${view.broken_at_halt} when the gate closed)`;
  const silent = view.silent === 0 ? "" : `, ${view.silent} of which die later`;
  return `${ENDS[view.end]} ${time}: ${view.reached} nodes were offered it (${share} %), ${view.complete} have it${silent}, ${view.broken} came to a bad end${gate}; at most ${view.peak_in_flight} at once${downloads}`;
}

const ENDS: Readonly<Record<ForecastView["end"], string>> = {
  completed: "completed after",
  halted: "halted; all is over after",
  paused: "paused; all is over after",
  "waiting for approval": "waits for a person, after",
  "waiting for nodes": "waits for the first node of a stage that includes none, after",
  "updates turned off": "updates are turned off, after",
  "time over": "not finished after",
};

function count(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) < 1 || Number(text) > MAX_NODES) {
    throw new InvalidArgumentError(`Write a whole number from 1 to ${MAX_NODES}.`);
  }
  return Number(text);
}

function rules(name: string, description: string): Option {
  return new Option(`${name} <rule>`, description)
    .argParser((text, before: readonly string[]) => [...before, text])
    .default([], "none");
}
