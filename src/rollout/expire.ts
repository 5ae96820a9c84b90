import { isInFlight } from "./counters.ts";
import { advance } from "./lifecycle.ts";
import type { Counters } from "./model/counters.ts";
import type { Fleet } from "./model/fleet.ts";
import type { Node } from "./model/node.ts";
import type { Changes } from "./model/outcome.ts";
import { Progress } from "./progress.ts";

/**
 * What becomes of a node whose grant's deadline has passed: timed out, or lost if it was installed and has not been seen
 * since; one that has been seen gets a later deadline. Null: nothing to do.
 */
export function expire(fleet: Fleet, node: Node, lastSeenAt: number, counters: Counters, now: number): Changes | null {
  const { grant, status } = node;
  if (grant === null || grant.deadline === null || grant.deadline > now || !isInFlight(status)) return null;
  const group = fleet.groupByNo.get(grant.groupNo) ?? fleet.groupByNo.get(node.groupNo);
  const progress = new Progress(node, counters, now);
  if (status === "installed") {
    const deadline = lastSeenAt + (group?.policy.updateTimeoutMs ?? 0);
    if (deadline > now) {
      progress.node = { ...node, grant: { ...grant, deadline } };
      return progress.changes;
    }
  }
  advance(progress, fleet, group, status === "installed" ? "lost" : "timed-out", null);
  return progress.changes;
}
