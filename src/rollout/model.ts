/**
 * The words of the engine: what a fleet is configured to do (`Fleet`), what is known of a node (`Node`), what it just
 * said (`CheckIn`), and what follows (`Outcome`). Plain data, no I/O. Times are milliseconds since the epoch.
 * Source: ROLLOUTS.md, "Words".
 */

/** 0 all, 1 amd64, 2 aarch64, 3 x86: the numbers of the admin API. */
export const ARCH = { all: 0, amd64: 1, aarch64: 2, x86: 3 } as const;
export type Arch = (typeof ARCH)[keyof typeof ARCH];

/** Package types of the admin API. A Flatcar package is complete only after a reboot; any other when it is installed. */
export const PACKAGE_TYPE = { flatcar: 1, docker: 2, rkt: 3, other: 4 } as const;

/** At or above this many updates a period, a group has no limit. */
export const UNLIMITED_UPDATES = 900_000;

// ---------------------------------------------------------------------------------------------- configuration

/** Row numbers (`no`) are the store's own keys; `id` is the UUID that people and the API see. */
export interface Application {
  readonly no: number;
  readonly id: string;
  readonly productId: string | null;
  readonly name: string;
}

export interface PackageFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** base64 of SHA-1, or null where unknown. */
  readonly sha1: string | null;
  /** hexadecimal SHA-256, or null where unknown. */
  readonly sha256: string | null;
}

/** The `postinstall` action of a Flatcar package, in the API's words. `sha256` is base64. */
export interface FlatcarAction {
  readonly event: string;
  readonly chromeosVersion: string;
  readonly sha256: string;
  readonly needsAdmin: boolean;
  readonly isDelta: boolean;
  readonly disablePayloadBackoff: boolean;
  readonly metadataSignatureRsa: string;
  readonly metadataSize: string;
  readonly deadline: string;
}

export interface Package {
  readonly no: number;
  readonly id: string;
  readonly applicationNo: number;
  readonly type: number;
  readonly version: string;
  readonly arch: Arch;
  /**
   * Where the files are: every codebase, in order of preference. One that begins with `/` is below the address where this
   * server has its payloads. None: not all files are here, and nodes are to get them nowhere else.
   */
  readonly urls: readonly string[];
  /** The payload itself first, then OEM images and system extensions. Empty when the package has no file name. */
  readonly files: readonly PackageFile[];
  readonly action: FlatcarAction | null;
  /** Channels that must never offer this package. */
  readonly blacklistedChannelNos: readonly number[];
}

/** A version that no node of the channel may skip. */
export interface Floor {
  readonly package: Package;
  readonly reason: string | null;
}

export interface Channel {
  readonly no: number;
  readonly id: string;
  readonly applicationNo: number;
  readonly name: string;
  readonly arch: Arch;
  readonly package: Package | null;
  /** Ascending by version. */
  readonly floors: readonly Floor[];
}

export interface Policy {
  readonly updatesEnabled: boolean;
  readonly safeMode: boolean;
  readonly officeHours: boolean;
  readonly timezone: string;
  /** Weekly times in `timezone` when updates may start; empty: always. */
  readonly windows: readonly Window[];
  /** Ascending. Nothing starts in them. */
  readonly freezes: readonly Freeze[];
  readonly periodMs: number;
  readonly maxUpdatesPerPeriod: number;
  readonly updateTimeoutMs: number;
}

/** A weekly window on the wall clock of the group's time zone: across midnight when it ends before it starts. */
export interface Window {
  /** On which it opens: 1 Monday to 7 Sunday. */
  readonly days: readonly number[];
  /** Minutes after midnight, 0 to 1439. The same twice: a whole day. */
  readonly from: number;
  readonly to: number;
}

/** From `startsAt` up to, not including, `endsAt`. */
export interface Freeze {
  readonly startsAt: number;
  readonly endsAt: number;
  readonly reason: string;
}

export interface Group {
  readonly no: number;
  readonly id: string;
  readonly applicationNo: number;
  readonly name: string;
  readonly track: string;
  readonly channel: Channel | null;
  readonly policy: Policy;
  /** The template for its rollouts. */
  readonly strategy: Strategy;
}

// ---------------------------------------------------------------------------------------------- rollouts

/** The nodes that a stage names. What is null does not matter. */
export interface Match {
  readonly oems: readonly string[] | null;
  /** A semver range of the version that the node runs. */
  readonly versions: string | null;
  /** Bare machine ids: lower case, no braces or dashes. */
  readonly ids: readonly string[] | null;
  /** Of the alias, with `*` for any characters and `?` for one. */
  readonly alias: string | null;
  /** All of these, with these values. */
  readonly labels: Labels | null;
}

/** One step of a rollout. Its nodes are all that any stage so far includes. */
export interface Stage {
  /** Of the group's nodes, or of those that `match` names; 0 to 100. */
  readonly percent: number;
  readonly match: Match | null;
  /** The share rises linearly from that of the stage before, for this long; 0: it is open at once. */
  readonly overMs: number;
  /** How long to wait and see after its nodes have finished. */
  readonly bakeMs: number;
  /** The next stage waits for a person. */
  readonly approval: boolean;
  /** It ends after this time even if nodes have not finished; null: it waits for them. */
  readonly maxDurationMs: number | null;
}

export type OnBreach = "halt" | "pause" | "ask" | "watch";
export type SliceBy = "oem" | "arch";

/** The health gate. */
export interface Health {
  readonly maxFailurePercent: number;
  /** Fewer finished nodes say nothing. */
  readonly minFinished: number;
  /** More lost nodes than this are a breach at once; null: they count as failures only. */
  readonly maxLost: number | null;
  readonly onBreach: OnBreach;
  readonly slices: readonly SliceBy[];
}

/** A node that failed is granted again after `afterMs`, doubling with each try, `max` tries in all. */
export interface Retry {
  readonly afterMs: number;
  readonly max: number;
}

/** A rollout starts by itself `bakeMs` after that group's rollout of the same package has completed. */
export interface After {
  /** Id, name or track. */
  readonly group: string;
  readonly bakeMs: number;
}

export interface Strategy {
  /** At least one. */
  readonly stages: readonly Stage[];
  readonly health: Health | null;
  readonly maxInFlight: number | null;
  readonly retry: Retry;
  /** A person at the node may go ahead of the stages. */
  readonly onDemandSkipsStages: boolean;
  readonly after: readonly After[];
  /** Null: the rollout's id, so that other nodes go first every time. */
  readonly seed: string | null;
  /** A stage waits only for nodes that were seen within this time. */
  readonly activeWithinMs: number;
}

export const ROLLOUT_STATES = [
  "scheduled",
  "running",
  "paused",
  "halted",
  "completed",
  "superseded",
  "aborted",
] as const;
export type RolloutState = (typeof ROLLOUT_STATES)[number];

/** Nodes of one OEM or architecture. */
export interface Slice {
  readonly by: SliceBy;
  readonly value: string;
}

/** A slice that the gate has found unhealthy: its nodes get nothing until a person resumes (`watch`: only said once). */
export interface ClosedSlice {
  readonly slice: Slice;
  readonly at: number;
  readonly why: string;
  readonly watched: boolean;
}

/** Where a rollout stands. Moved by time, by the gate and by people; every change is one line of its history. */
export interface Run {
  readonly state: RolloutState;
  readonly stateAt: number;
  /** It stays `scheduled` until then; null: nothing but `after` holds it. */
  readonly startAt: number | null;
  /** The present stage, from 0. */
  readonly stage: number;
  readonly stageOpenedAt: number;
  /** Its nodes have finished: since when it bakes; null: they have not. */
  readonly bakingSince: number | null;
  /** Baked, and waiting for a person. */
  readonly awaitsApproval: boolean;
  /** The gate paused it with `pause`: it goes on by itself when the breach is over. */
  readonly pausedByGate: boolean;
  readonly closed: readonly ClosedSlice[];
  /** What had finished when a person last resumed: the gate looks only at what came after. By cell. */
  readonly baseline: Readonly<Record<string, Finished>>;
}

/** Nodes that are through with a rollout, well or not. `bad` includes `lost`. */
export interface Finished {
  readonly finished: number;
  readonly bad: number;
  readonly lost: number;
}

/** One package going out to one group. */
export interface Rollout extends Run {
  readonly no: number;
  readonly id: string;
  readonly groupNo: number;
  readonly package: Package;
  readonly strategy: Strategy;
  readonly seed: string;
  /** The version that it takes back: only nodes that run it get the package. Null: an update. */
  readonly undoes: string | null;
  /** Counts its changes: whoever writes one says which it has seen. */
  readonly revision: number;
}

/** A rollout that had completed before another one took its place in its group. */
export interface Completion {
  readonly groupNo: number;
  readonly packageNo: number;
  readonly version: string;
  readonly at: number;
}

/** The whole configuration at one revision, with the look-ups that a check-in needs. Immutable. */
export interface Fleet {
  readonly revision: number;
  readonly applications: readonly Application[];
  readonly groups: readonly Group[];
  /** All but the superseded ones, and of the aborted ones the last of each group and package. */
  readonly rollouts: readonly Rollout[];
  /** Of the packages of scheduled rollouts, which may wait for one of these. */
  readonly completions: readonly Completion[];
  /** By lower-case UUID without braces, and by lower-case product id. */
  readonly applicationByName: ReadonlyMap<string, Application>;
  readonly groupByNo: ReadonlyMap<number, Group>;
  /** Key: `groupByTrackKey(applicationNo, track, arch)`. */
  readonly groupByTrack: ReadonlyMap<string, Group>;
  /** Key: `rolloutKey(groupNo, packageNo)`. */
  readonly rolloutByTarget: ReadonlyMap<string, Rollout>;
  /** Key: `rollbackKey(groupNo, version)`: the rollouts that take a version back. */
  readonly rollbackByVersion: ReadonlyMap<string, Rollout>;
  readonly rolloutByNo: ReadonlyMap<number, Rollout>;
}

// ---------------------------------------------------------------------------------------------------- the node

/**
 * Where a node stands. `unknown`: never granted anything. The others as in ROLLOUTS.md, "A node's lifecycle"; `lost` is
 * an installed node that never came back from its reboot.
 */
export const NODE_STATUSES = [
  "unknown",
  "on-hold",
  "granted",
  "downloading",
  "downloaded",
  "installed",
  "complete",
  "failed",
  "timed-out",
  "rolled-back",
  "lost",
] as const;
export type NodeStatus = (typeof NODE_STATUSES)[number];

/** How a try can end badly. */
export type Failure = "failed" | "timed-out" | "rolled-back" | "lost";

/** What a node got offered last, and how that goes. Kept until another grant replaces it. */
export interface Grant {
  readonly rolloutNo: number;
  /** The rollout's group: where the grant is counted, even when the node has moved to another group since. */
  readonly groupNo: number;
  readonly version: string;
  /** The node's version when it was granted: what it falls back to. */
  readonly fromVersion: string;
  /** Whether the version runs only after a reboot (Flatcar), or as soon as it is installed. */
  readonly needsReboot: boolean;
  readonly grantedAt: number;
  /** 1 for the first try. */
  readonly attempt: number;
  /** The `bootid` the node last reported before or while it was installed; "" if it never sent one. */
  readonly bootId: string;
  /** Without a sign of life that moves it on, the grant times out (or the node is lost) then. Null once it has ended. */
  readonly deadline: number | null;
  /** How its last try in this rollout ended, if badly: it stays a failure until it completes, also while it tries again. */
  readonly failure: Failure | null;
  /** The base error code (flags removed) it failed with. */
  readonly errorCode: number | null;
  /** Where in the rollout it is counted: `cellOf(stage, arch, oem)` when it was first granted. */
  readonly cell: string;
}

/** What people have written on a node: name → value. */
export type Labels = Readonly<Record<string, string>>;

/** A person holds a node: it gets nothing until somebody releases it. */
export interface Hold {
  readonly at: number;
  readonly by: string;
  readonly why: string;
}

export interface Node {
  /** 0 until the store has given it one. */
  readonly no: number;
  readonly applicationNo: number;
  /** The Omaha `machineid`, as sent. */
  readonly id: string;
  readonly groupNo: number;
  readonly version: string;
  readonly arch: Arch;
  /** The `machinealias` as the node sends it. */
  readonly machineAlias: string;
  /** Given by a person, and wins over what the node sends; "": none. */
  readonly alias: string;
  readonly ip: string;
  readonly oem: string;
  readonly oemVersion: string;
  readonly alephVersion: string;
  readonly bootId: string;
  /** Its update.conf has quotes that reach us unescaped; a person should mend the file. */
  readonly brokenQuotes: boolean;
  readonly createdAt: number;
  /** Set by people alone, as are the next two. Null: it is not held. */
  readonly held: Hold | null;
  /** Id of the group that it was put into, whatever its track; null: it goes by its track. */
  readonly ownGroup: string | null;
  readonly labels: Labels;
  readonly status: NodeStatus;
  readonly statusAt: number;
  readonly grant: Grant | null;
}

// ------------------------------------------------------------------------------------------------ what it says

export interface OmahaEvent {
  readonly type: number;
  readonly result: number;
  /** As sent, unsigned 32 bits, flags included; null when absent. */
  readonly errorCode: number | null;
  readonly previousVersion: string;
}

/** One `app` of a request, normalised. Absent attributes are "". */
export interface CheckIn {
  /** As sent, braces and all. */
  readonly appId: string;
  readonly version: string;
  readonly track: string;
  readonly machineId: string;
  readonly machineAlias: string;
  readonly bootId: string;
  readonly oem: string;
  readonly oemVersion: string;
  readonly alephVersion: string;
  readonly arch: Arch;
  readonly ping: boolean;
  readonly updateCheck: boolean;
  /** Component-wise prefix that the offered version must have ("" = any). */
  readonly targetVersionPrefix: string;
  readonly events: readonly OmahaEvent[];
  /** A person at the node asked for it. */
  readonly onDemand: boolean;
  /** Another update server mirroring this one. */
  readonly syncer: boolean;
  readonly multiManifest: boolean;
  /** The client is update_engine: with it a request of nothing but a ping means "installed, waiting for the reboot". */
  readonly updateEngine: boolean;
  /** The request had unescaped quotes that were repaired. */
  readonly brokenQuotes: boolean;
}

// ------------------------------------------------------------------------------------------------ what follows

/** Why the answer is what it is. One for each outcome; the label of the check-in metric. */
export const REASONS = [
  // answered with an update
  "granted",
  "offered-again",
  "mirror", // every package, for a syncer
  // nothing to do
  "no-update-check", // ping or events alone
  "up-to-date",
  "no-package", // the channel points to nothing, or the group has no channel
  "files-missing", // to be had from this server only, and not all of them are here; or one is not signed as it should be
  "waiting-for-reboot",
  // not for this node
  "other-arch",
  "blacklisted",
  "outside-prefix", // targetversionprefix excludes the target
  "floors-need-multi-manifest",
  "retry-later", // backing off after a failure
  "retries-exhausted",
  // held back by policy
  "no-rollout",
  "rollout-not-running",
  "updates-disabled",
  "freeze",
  "outside-window",
  "outside-office-hours",
  "not-in-stage",
  "held", // by a person
  "canary-pending", // safe mode: one node first
  "max-in-flight",
  "max-per-period",
  "health-gate",
  // not a node of ours
  "unknown-application",
  "unknown-group",
  "invalid-node", // machineid or version missing or malformed
  "too-many-new-nodes",
] as const;
export type Reason = (typeof REASONS)[number];

/** One rule of the decision, in the order they were asked. `facts` are what the rule looked at, ready to be shown. */
export interface TraceStep {
  readonly rule: string;
  readonly verdict: "pass" | "stop" | "skip";
  readonly facts: Readonly<Record<string, string | number | boolean | null>>;
  /** A `stop`: no earlier than then can this verdict be another, unless a person changes something. Absent: unknown. */
  readonly until?: number;
}

export type AppStatus =
  | "ok"
  | "error-unknownApplication"
  | "error-unknownApplicationOrGroup"
  | "error-instanceRegistrationFailed";

export interface Manifest {
  readonly package: Package;
  readonly isFloor: boolean;
  readonly floorReason: string | null;
  readonly isTarget: boolean;
}

/** What a node is told to install. `manifests` has one entry, except for syncers: floors ascending, then the target. */
export interface Offer {
  readonly urls: readonly string[];
  readonly manifests: readonly Manifest[];
  /** Mark floors and target in the answer (syncers only). */
  readonly marked: boolean;
}

/** Where a node is counted in a rollout. */
export interface Standing {
  readonly rolloutNo: number;
  readonly groupNo: number;
  readonly cell: string;
  readonly status: CountedStatus;
  readonly failure: Failure | null;
  readonly errorCode: number | null;
}

/** A node moved from one status to another: one line of its history, and what the counters follow. */
export interface Transition {
  readonly at: number;
  readonly to: NodeStatus;
  readonly groupNo: number;
  /** The rollout the new status belongs to; null for `unknown` and `on-hold`. */
  readonly rolloutNo: number | null;
  readonly version: string;
  readonly errorCode: number | null;
  /** Where it was counted, and where it is now. Leaving a rollout, it stays counted there as it ended. */
  readonly left: Standing | null;
  readonly entered: Standing | null;
  /** A new grant was given with this transition (it counts against the period). */
  readonly grants: boolean;
}

/** A grant that another one replaced: kept so that the older rollout's counters stay true. */
export interface PastGrant {
  readonly grant: Grant;
  readonly status: CountedStatus;
  readonly endedAt: number;
}

export interface LoggedEvent {
  readonly at: number;
  readonly type: number;
  readonly result: number;
  readonly errorCode: number | null;
  readonly version: string;
  readonly previousVersion: string;
}

/** Activity classes and severities of the admin API. Classes from 100 are ours. */
export const ACTIVITY = {
  packageNotFound: 1,
  rolloutStarted: 2,
  rolloutFinished: 3,
  rolloutFailed: 4,
  nodeFailed: 5,
  channelPackageUpdated: 6,
  nodeTimedOut: 100,
  nodeLost: 101,
  nodeRolledBack: 102,
  rolloutPaused: 103,
  /** The gate has closed a part of it, or would have (`watch`); the rest goes on. */
  rolloutUnhealthy: 104,
  /** A stage has baked, and the next waits for a person. */
  rolloutAwaitsApproval: 105,
  payloadCorrupt: 110,
  /** A file that was here already is not signed with the application's new payload key. */
  payloadRefused: 111,
  /** From an upstream: its package is here, and its files if they are kept here. */
  releaseBroughtIn: 120,
  /** An upstream has failed time and again, as a whole or with this version. */
  upstreamFailing: 121,
} as const;
export const SEVERITY = { success: 1, info: 2, warning: 3, error: 4 } as const;

export interface Activity {
  readonly at: number;
  readonly class: number;
  readonly severity: number;
  readonly applicationNo: number;
  readonly groupNo: number | null;
  readonly channelNo: number | null;
  /** True when it concerns the checking-in node itself. */
  readonly ofNode: boolean;
  readonly version: string;
  /** At most one activity of this class, group and version in 24 h. */
  readonly oncePerDay: boolean;
}

/** A decision that reaches beyond the node: safe mode's first node failed, so the group's updates go off. */
export interface DisableUpdates {
  readonly groupNo: number;
  readonly rolloutNo: number;
  readonly reason: string;
}

/** Everything that one check-in changes. Written in one transaction. */
export interface Changes {
  /** The node's next record; the very same object as before when nothing but "last seen" moved; null: not stored. */
  readonly node: Node | null;
  readonly transitions: readonly Transition[];
  readonly pastGrants: readonly PastGrant[];
  readonly events: readonly LoggedEvent[];
  readonly activities: readonly Activity[];
  readonly disableUpdates: DisableUpdates | null;
}

export interface Outcome {
  readonly status: AppStatus;
  readonly reason: Reason;
  readonly trace: readonly TraceStep[];
  /** Null: nothing to install (`noupdate`). */
  readonly offer: Offer | null;
  readonly changes: Changes;
}

// ------------------------------------------------------------------------------------------------ counters

export type CountedStatus = Exclude<NodeStatus, "unknown" | "on-hold"> | "withdrawn";

/**
 * How many nodes stand where: a histogram of statuses. `withdrawn`: granted, but replaced or taken back before any end.
 * `retrying`: of those in flight, the ones that have failed before.
 */
export type Tally = Record<CountedStatus | "retrying", number>;

/** Law: it equals a count over the nodes whose grant belongs to the rollout plus its past grants. Moved in place. */
export interface RolloutCounters {
  readonly total: Tally;
  /** By `cellOf(stage, arch, oem)`: sums up to `total`. */
  readonly cells: Map<string, Tally>;
  /** Nodes whose last end here was `failed`, by error code. */
  readonly causes: Map<number, number>;
}

/** Grants of a group in slices of its period, oldest first. */
export interface GrantSlice {
  readonly startsAt: number;
  readonly count: number;
}

export interface GroupCounters {
  /** Over all of the group's rollouts, superseded ones too: granted, downloading, downloaded or installed. */
  readonly inFlight: number;
  readonly slices: readonly GrantSlice[];
}

/** The counters a decision may look at, moved along by `applyTransition` as decisions are made. */
export interface Counters {
  readonly rollouts: Map<number, RolloutCounters>;
  readonly groups: Map<number, GroupCounters>;
}
