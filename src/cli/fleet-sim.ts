/** `turnout fleet-sim`: a fleet of virtual nodes, asking a server as update_engine does. */
import { SingleBar } from "cli-progress";
import { Command, InvalidArgumentError, Option } from "commander";
import { parseDuration } from "../rollout/interval.ts";
import { parseRule, type Rule } from "../virtual/behaviour.ts";
import { FleetError, runFleet } from "../virtual/fleet.ts";
import { FLATCAR_APP_ID } from "../virtual/options.ts";
import type { FleetReport, Progress } from "../virtual/statistics.ts";

interface Options {
  readonly server: string;
  readonly nodes: number;
  readonly version: string;
  readonly track: string;
  readonly oem: readonly string[];
  readonly board: string;
  readonly app: string;
  readonly poll: number;
  readonly jitter: number;
  readonly download: number;
  readonly fetch?: true;
  readonly install: number;
  readonly reboot: number;
  readonly speed: number;
  readonly fail: readonly Rule[];
  readonly die: readonly Rule[];
  readonly fallBack: readonly Rule[];
  readonly untilVersion?: string;
  readonly for: number;
  readonly connections: number;
  readonly seed: string;
  readonly json?: true;
}

const SHOWN_WIDTH = 24;

export function fleetSimCommand(): Command {
  return new Command("fleet-sim")
    .description("let a fleet of virtual nodes live through an update, on compressed time")
    .option("--server <url>", "where the nodes ask", url, "http://127.0.0.1:8000/v1/update/")
    .option("--nodes <n>", "how many there are", count(1_000_000), 100)
    .option("--version <version>", "what they run at first", "4081.2.0")
    .option("--track <track>", "the group that they name", "stable")
    .addOption(
      new Option("--oem <list>", "their OEMs, spread evenly, e.g. azure,vmware")
        .argParser((text) => text.split(","))
        .default(["azure"], "azure"),
    )
    .option("--board <board>", "amd64-usr or arm64-usr", board, "amd64-usr")
    .option("--app <id>", "the application that they ask for", FLATCAR_APP_ID)
    .addOption(interval("--poll", "between two checks", "45m", 1000))
    .addOption(interval("--jitter", "more or less than that, at most", "5m"))
    .addOption(interval("--download", "what a download takes (nothing is downloaded)", "4m"))
    .option("--fetch", "really download the files, with ranges, and check their hashes; they take what they take")
    .addOption(interval("--install", "what installing takes", "1m"))
    .addOption(interval("--reboot", "how long an installed update waits for the reboot", "2m"))
    .option("--speed <factor>", "virtual seconds for a real one; max: as fast as answers come", speed, 600)
    .addOption(rules("--fail", "SHARE%:CODE[@VERSION][,oem=OEM]: nodes that fail with this code (repeatable)", "fails"))
    .addOption(rules("--die", "SHARE%[@VERSION][,oem=OEM]: nodes never heard of after the reboot (repeatable)", "dies"))
    .addOption(rules("--fall-back", "like --die: nodes that come back on their old version", "falls-back"))
    .option("--until-version <version>", "wait for this version, not for the newest offered")
    .addOption(interval("--for", "ends after this virtual time, settled or not", "6h", 1000))
    .option("--connections <n>", "to the server at the same time", count(10_000), 50)
    .option("--seed <text>", "the same seed makes the same machines", "1")
    .option("--json", "print only the figures, as JSON")
    .addHelpText("after", HELP)
    .action(run);
}

const HELP = `
It ends when every node that can has the newest version that was offered, and is idle; or after --for. Ctrl-C ends it early.
Durations: 30s 15m 2h 1d. Rules are for every release and OEM, or for those named; of one node, the first in the order
fail, die, fall-back counts. For example, a release that breaks a fifth of the nodes on Azure and kills one in a hundred:

  turnout fleet-sim --nodes 1000 --oem azure,vmware --fail 20%:10@4230.2.1,oem=azure --die 1%@4230.2.1
`;

async function run(options: Options): Promise<void> {
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  process.once("SIGINT", interrupt);
  const bar = options.json === undefined && process.stderr.isTTY ? progressBar(options.nodes) : null;
  try {
    const report = await runFleet({
      server: options.server,
      nodes: options.nodes,
      version: options.version,
      appId: options.app,
      track: options.track,
      oems: options.oem,
      board: options.board,
      timing: {
        pollMs: options.poll,
        jitterMs: options.jitter,
        downloadMs: options.download,
        installMs: options.install,
        rebootMs: options.reboot,
      },
      fetch: options.fetch === true,
      speed: options.speed,
      rules: [...options.fail, ...options.die, ...options.fallBack],
      connections: options.connections,
      seed: options.seed,
      untilVersion: options.untilVersion ?? null,
      forMs: options.for,
      signal: interrupted.signal,
      ...(bar === null ? {} : { onProgress: bar.update }),
    });
    bar?.stop();
    process.stdout.write(options.json === undefined ? summary(report) : `${JSON.stringify(report, null, 2)}\n`);
  } catch (error) {
    bar?.stop();
    if (!(error instanceof FleetError)) throw error;
    process.stderr.write(`fleet-sim: ${error.message}\n`);
    process.exitCode = 1;
  } finally {
    process.off("SIGINT", interrupt);
  }
}

function progressBar(nodes: number) {
  const bar = new SingleBar({
    format: "{bar} {value}/{total} settled | {virtual} | {requests} requests | {nodes}",
    hideCursor: true,
    clearOnComplete: true,
    barsize: 20,
  });
  bar.start(nodes, 0, { virtual: "", requests: 0, nodes: "" });
  return {
    update({ settled, atMs, requests, byStatus }: Progress) {
      bar.update(settled, { virtual: duration(atMs), requests, nodes: listed(byStatus) });
    },
    stop: () => bar.stop(),
  };
}

function summary(report: FleetReport): string {
  const { requests, latencyMs, downloads } = report;
  const end = { settled: "all nodes settled", "time over": "the time was over", interrupted: "interrupted" };
  const target = report.target === null ? "no update was offered" : `${report.onTarget} on ${report.target}`;
  const lines: (readonly [string, string])[] = [
    ["end", `${end[report.end]} (${report.settled} of ${report.nodes})`],
    ["nodes", `${report.nodes}, ${target}`],
    ...rows("  by state", report.byStatus),
    ...rows("  by version", report.byVersion),
    ["requests", `${requests.total} (${requests.checks} checks, ${requests.pings} pings, ${requests.events} events)`],
    ...rows("  by answer", report.answers),
    ...(downloads.files === 0 ? [] : [["downloads", fetched(downloads)] as const]),
    ["requests/s", report.requestsPerSecond.toFixed(0)],
    ["latency", `p50 ${latencyMs.p50.toFixed(1)} ms, p99 ${latencyMs.p99.toFixed(1)} ms`],
    ["virtual duration", duration(report.virtualMs)],
    ["real duration", `${(report.realMs / 1000).toFixed(1)} s`],
  ];
  return lines.map(([name, value]) => `${name.padEnd(SHOWN_WIDTH)}${value}\n`).join("");
}

function fetched({ files, failed, resumed, bytes }: FleetReport["downloads"]): string {
  return `${files} (${failed} failed, ${resumed} gone on with), ${(bytes / 1e6).toFixed(1)} MB`;
}

function rows(title: string, counts: Readonly<Record<string, number>>): (readonly [string, string])[] {
  return Object.entries(counts).map(([name, value], index) => [index === 0 ? title : "", `${name}: ${value}`]);
}

function listed(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, value]) => `${value} ${name}`)
    .join(", ");
}

/** e.g. 1h 05m 30s */
function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}h ${two(Math.floor(seconds / 60) % 60)}m ${two(seconds % 60)}s`;
}

/** @param shortest milliseconds */
function interval(name: string, description: string, otherwise: string, shortest = 0): Option {
  const parse = (text: string): number => {
    const value = parseDuration(text);
    if (value === null) throw new InvalidArgumentError("Write a duration, e.g. 30s, 15m, 2h or 1d.");
    if (value < shortest) throw new InvalidArgumentError(`The shortest is ${shortest / 1000}s.`);
    return value;
  };
  return new Option(`${name} <duration>`, description).argParser(parse).default(parse(otherwise), otherwise);
}

function count(max: number) {
  return (text: string): number => {
    if (!/^\d+$/.test(text) || Number(text) < 1 || Number(text) > max) {
      throw new InvalidArgumentError(`Write a whole number from 1 to ${max}.`);
    }
    return Number(text);
  };
}

function speed(text: string): number {
  if (text === "max") return Number.POSITIVE_INFINITY;
  if (!/^\d+(\.\d+)?$/.test(text) || Number(text) === 0) {
    throw new InvalidArgumentError('Write a number of virtual seconds for a real one, e.g. 600, or "max".');
  }
  return Number(text);
}

function url(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new InvalidArgumentError("Write a whole address, e.g. http://127.0.0.1:8000/v1/update/.");
  }
  return text;
}

function board(text: string): string {
  if (text !== "amd64-usr" && text !== "arm64-usr") throw new InvalidArgumentError("Write amd64-usr or arm64-usr.");
  return text;
}

function rules(name: string, description: string, kind: "fails" | "dies" | "falls-back"): Option {
  const none: readonly Rule[] = [];
  return new Option(`${name} <rule>`, description)
    .argParser((text, before: readonly Rule[]) => {
      try {
        return [...before, parseRule(text, kind)];
      } catch (error) {
        throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
      }
    })
    .default(none, "none");
}
