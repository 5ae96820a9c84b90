/** What operators are told of. */

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
  /** Two machines or more report with one machine id. */
  machineIdShared: 108,
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
