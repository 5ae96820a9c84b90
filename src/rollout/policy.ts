/** The rules that may hold an update back, in their order. Each has its own reason. */
import { groupCounters, inFlight, rolloutCounters } from "./counters.ts";
import { fetchingBeside, isHosted, mostDownloads } from "./downloads.ts";
import { breachesOf, closedSlice, describeBreach, isInSlice, sliceName } from "./health.ts";
import { type Group, UNLIMITED_UPDATES } from "./model/configuration.ts";
import type { Counters } from "./model/counters.ts";
import type { Fleet } from "./model/fleet.ts";
import type { Node } from "./model/node.ts";
import type { Reason, TraceStep } from "./model/outcome.ts";
import type { Rollout } from "./model/rollout.ts";
import type { DownloadLimits } from "./model/server.ts";
import { fallsBelow, grantedInPeriod } from "./quota.ts";
import { isExposed, rampFor } from "./ramp.ts";
import { opensNotBefore } from "./run.ts";
import { inclusionOf, isForAll } from "./stages.ts";
import { frozenBy, inWindows, nextOpening, OFFICE_HOURS } from "./windows.ts";

export interface PolicyQuestion {
  readonly fleet: Fleet;
  readonly group: Group;
  readonly rollout: Rollout;
  readonly node: Node;
  /** A person at the node asks. */
  readonly onDemand: boolean;
  readonly counters: Counters;
  readonly limits: DownloadLimits;
  readonly now: number;
}

interface Verdict {
  /** Null: the rule is not in force. */
  readonly holds: boolean | null;
  readonly facts: TraceStep["facts"];
  /** If it does not hold: no earlier than then will it. Null: nobody knows. */
  readonly until?: number | null;
}

interface Rule {
  readonly name: string;
  readonly reason: Reason;
  /** Whether it also holds back what has been offered already: always, until the node has begun, or not at all. */
  readonly onOffers: "always" | "until-begun" | "no";
  readonly ask: (question: PolicyQuestion) => Verdict;
}

const NOT_IN_FORCE: Verdict = { holds: null, facts: {} };

const RULES: readonly Rule[] = [
  {
    name: "updates enabled",
    reason: "updates-disabled",
    onOffers: "always",
    ask: ({ group }) => ({ holds: group.policy.updatesEnabled, facts: { group: group.name } }),
  },
  {
    name: "freeze",
    reason: "freeze",
    onOffers: "until-begun",
    ask({ group: { policy }, now }) {
      if (policy.freezes.length === 0) return NOT_IN_FORCE;
      const freeze = frozenBy(policy.freezes, now);
      if (freeze === null) return { holds: true, facts: {} };
      return { holds: false, facts: { reason: freeze.reason, until: freeze.endsAt }, until: freeze.endsAt };
    },
  },
  {
    name: "maintenance window",
    reason: "outside-window",
    onOffers: "until-begun",
    ask({ group: { policy }, now }) {
      if (policy.windows.length === 0) return NOT_IN_FORCE;
      const facts = { timezone: policy.timezone };
      if (inWindows(policy.windows, policy.timezone, now)) return { holds: true, facts };
      const until = nextOpening(policy.windows, policy.timezone, now);
      return { holds: false, facts: { ...facts, until }, until };
    },
  },
  {
    name: "office hours",
    reason: "outside-office-hours",
    onOffers: "until-begun",
    ask({ group: { policy }, now }) {
      if (!policy.officeHours) return NOT_IN_FORCE;
      const facts = { timezone: policy.timezone };
      if (inWindows(OFFICE_HOURS, policy.timezone, now)) return { holds: true, facts };
      const until = nextOpening(OFFICE_HOURS, policy.timezone, now);
      return { holds: false, facts: { ...facts, until }, until };
    },
  },
  {
    name: "stage",
    reason: "not-in-stage",
    onOffers: "no",
    ask({ fleet, rollout, node, onDemand, now }) {
      if (isForAll(rollout.strategy)) return NOT_IN_FORCE;
      const inclusion = inclusionOf(rollout, node, now);
      const facts = {
        stage: rollout.stage + 1,
        of: rollout.strategy.stages.length,
        percent: inclusion.percent,
        percentile: inclusion.percentile,
        nodeStage: inclusion.stage === null ? null : inclusion.stage + 1,
        ...(rollout.awaitsNodes && { awaitsNodes: true }),
      };
      if (inclusion.included) return { holds: true, facts };
      if (onDemand && rollout.strategy.onDemandSkipsStages) return { holds: null, facts: { ...facts, onDemand } };
      const until =
        inclusion.reachedAt ?? (inclusion.stage === null ? null : opensNotBefore(rollout, inclusion.stage, fleet, now));
      return { holds: false, facts: { ...facts, until }, until };
    },
  },
  {
    name: "not held by hand",
    reason: "held",
    onOffers: "until-begun",
    ask({ node: { held } }) {
      return held === null ? NOT_IN_FORCE : { holds: false, facts: { by: held.by, why: held.why, since: held.at } };
    },
  },
  {
    name: "safe mode: first node",
    reason: "canary-pending",
    onOffers: "no",
    ask({ group, rollout, counters }) {
      if (!group.policy.safeMode) return NOT_IN_FORCE;
      const standing = rolloutCounters(counters, rollout.no).total;
      const facts = { complete: standing.complete, inFlight: inFlight(standing) };
      return { holds: facts.complete > 0 || facts.inFlight === 0, facts };
    },
  },
  {
    name: "in flight",
    reason: "max-in-flight",
    onOffers: "no",
    ask({ group, counters }) {
      const limit = group.policy.maxUpdatesPerPeriod;
      if (limit >= UNLIMITED_UPDATES) return NOT_IN_FORCE;
      const standing = groupCounters(counters, group.no).inFlight;
      return { holds: standing < limit, facts: { inFlight: standing, limit } };
    },
  },
  {
    name: "in flight of this rollout",
    reason: "max-in-flight",
    onOffers: "no",
    ask({ rollout, counters }) {
      const limit = rollout.strategy.maxInFlight;
      if (limit === null) return NOT_IN_FORCE;
      const standing = inFlight(rolloutCounters(counters, rollout.no).total);
      return { holds: standing < limit, facts: { inFlight: standing, limit } };
    },
  },
  {
    name: "ramp",
    reason: "ramp",
    onOffers: "no",
    ask({ rollout, node, counters }) {
      const standing = rampFor(rollout, rolloutCounters(counters, rollout.no), node);
      if (standing === null) return NOT_IN_FORCE;
      const { exposed, complete, limit, slice } = standing;
      const more = Math.max(0, limit - exposed + 1 + (rollout.strategy.ramp?.grow ?? 0));
      const facts = { exposed, limit, complete, more, ...(slice !== null && { slice: sliceName(slice) }) };
      return { holds: exposed < limit || isExposed(node, rollout), facts };
    },
  },
  {
    name: "granted this period",
    reason: "max-per-period",
    onOffers: "no",
    ask({ group, counters, now }) {
      const { maxUpdatesPerPeriod: limit, periodMs } = group.policy;
      if (limit >= UNLIMITED_UPDATES) return NOT_IN_FORCE;
      const { slices } = groupCounters(counters, group.no);
      const granted = grantedInPeriod(slices, periodMs, now);
      const facts = { granted, limit, periodMs };
      if (granted < limit) return { holds: true, facts };
      const until = fallsBelow(slices, periodMs, limit, now);
      return { holds: false, facts: { ...facts, until }, until };
    },
  },
  {
    name: "downloads",
    reason: "downloads-busy",
    onOffers: "no",
    ask({ group, rollout, node, counters, limits, now }) {
      if (!isHosted(rollout.package)) return NOT_IN_FORCE;
      const limit = mostDownloads(limits, rollout.package, group.policy);
      if (limit === null) return NOT_IN_FORCE;
      const facts = { fetching: fetchingBeside(node, counters.downloads), limit };
      if (facts.fetching < limit) return { holds: true, facts };
      // Any of them may be through at any moment.
      return { holds: false, facts: { ...facts, until: now }, until: now };
    },
  },
  {
    name: "health gate",
    reason: "health-gate",
    onOffers: "always",
    ask({ rollout, node, counters }) {
      const { health } = rollout.strategy;
      if (health === null) return NOT_IN_FORCE;
      const closed = closedSlice(rollout.closed, node);
      if (closed !== null) return { holds: false, facts: { slice: sliceName(closed.slice), why: closed.why } };
      const breaches = breachesOf(rollout, rolloutCounters(counters, rollout.no));
      const breach = breaches.find((one) => one.slice === null || isInSlice(one.slice, node));
      if (breach === undefined) return { holds: true, facts: { maxFailurePercent: health.maxFailurePercent } };
      const slice = breach.slice === null ? {} : { slice: sliceName(breach.slice) };
      return { holds: health.onBreach === "watch", facts: { ...slice, why: describeBreach(breach, health) } };
    },
  },
];

/** Asks the rules in order, up to the first that says no. Null: none does. */
export function heldBackBy(question: PolicyQuestion, trace: TraceStep[]): Reason | null {
  return firstToHold(RULES, question, trace);
}

const ON_OFFERS = RULES.filter(({ onOffers }) => onOffers !== "no");
const ON_BEGUN = RULES.filter(({ onOffers }) => onOffers === "always");

/** The same for a node that holds its grant already, and may have begun to act on it. */
export function offerHeldBackBy(question: PolicyQuestion, trace: TraceStep[]): Reason | null {
  return firstToHold(question.node.status === "granted" ? ON_OFFERS : ON_BEGUN, question, trace);
}

function firstToHold(rules: readonly Rule[], question: PolicyQuestion, trace: TraceStep[]): Reason | null {
  for (const rule of rules) {
    const { holds, facts, until } = rule.ask(question);
    const verdict = holds === null ? "skip" : holds ? "pass" : "stop";
    trace.push({ rule: rule.name, verdict, facts, ...(until != null && { until }) });
    if (holds === false) return rule.reason;
  }
  return null;
}
