/** Small fleets, nodes and check-ins, each with only what a test is about. */
import { applyTransition, archived, leave, standingOf } from "../../src/rollout/counters.ts";
import { decide } from "../../src/rollout/decide.ts";
import { downloadCounters } from "../../src/rollout/downloads.ts";
import { buildFleet } from "../../src/rollout/fleet.ts";
import { ARCH } from "../../src/rollout/model/arch.ts";
import type { CheckIn, OmahaEvent } from "../../src/rollout/model/check-in.ts";
import type { Channel, Group, Package, Policy } from "../../src/rollout/model/configuration.ts";
import type { Counters } from "../../src/rollout/model/counters.ts";
import type { Fleet } from "../../src/rollout/model/fleet.ts";
import type { Grant, Node } from "../../src/rollout/model/node.ts";
import type { Outcome, PastGrant } from "../../src/rollout/model/outcome.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import { NO_LIMITS } from "../../src/rollout/model/server.ts";
import { planRollouts } from "../../src/rollout/plan.ts";
import { firstRun, type Members } from "../../src/rollout/run.ts";
import { PLAIN, readStrategy, type StrategyDocument } from "../../src/rollout/strategy.ts";

export const APP_ID = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";
export const GROUP_ID = "9a2deb70-37be-4026-853f-bfdd6b347bbe";
export const NOON = Date.UTC(2026, 2, 4, 12);
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

export function aPackage(changes: Partial<Package> = {}): Package {
  const version = changes.version ?? "4230.2.1";
  return {
    no: Number(version.replaceAll(".", "")),
    id: `package-${version}`,
    applicationNo: 1,
    type: 1,
    version,
    versionOrder: "semver",
    arch: ARCH.amd64,
    urls: [`https://updates.example.org/${version}/`],
    files: [{ name: "flatcar_production_update.gz", sizeBytes: 1234, sha1: null, sha256: null }],
    action: null,
    missing: [],
    blacklistedChannelNos: [],
    ...changes,
  };
}

export const aPolicy = (changes: Partial<Policy> = {}): Policy => ({
  updatesEnabled: true,
  safeMode: false,
  officeHours: false,
  timezone: "Europe/Berlin",
  windows: [],
  freezes: [],
  periodMs: 15 * MINUTE,
  maxUpdatesPerPeriod: 999_999,
  updateTimeoutMs: HOUR,
  ...changes,
});

export const aChannel = (changes: Partial<Channel> = {}): Channel => ({
  no: 1,
  id: "channel-1",
  applicationNo: 1,
  name: "stable",
  arch: ARCH.amd64,
  package: aPackage(),
  floors: [],
  ...changes,
});

export const aGroup = (changes: Partial<Omit<Group, "policy">> & { policy?: Partial<Policy> } = {}): Group => ({
  no: 1,
  id: GROUP_ID,
  applicationNo: 1,
  name: "Stable",
  track: "stable",
  channel: aChannel(),
  updatesStopped: null,
  ...changes,
  policy: aPolicy(changes.policy),
});

/** With the rollouts that its groups ask for. */
export function aFleet(groups: readonly Group[] = [aGroup()], changes: Partial<Rollout> = {}): Fleet {
  const packages = groups.flatMap(({ channel }) =>
    [channel?.package ?? [], channel?.floors.map((floor) => floor.package) ?? []].flat(),
  );
  const rollouts = planRollouts(groups, []).create.map(({ groupNo, packageNo }, index): Rollout => {
    const target = packages.find(({ no }) => no === packageNo);
    if (target === undefined) throw new Error("a rollout of a package that no channel has");
    return {
      no: index + 1,
      id: `rollout-${index + 1}`,
      groupNo,
      package: target,
      strategy: PLAIN,
      seed: `rollout-${index + 1}`,
      undoes: null,
      groupNodes: 0,
      revision: 1,
      ...firstRun(PLAIN, null, NOON),
      ...changes,
    };
  });
  return buildFleet(1, {
    applications: [{ no: 1, id: APP_ID, productId: "io.example.flatcar", name: "Flatcar", versionOrder: "semver" }],
    groups,
    rollouts,
  });
}

/** A fleet of one group whose rollout goes by this strategy, as people write it. */
export function aStagedFleet(
  document: StrategyDocument,
  { policy = {}, ...changes }: Partial<Rollout> & { policy?: Partial<Policy> } = {},
): Fleet {
  const strategy = readStrategy(document);
  return aFleet([aGroup({ policy })], { strategy, seed: strategy.seed ?? "seed", ...changes });
}

export const anEvent = (type: number, result: number, changes: Partial<OmahaEvent> = {}): OmahaEvent => ({
  type,
  result,
  errorCode: null,
  previousVersion: "",
  ...changes,
});

/** An update check, as update_engine sends it: with a ping and an event that says nothing. */
export const aCheckIn = (changes: Partial<CheckIn> = {}): CheckIn => ({
  appId: `{${APP_ID}}`,
  version: "4081.2.0",
  track: "stable",
  machineId: "e0f3745b108f471cbd4883c6fbed8cdd",
  machineAlias: "",
  bootId: "{boot-1}",
  oem: "azure",
  oemVersion: "",
  alephVersion: "4081.2.0",
  arch: ARCH.amd64,
  ping: true,
  updateCheck: true,
  targetVersionPrefix: "",
  events: [anEvent(3, 2)],
  onDemand: false,
  syncer: false,
  multiManifest: false,
  updateEngine: true,
  brokenQuotes: false,
  ...changes,
});
export const aPing = (changes: Partial<CheckIn> = {}): CheckIn =>
  aCheckIn({ updateCheck: false, events: [], ...changes });
export const aReport = (event: OmahaEvent, changes: Partial<CheckIn> = {}): CheckIn =>
  aCheckIn({ ping: false, updateCheck: false, events: [event], ...changes });

/** What is told of a stage that has nodes. */
export const SOME: Members = { any: true, groupNodes: 0, newestAt: null };

export const noCounters = (fleet = aFleet()): Counters => ({
  rollouts: new Map(),
  groups: new Map(),
  downloads: downloadCounters(fleet, []),
});

/** Nodes that live on: what a store would do, in memory. */
export class World {
  fleet: Fleet;
  now = NOON;
  server = NO_LIMITS;
  readonly counters: Counters;
  readonly nodes = new Map<string, Node>();
  readonly pastGrants: PastGrant[] = [];
  readonly grantedAt: { groupNo: number; at: number }[] = [];

  constructor(fleet: Fleet = aFleet()) {
    this.fleet = fleet;
    this.counters = noCounters(fleet);
  }

  checkIn(checkIn: CheckIn, ip = "192.0.2.1"): Outcome {
    const { fleet, counters, now, server } = this;
    const outcome = decide(fleet, this.nodes.get(checkIn.machineId) ?? null, checkIn, ip, counters, now, server);
    this.apply(outcome.changes);
    return outcome;
  }

  apply(changes: Outcome["changes"]): void {
    for (const transition of changes.transitions) {
      applyTransition(this.counters, transition, this.fleet);
      if (transition.grants) this.grantedAt.push({ groupNo: transition.groupNo, at: transition.at });
    }
    this.pastGrants.push(...changes.pastGrants);
    if (changes.node !== null) this.nodes.set(changes.node.id, changes.node);
  }

  /** What a person sets of a node. */
  tend(care: Partial<Pick<Node, "held" | "ownGroup" | "labels">>, id: string = aCheckIn().machineId): void {
    const node = this.node(id);
    const own = this.fleet.groups.find(({ id: group }) => group === care.ownGroup);
    this.nodes.set(id, { ...node, ...care, groupNo: own?.no ?? node.groupNo });
  }

  /** A person deletes a node. */
  forget(id: string): void {
    const { grant, status } = this.node(id);
    const standing = standingOf(status, grant);
    if (standing !== null && grant !== null) {
      leave(this.counters, standing);
      this.pastGrants.push({ grant, status: archived(standing).status, endedAt: this.now });
    }
    this.nodes.delete(id);
  }

  node(id: string = aCheckIn().machineId): Node {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  grant(): Grant {
    const { grant } = this.node();
    if (grant === null) throw new Error("no grant");
    return grant;
  }
}
