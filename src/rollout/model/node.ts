/** What is known of a node. Plain data; times are milliseconds since the epoch. */
import type { Arch } from "./arch.ts";

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
  /**
   * The `bootid` the node last reported before or while it was installed; once complete, the last one under which it ran the
   * version. "" if it never sent one.
   */
  readonly bootId: string;
  /** Without a sign of life that moves it on, the grant times out (or the node is lost) then. Null once it has ended. */
  readonly deadline: number | null;
  /** How its last try in this rollout ended, if badly: it stays a failure until it completes, also while it tries again. */
  readonly failure: Failure | null;
  /** The base error code (flags removed) it failed with. */
  readonly errorCode: number | null;
  /** Where in the rollout it is counted: `cellOf(stage, arch, oem)` when it was first granted. */
  readonly cell: string;
  /** It has completed: up to then a fall-back is one of the release. Kept when it has fallen back. Null: it has not. */
  readonly watchedUntil: number | null;
}

/** What people have written on a node: name → value. */
export type Labels = Readonly<Record<string, string>>;

/** A person holds a node: it gets nothing until somebody releases it. */
export interface Hold {
  readonly at: number;
  readonly by: string;
  readonly why: string;
}

/** Two machines or more report with one id. */
export interface SharedId {
  /** When another one was first heard between two times of the same. */
  readonly since: number;
  /** When one was last heard again after another. */
  readonly lastAt: number;
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
  /** As text, since it is looked at only when the machine has rebooted: see `shared-id.ts`. "": none. */
  readonly formerBoots: string;
  /** Null: it is one machine's, as far as anybody knows. It ends by itself: ask `isShared`. */
  readonly shared: SharedId | null;
}
