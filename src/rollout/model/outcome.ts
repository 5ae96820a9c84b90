/** What follows from a check-in: the answer, why, and what it changes. Plain data. */
import type { Activity } from "./activity.ts";
import type { Package, PackageFile } from "./configuration.ts";
import type { CountedStatus } from "./counters.ts";
import type { Failure, Grant, Node, NodeStatus } from "./node.ts";
import type { CutDownload } from "./server.ts";

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
  "incomplete-package", // it lacks something that nodes need to know: its size, its hash
  "files-missing", // to be had from this server only, and not all of them are here; or one is not signed as it should be
  "waiting-for-reboot",
  // not for this node
  "other-arch",
  "shared-machine-id", // two machines or more report with it
  "blacklisted",
  "outside-prefix", // targetversionprefix excludes the target
  "mirror-not-allowed", // TURNOUT_MIRRORS
  "floors-need-multi-manifest",
  "floors-need-one-codebase", // a floor's files and the next release's are not on one server
  "retry-later", // backing off after a failure
  "retries-exhausted",
  // held back by policy
  "no-rollout",
  "rollout-not-running",
  "updates-disabled",
  "stopped-by-safe-mode", // its first node did not come through; a person resumes updates
  "freeze",
  "outside-window",
  "outside-office-hours",
  "not-in-stage",
  "held", // by a person
  "canary-pending", // safe mode: one node first
  "max-in-flight",
  "ramp", // as many nodes are at risk as its successes allow
  "max-per-period",
  "downloads-busy", // as many downloads as this server serves are under way
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
  /** Extra files that a mirror would have to keep in folders: few can, and only these look here. */
  readonly filesLeftOut?: readonly PackageFile[];
}

/** What a mirror is not told of, since it has no place below the one codebase: a whole release, or a release's extra files. */
export interface LeftOut {
  readonly version: string;
  readonly what: "release" | "extra-files";
}

/** What a node is told to install. `manifests` has one entry, except for syncers: floors ascending, then the target. */
export interface Offer {
  readonly urls: readonly string[];
  readonly manifests: readonly Manifest[];
  /** Mark floors and target in the answer (syncers only). */
  readonly marked: boolean;
  /** Only for syncers. */
  readonly leftOut?: readonly LeftOut[];
}

/** Where a node is counted in a rollout. */
export interface Standing {
  readonly rolloutNo: number;
  readonly groupNo: number;
  readonly cell: string;
  readonly status: CountedStatus;
  readonly failure: Failure | null;
  readonly errorCode: number | null;
  /** It came to its bad end after it had completed. */
  readonly relapsed: boolean;
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

/** A decision that reaches beyond the node: safe mode's first node failed, so the group's updates are stopped. */
export interface StopUpdates {
  readonly groupNo: number;
  readonly rolloutNo: number;
  readonly version: string;
  readonly nodeId: string;
  readonly why: string;
}

/** Everything that one check-in changes. Written in one transaction. */
export interface Changes {
  /** The node's next record; the very same object as before when nothing but "last seen" moved; null: not stored. */
  readonly node: Node | null;
  readonly transitions: readonly Transition[];
  readonly pastGrants: readonly PastGrant[];
  readonly events: readonly LoggedEvent[];
  readonly activities: readonly Activity[];
  readonly stopUpdates: StopUpdates | null;
}

export interface Outcome {
  readonly status: AppStatus;
  readonly reason: Reason;
  readonly trace: readonly TraceStep[];
  /** Null: nothing to install (`noupdate`). */
  readonly offer: Offer | null;
  /** A failed download that the node has reported, and that the server had refused or cut off: it counts for nothing. */
  readonly excused: CutDownload | null;
  readonly changes: Changes;
}
