/** What a webhook can be told of, by the names that people choose from. Source: `ACTIVITY`, the classes of the activity. */
import { ACTIVITY } from "../rollout/model/activity.ts";

const NAMES = {
  packageNotFound: "package-not-found",
  rolloutStarted: "rollout-started",
  rolloutFinished: "rollout-finished",
  rolloutFailed: "rollout-halted",
  nodeFailed: "node-failed",
  channelPackageUpdated: "channel-updated",
  nodeTimedOut: "node-timed-out",
  nodeLost: "node-lost",
  nodeRolledBack: "node-rolled-back",
  rolloutPaused: "rollout-paused",
  rolloutUnhealthy: "rollout-unhealthy",
  rolloutAwaitsApproval: "rollout-awaits-approval",
  machineIdShared: "machine-id-shared",
  payloadCorrupt: "file-corrupt",
  payloadRefused: "file-refused",
  releaseBroughtIn: "release-brought-in",
  upstreamFailing: "upstream-failing",
} as const satisfies Record<keyof typeof ACTIVITY, string>;

export const EVENTS = Object.values(NAMES);
export type EventName = (typeof EVENTS)[number];

/** Sent when somebody asks for it; nobody subscribes to it. */
export const TEST_EVENT = "test";

const BY_CLASS: ReadonlyMap<number, EventName> = new Map(
  // The keys are those of ACTIVITY: `satisfies` has said so.
  (Object.keys(NAMES) as (keyof typeof NAMES)[]).map((key) => [ACTIVITY[key], NAMES[key]]),
);

/** @returns null for a class that this version does not know. */
export function eventOf(activityClass: number): EventName | null {
  return BY_CLASS.get(activityClass) ?? null;
}
