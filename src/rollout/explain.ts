/**
 * The decision that a node would get now, in plain words. It asks `decide` itself, with what the node said last: there is no
 * second implementation of any rule, only of its wording. Changes nothing.
 */
import { decide } from "./decide.ts";
import type { CheckIn } from "./model/check-in.ts";
import type { Group } from "./model/configuration.ts";
import type { Counters } from "./model/counters.ts";
import type { Fleet } from "./model/fleet.ts";
import type { Node } from "./model/node.ts";
import type { Outcome, Reason, TraceStep } from "./model/outcome.ts";
import { NO_LIMITS, type ServerFacts } from "./model/server.ts";

export interface ExplainedStep {
  readonly rule: string;
  readonly verdict: TraceStep["verdict"];
  /** In plain words. */
  readonly text: string;
  readonly facts: TraceStep["facts"];
}

export interface Explanation {
  readonly reason: Reason;
  /** The version that it would be offered; null: none. */
  readonly offered: string | null;
  /** The last word, in plain words. */
  readonly text: string;
  /** When the decision could change by itself, at the earliest; null: nobody knows. */
  readonly until: number | null;
  readonly steps: readonly ExplainedStep[];
}

/** What update_engine would send now, as far as the node has told us about itself. */
export function nextCheckIn(node: Node, group: Group, appId: string): CheckIn {
  return {
    appId,
    version: node.version,
    // By id, so that it is this very group whatever else has the same track.
    track: group.id,
    machineId: node.id,
    machineAlias: node.machineAlias,
    bootId: node.bootId,
    oem: node.oem,
    oemVersion: node.oemVersion,
    alephVersion: node.alephVersion,
    arch: node.arch,
    ping: true,
    updateCheck: true,
    targetVersionPrefix: "",
    events: [],
    onDemand: false,
    syncer: false,
    multiManifest: false,
    updateEngine: true,
    brokenQuotes: node.brokenQuotes,
  };
}

export function explain(
  fleet: Fleet,
  node: Node,
  checkIn: CheckIn,
  counters: Counters,
  now: number,
  server: ServerFacts = NO_LIMITS,
): Explanation {
  const outcome = decide(fleet, node, checkIn, node.ip, counters, now, server);
  const steps = outcome.trace.map(({ rule, verdict, facts }) => ({
    rule,
    verdict,
    text: word(rule, verdict, facts),
    facts,
  }));
  return {
    reason: outcome.reason,
    offered: outcome.offer?.manifests.at(-1)?.package.version ?? null,
    text: conclusion(outcome, steps),
    until: outcome.trace.at(-1)?.until ?? null,
    steps,
  };
}

function conclusion(outcome: Outcome, steps: readonly ExplainedStep[]): string {
  const version = outcome.offer?.manifests.at(-1)?.package.version;
  if (version !== undefined) {
    return outcome.reason === "offered-again" ? `it is offered ${version} again` : `it is offered ${version}`;
  }
  return steps.findLast(({ verdict }) => verdict === "stop")?.text ?? "it has asked for nothing";
}

type Wording = (facts: Readonly<Record<string, unknown>>, holds: boolean) => string;

/** How each rule speaks. `holds`: it lets the node pass. */
const WORDS: Readonly<Record<string, Wording>> = {
  "application known": ({ appId }, holds) =>
    holds ? `the application ${appId} is known` : `there is no application ${appId}`,
  "group found": ({ track, group, byHand }, holds) => {
    if (!holds) return `no group has the track "${track}"`;
    return `it is in group "${group}"${byHand ? ": a person has put it there, whatever its track" : ""}`;
  },
  "machine id and version valid": (_, holds) =>
    holds ? "its id and version can be read" : "its id or version can't be read",
  "group for its architecture": ({ node, group, track, byHand }, holds) => {
    if (holds) return `the group has updates for ${node}`;
    const differs = `its group is for ${group}, and it is ${node}`;
    return byHand
      ? `${differs}: a person has put it there, and has to move it elsewhere or back by its track`
      : `${differs}: a group with the track "${track}" and a channel for ${node} would take it`;
  },
  "package to install": ({ channel }, holds) =>
    holds
      ? `channel "${channel}" points to a package`
      : `${channel === null ? "the group follows no channel" : `channel "${channel}" points to no package`}`,
  "version taken back": ({ version, to }, holds) =>
    holds ? `${version} is taken back: it goes to ${to}` : `${version} is taken back, but it did not get it from here`,
  "below the target": ({ version, target, same }, holds) => {
    if (holds) return `it runs ${version}; the target is ${target}`;
    if (same !== true) return `it runs ${version}, and the target is ${target}: nothing to do`;
    return `it runs ${version}, which counts as the same version as the target, ${target}: they differ in build metadata only`;
  },
  "machine id of its own": ({ since }) =>
    `two machines or more report with this machine id since ${time(since)}: none of them is updated until each has an id of its own (a new /etc/machine-id on all but one)`,
  "not waiting for its reboot": (_, holds) =>
    holds ? "it is not waiting for a reboot" : "it has installed the update and waits for its reboot",
  architecture: ({ node, package: wanted }, holds) =>
    holds
      ? "the package is for its architecture"
      : `the package is for another architecture (${wanted}, the node's is ${node})`,
  "not blacklisted": ({ channel, package: version }, holds) =>
    holds
      ? `${version ?? "it"} may be offered in channel "${channel}"`
      : `${version ?? "a package"} is blacklisted in channel "${channel}"`,
  "package complete": ({ package: version, missing }, holds) =>
    holds ? `${version} lacks nothing` : `${version} is incomplete: it lacks ${missing}`,
  "files to be had": ({ package: version }, holds) =>
    holds
      ? `the files of ${version} can be downloaded`
      : `the files of ${version} are to come from this server only, and not all of them are here`,
  "target version prefix": ({ prefix, target }, holds) =>
    holds
      ? "the node accepts this version"
      : `the node asks only for versions that begin with ${prefix}, the target is ${target}`,
  "rollout exists": ({ version }, holds) =>
    holds ? `there is a rollout of ${version}` : `there is no rollout of ${version} in this group`,
  "rollout running": ({ state, waitsFor, until }, holds) => {
    if (holds) return `the rollout is ${state}`;
    return waitsFor === undefined
      ? `the rollout is ${state}`
      : `the rollout has not started: it waits for ${waitsFor}${from(until)}`;
  },
  "may try again": ({ attempt, max, at, hadCompleted }, holds) => {
    if (hadCompleted) {
      const again = "it had completed this update, and runs an older version again";
      return `${again}; it may be offered it once more${holds ? "" : from(at)}`;
    }
    if (holds) return `it has failed before (try ${attempt} of ${max}), and may try again`;
    return at === null
      ? `it has failed ${attempt} times: a person has to let it try again`
      : `it has failed (try ${attempt} of ${max}); it may try again${from(at)}`;
  },
  "updates enabled": ({ group }, holds) =>
    holds ? `updates are enabled in group "${group}"` : `updates are disabled in group "${group}"`,
  "not stopped by safe mode": ({ group, since, why, version }) =>
    `safe mode has stopped the updates of group "${group}" since ${time(since)}: ${why} with ${version}; a person has to resume them (resume-updates)`,
  freeze: ({ reason, until }, holds) =>
    holds ? "no freeze holds now" : `a freeze holds${reason ? ` (${reason})` : ""} until ${time(until)}`,
  "maintenance window": ({ timezone, until }, holds) =>
    holds
      ? `a maintenance window is open (${timezone})`
      : `no maintenance window is open (${timezone}); the next opens at ${time(until)}`,
  "office hours": ({ timezone, until }, holds) =>
    holds
      ? `it is within office hours (${timezone})`
      : `it is outside office hours (${timezone}); they begin at ${time(until)}`,
  stage: ({ stage, of, percent, percentile, nodeStage, awaitsNodes, until }, holds) => {
    if (holds) return `stage ${stage} of ${of} includes this node (it is at ${fixed(percentile)})`;
    const now = `stage ${stage} of ${of} takes percentiles below ${fixed(percent)}; this node is at ${fixed(percentile)}`;
    if (awaitsNodes) return `${now}; the stage waits for its first node`;
    if (nodeStage === null) return `${now}, and no stage includes it`;
    if (nodeStage === stage) return `${now}; the stage reaches it at ${time(until)}`;
    return `${now}; stage ${nodeStage} opens ${until == null ? "when a person says so" : `not before ${time(until)}`}`;
  },
  "not held by hand": ({ by, why, since }) => `${by} has held it since ${time(since)}: ${why}`,
  "safe mode: first node": ({ complete, inFlight }, holds) =>
    holds
      ? `safe mode: ${complete === 0 ? "it is the first node" : `${complete} ${complete === 1 ? "node has" : "nodes have"} completed`}`
      : `safe mode: ${inFlight} node goes first, and has not completed yet`,
  "in flight": ({ inFlight, limit }, holds) =>
    holds
      ? `${inFlight} updates are in flight in the group, fewer than ${limit}`
      : `${inFlight} updates are in flight in the group; the limit is ${limit}`,
  "in flight of this rollout": ({ inFlight, limit }, holds) =>
    holds
      ? `${inFlight} updates of this rollout are in flight, fewer than ${limit}`
      : `${inFlight} updates of this rollout are in flight; the limit is ${limit}`,
  ramp: ({ exposed, limit, more, slice }, holds) => {
    const where = slice === undefined ? "" : ` of ${slice}`;
    const standing = `${exposed} of ${limit} nodes${where} are exposed to the release (in flight, or failed)`;
    return holds ? `ramp: ${standing}` : `ramp: ${standing}; ${more} more may go when one of them has come back well`;
  },
  "granted this period": ({ granted, limit, until }, holds) =>
    holds
      ? `${granted} updates were granted this period, fewer than ${limit}`
      : `${granted} updates were granted this period; the limit is ${limit}, the next slot opens at ${time(until)}`,
  downloads: ({ fetching, limit }, holds) =>
    holds
      ? `${fetching} nodes are to fetch files from this server, fewer than ${limit}`
      : `${fetching} nodes are to fetch files from this server, which serves ${limit} at a time; its next check may get a place, as soon as one of them is through`,
  "health gate": ({ slice, why }, holds) => {
    if (holds) return "the health gate is open";
    return slice === undefined ? `the health gate is closed: ${why}` : `the health gate is closed for ${slice}: ${why}`;
  },
};

function word(rule: string, verdict: TraceStep["verdict"], facts: TraceStep["facts"]): string {
  if (verdict === "skip" && Object.keys(facts).length === 0) return "not in force";
  return WORDS[rule]?.(facts, verdict !== "stop") ?? rule;
}

function from(until: unknown): string {
  return until == null ? "" : `, not before ${time(until)}`;
}

function time(at: unknown): string {
  return typeof at === "number" ? new Date(at).toISOString().replace(/:\d\d\.\d{3}Z$/, "Z") : "an unknown time";
}

function fixed(percent: unknown): string {
  return typeof percent === "number" ? String(Math.round(percent * 10) / 10) : "?";
}
