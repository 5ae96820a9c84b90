/** The rules that may hold an update back, in their order. Each has its own reason. */
import { groupCounters, inFlight, rolloutCounters } from "./counters.ts";
import { type Counters, type Group, type Reason, type Rollout, type TraceStep, UNLIMITED_UPDATES } from "./model.ts";
import { inOfficeHours } from "./office-hours.ts";
import { grantedInPeriod } from "./quota.ts";

export interface PolicyQuestion {
  readonly group: Group;
  readonly rollout: Rollout;
  readonly counters: Counters;
  readonly now: number;
}

interface Rule {
  readonly name: string;
  readonly reason: Reason;
  /** `holds: null`: the rule is not in force. */
  readonly ask: (question: PolicyQuestion) => { readonly holds: boolean | null; readonly facts: TraceStep["facts"] };
}

/** Freezes, windows, stages, nodes held by hand and the health gate will take their places here. */
const RULES: readonly Rule[] = [
  {
    name: "updates enabled",
    reason: "updates-disabled",
    ask: ({ group }) => ({ holds: group.policy.updatesEnabled, facts: { group: group.name } }),
  },
  {
    name: "office hours",
    reason: "outside-office-hours",
    ask: ({ group: { policy }, now }) => ({
      holds: policy.officeHours ? inOfficeHours(policy.timezone, now) : null,
      facts: { timezone: policy.timezone },
    }),
  },
  {
    name: "safe mode: first node",
    reason: "canary-pending",
    ask: ({ group, rollout, counters }) => {
      const standing = rolloutCounters(counters, rollout.no);
      const facts = { complete: standing.complete, inFlight: inFlight(standing) };
      return { holds: group.policy.safeMode ? facts.complete > 0 || facts.inFlight === 0 : null, facts };
    },
  },
  {
    name: "in flight",
    reason: "max-in-flight",
    ask: ({ group, counters }) => {
      const limit = group.policy.maxUpdatesPerPeriod;
      const standing = groupCounters(counters, group.no).inFlight;
      return { holds: limit >= UNLIMITED_UPDATES ? null : standing < limit, facts: { inFlight: standing, limit } };
    },
  },
  {
    name: "granted this period",
    reason: "max-per-period",
    ask: ({ group, counters, now }) => {
      const { maxUpdatesPerPeriod: limit, periodMs } = group.policy;
      if (limit >= UNLIMITED_UPDATES) return { holds: null, facts: { limit } };
      const granted = grantedInPeriod(groupCounters(counters, group.no).slices, periodMs, now);
      return { holds: granted < limit, facts: { granted, limit, periodMs } };
    },
  },
];

/** Asks the rules in order, up to the first that says no. Null: none does. */
export function heldBackBy(question: PolicyQuestion, trace: TraceStep[]): Reason | null {
  for (const rule of RULES) {
    const { holds, facts } = rule.ask(question);
    trace.push({ rule: rule.name, verdict: holds === null ? "skip" : holds ? "pass" : "stop", facts });
    if (holds === false) return rule.reason;
  }
  return null;
}
