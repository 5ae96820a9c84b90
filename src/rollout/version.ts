/** Versions compare as semver. The same few are compared over and over, so parsed ones are kept. */
import semver from "semver";

const MAX_LENGTH = 255;
/** Bounded: nodes can send any version they like. */
const MAX_KEPT = 2_000;

let parsed = new Map<string, semver.SemVer | null>();

function parse(text: string): semver.SemVer | null {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  if (parsed.size >= MAX_KEPT) parsed = new Map();
  const version = text.length <= MAX_LENGTH && /^\d\S*$/.test(text) ? semver.parse(text) : null;
  parsed.set(text, version);
  return version;
}

/** MAJOR.MINOR.PATCH[-pre][+build], strictly; at most 255 characters. */
export function isVersion(text: string): boolean {
  return parse(text) !== null;
}

/** Negative when `a` is older than `b`. Build metadata does not count. What is no version is older than every version. */
export function compareVersions(a: string, b: string): number {
  if (a === b) return 0;
  const left = parse(a);
  const right = parse(b);
  if (left === null || right === null) return Number(left !== null) - Number(right !== null);
  return left.compare(right);
}

/**
 * Whether a version begins with the components of `prefix`; a trailing `$` asks for exactly this one, "" for any.
 * Source: google/omaha ServerProtocolV3, targetversionprefix.
 */
export function matchesPrefix(version: string, prefix: string): boolean {
  if (prefix === "") return true;
  if (prefix.endsWith("$")) return version === prefix.slice(0, -1);
  const wanted = prefix.replace(/\.$/, "").split(".");
  const components = version.split(".");
  return wanted.every((component, index) => components[index] === component);
}
