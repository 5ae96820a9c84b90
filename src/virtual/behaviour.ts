/** How nodes take to a release: which of them fail, die after the reboot, or fall back. */
import { share } from "./random.ts";

export type Outcome =
  | { readonly kind: "succeeds" }
  | { readonly kind: "fails"; readonly code: number }
  /** Reboots and is never heard of again. */
  | { readonly kind: "dies" }
  /** Reboots, and is back on its old version. */
  | { readonly kind: "falls-back" }
  /** Comes up, and some time later dies, or is back on its old version after one more boot. */
  | { readonly kind: "dies-later" }
  | { readonly kind: "falls-back-later" };
export type BadEnd = Exclude<Outcome["kind"], "succeeds">;

export interface Rule {
  readonly outcome: Outcome;
  /** 0 to 1, of the nodes that the rule is for. */
  readonly share: number;
  /** Null: every release. */
  readonly version: string | null;
  /** Null: every OEM. */
  readonly oem: string | null;
}

const SUCCEEDS: Outcome = { kind: "succeeds" };

/**
 * What becomes of this node when it takes this version; always the same. The rules that are for it share it out among them in
 * their order, so that 20 % and 1 % are 21 % of the nodes.
 */
export function outcomeOf(rules: readonly Rule[], machineId: string, oem: string, version: string): Outcome {
  if (rules.length === 0) return SUCCEEDS;
  // Salted: a server may choose its first nodes by a hash of the id, and those must be no better or worse than the others.
  const position = share(`behaviour\n${machineId}\n${version}`);
  let reached = 0;
  for (const rule of rules) {
    if ((rule.version !== null && rule.version !== version) || (rule.oem !== null && rule.oem !== oem)) continue;
    reached += rule.share;
    if (position < reached) return rule.outcome;
  }
  return SUCCEEDS;
}

const RULE = /^(\d+(?:\.\d+)?)%(?::(\d+))?(?:@([^\s,@]+))?(?:,oem=([^\s,]*))?$/;

/**
 * A rule as people write it: `20%`, `20%:10`, `20%:10@4230.2.1`, `20%:10,oem=azure`. A code is for those that fail, and only for them.
 * @throws Error that says what would be right
 */
export function parseRule(text: string, kind: BadEnd): Rule {
  const [, percent, code, version, oem] = RULE.exec(text) ?? [];
  const withCode = kind === "fails";
  if (percent === undefined || Number(percent) > 100 || withCode !== (code !== undefined)) {
    const example = withCode ? "20%:10" : "1%";
    throw new Error(`write SHARE%${withCode ? ":CODE" : ""}[@VERSION][,oem=OEM], e.g. "${example}@4230.2.1,oem=azure"`);
  }
  return {
    outcome: kind === "fails" ? { kind, code: Number(code) } : { kind },
    share: Number(percent) / 100,
    version: version ?? null,
    oem: oem ?? null,
  };
}
