/** When a fleet has come to rest. */
import type { NodeState } from "./node.ts";

/**
 * Whether nothing more is to be expected of a node: it is silent; or it has been answered since its boot, and does nothing; or it has
 * failed on the target (if that is offered again, it will fail again). Without a target every node that was answered has settled.
 * @param target the newest version offered to any node, or the one that is waited for
 */
export function hasSettled({ phase, heard, failure, version }: NodeState, target: string | null): boolean {
  if (phase.kind === "silent") return true;
  if (!heard) return false;
  if (failure !== null && failure.version === target) return failure.how === "fell-back" || phase.kind === "idle";
  return phase.kind === "idle" && (target === null || !isNewer(target, version));
}

const byNumber = new Intl.Collator("en", { numeric: true });

export function isNewer(version: string, than: string): boolean {
  return byNumber.compare(version, than) > 0;
}
