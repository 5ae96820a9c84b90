/** Ranges of versions, such as `<4000.0.0` or `>=1.3.36.0 <1.4.0.0`. */
import semver from "semver";
import type { VersionOrder } from "./model/configuration.ts";
import { compareVersions, isVersion } from "./version.ts";

/** `||` between alternatives, each of comparisons that must all hold. */
type Comparisons = readonly (readonly Comparison[])[];
interface Comparison {
  readonly operator: string;
  readonly version: string;
}

const HOLDS: Readonly<Record<string, (distance: number) => boolean>> = {
  "<": (distance) => distance < 0,
  "<=": (distance) => distance <= 0,
  ">": (distance) => distance > 0,
  ">=": (distance) => distance >= 0,
  "=": (distance) => distance === 0,
};

/** Whether an application can have such a range. Of four parts there are comparisons with whole versions, and nothing else. */
export function isRange(text: string, order: VersionOrder): boolean {
  return order === "four-part" ? readComparisons(text, order) !== null : semver.validRange(text) !== null;
}

/** Whether any application can. */
export function isRangeOfAny(text: string): boolean {
  return isRange(text, "semver") || isRange(text, "four-part");
}

/** What to say of a text that is no range. */
export function rangeRule(text: string, order: VersionOrder): string {
  const example = order === "four-part" ? ">=1.3.36.0 <1.4.0.0" : "<4000.0.0";
  return `"${text}" is not a version range${order === "four-part" ? " of four numbers" : ""}; write e.g. "${example}"`;
}

/** Pre-releases are versions like all others. What is no version is in no range, and what is no range has none in it. */
export function isInRange(version: string, range: string, order: VersionOrder): boolean {
  // Ranges of semver know no build metadata: where it counts, whole versions are compared as everywhere else.
  const comparisons = order === "semver" ? null : readComparisons(range, order);
  if (comparisons === null) {
    return order !== "four-part" && semver.satisfies(version, range, { includePrerelease: true });
  }
  if (!isVersion(version, order)) return false;
  return comparisons.some((all) =>
    all.every((one) => HOLDS[one.operator]?.(compareVersions(version, one.version, order))),
  );
}

/** Bounded; there are as many as stages and filters that name some. */
const MAX_KEPT = 500;
let kept = new Map<string, Comparisons | null>();

/** Null: there is something else than comparisons with whole versions in it. */
function readComparisons(range: string, order: VersionOrder): Comparisons | null {
  const key = `${order} ${range}`;
  const known = kept.get(key);
  if (known !== undefined) return known;
  if (kept.size >= MAX_KEPT) kept = new Map();
  const read: Comparison[][] = range.split("||").map((all) =>
    [...all.matchAll(/(<=|>=|<|>|=)?\s*([^\s<>=]+)|\S/g)].map(([, operator = "=", version = ""]) => ({
      operator,
      version,
    })),
  );
  const isWhole = read.every((all) => all.length > 0 && all.every(({ version }) => isVersion(version, order)));
  const comparisons = isWhole ? read : null;
  kept.set(key, comparisons);
  return comparisons;
}
