/** Whether, and where to, an upstream moves its channel. Pure. */
import type { VersionOrder } from "../rollout/model/configuration.ts";
import { compareVersions, countAsSame } from "../rollout/version.ts";

export interface Policy {
  readonly kind: "follow" | "import-only" | "off";
  /** These and no others; none: any. */
  readonly versions: readonly string[];
  /** None above it; null: any. */
  readonly upTo: string | null;
  /** A release is moved to only when it was first seen at least so long ago. */
  readonly minAgeMs: number;
}

export interface Situation {
  readonly policy: Policy;
  /** By what the application's versions are compared. */
  readonly order: VersionOrder;
  /** What the channel has; null: nothing. */
  readonly current: string | null;
  /** What the channel was last moved to from here; null: it never was. */
  readonly movedTo: string | null;
  /** Where the upstream leads to now; null: to nothing newer. */
  readonly target: string | null;
  /** Former targets and the present one, as far as they are here. */
  readonly here: readonly { readonly version: string; readonly firstSeenAt: number }[];
  readonly now: number;
}

export interface Choice {
  /** Null: the channel stays where it is. */
  readonly version: string | null;
  /** Why it is not moved to the target; null: it is, or there is nothing to move to. */
  readonly heldBack: string | null;
  /** When age alone keeps it back: until then. */
  readonly until: number | null;
}

/** Why the pins are against a version; null: they aren't. */
function pinnedAgainst(version: string, { versions, upTo }: Policy, order: VersionOrder): string | null {
  if (versions.length > 0 && !versions.includes(version)) {
    return `${version} is none of the pinned versions (${versions.join(", ")})`;
  }
  if (upTo !== null && compareVersions(version, upTo, order) > 0) return `${version} is beyond ${upTo}, the pinned one`;
  return null;
}

/** Why the target must not be brought in for the channel; null: it may be. */
export function againstTarget(
  target: string,
  { policy, current, order }: Pick<Situation, "policy" | "current" | "order">,
): string | null {
  if (current !== null && compareVersions(target, current, order) < 0) {
    return `upstream goes back to ${target}; a channel that has ${current} is never moved down by itself`;
  }
  if (current !== null && countAsSame(target, current, order)) {
    return (
      `upstream leads to ${target}, which counts as the same version as ${current}: they differ in build metadata only; ` +
      "the application's build_metadata: order has it tell them apart"
    );
  }
  return pinnedAgainst(target, policy, order);
}

/**
 * The highest release that is here, old enough, allowed, and newer than what the channel has; never one above the upstream's
 * present target, which may have been taken back. A channel that a person has moved down is left there until something newer comes.
 */
export function choose({ policy, order, current, movedTo, target, here, now }: Situation): Choice {
  const stays = (heldBack: string | null, until: number | null = null) => ({ version: null, heldBack, until });
  if (target === null || target === current) return stays(null);
  const against = againstTarget(target, { policy, current, order });
  const compare = (a: string, b: string): number => compareVersions(a, b, order);
  const newer = here
    .filter(({ version }) => compare(version, target) <= 0 && pinnedAgainst(version, policy, order) === null)
    .filter(({ version }) => current === null || compare(version, current) > 0)
    .sort((a, b) => compare(b.version, a.version));
  const [newest] = newer;
  if (newest === undefined) return stays(against);
  if (policy.kind !== "follow") {
    const byHand = `${newest.version} is here; by the policy, a person moves the channel`;
    return stays(against === null ? byHand : `${byHand}; ${against}`);
  }
  const unmoved = newer.filter(({ version }) => movedTo === null || compare(version, movedTo) > 0);
  if (unmoved.length === 0) {
    return stays(
      `the channel had ${movedTo} from here, and somebody has moved it since; it is left to people until something newer comes`,
    );
  }
  const ages = unmoved.map(({ version, firstSeenAt }) => ({ version, from: firstSeenAt + policy.minAgeMs }));
  const old = ages.find(({ from }) => from <= now);
  const young = ages.filter(({ from }) => from > now);
  return {
    version: old?.version ?? null,
    heldBack: against ?? (young[0] === undefined || young[0] !== ages[0] ? null : tooYoung(young[0])),
    until: young.length === 0 ? null : Math.min(...young.map(({ from }) => from)),
  };
}

function tooYoung({ version, from }: { readonly version: string; readonly from: number }): string {
  return `${version} is too young; the channel is moved to it at ${new Date(from).toISOString()}`;
}
