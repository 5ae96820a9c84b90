/** Versions, read and ordered as their application says. The same few are compared over and over, so what was read is kept. */
import semver from "semver";
import type { BuildMetadata, VersionOrder, VersionScheme } from "./model/configuration.ts";

/** Of four numbers there is no build metadata. */
export function orderOf(scheme: VersionScheme, builds: BuildMetadata): VersionOrder {
  if (scheme === "four-part") return "four-part";
  return builds === "order" ? "semver-build" : "semver";
}

const MAX_LENGTH = 255;
/** Bounded: nodes can send any version they like. */
const MAX_KEPT = 2_000;

function keeping<T>(read: (text: string) => T): (text: string) => T {
  let kept = new Map<string, T>();
  return (text) => {
    const known = kept.get(text);
    if (known !== undefined) return known;
    if (kept.size >= MAX_KEPT) kept = new Map();
    const value = read(text);
    kept.set(text, value);
    return value;
  };
}

const semanticOf = keeping((text) => (text.length <= MAX_LENGTH && /^\d\S*$/.test(text) ? semver.parse(text) : null));

/** Each from 0 to 4,294,967,295, without zeros before it: the same version is always the same text. */
const FOUR_PARTS = /^(?:(?:0|[1-9]\d{0,9})(?:\.(?!$)|$)){4}$/;
const MAX_PART = 2 ** 32 - 1;

const fourPartOf = keeping((text): readonly number[] | null => {
  if (!FOUR_PARTS.test(text)) return null;
  const parts = text.split(".").map(Number);
  return parts.every((part) => part <= MAX_PART) ? parts : null;
});

/**
 * Whether this is a version, to the letter. Semantic: MAJOR.MINOR.PATCH[-pre][+build], at most 255 characters; of four parts:
 * four numbers with points between.
 */
export function isVersion(text: string, order: VersionOrder): boolean {
  return (order === "four-part" ? fourPartOf(text) : semanticOf(text)) !== null;
}

/** What to say of a text that is no version. */
export function versionRule(order: VersionOrder): string {
  if (order === "four-part") return "must be four numbers, e.g. 1.3.36.102: so this application's versions are";
  return "must be a semantic version, e.g. 4230.2.1";
}

/** Lower than every version that there is. */
export function lowestVersion(order: VersionOrder): string {
  return order === "four-part" ? "0.0.0.0" : "0.0.0";
}

/** Negative when `a` is older than `b`. What is no version is older than every version. */
export function compareVersions(a: string, b: string, order: VersionOrder): number {
  if (a === b) return 0;
  if (order === "four-part") return compareRead(fourPartOf(a), fourPartOf(b), compareParts);
  const distance = compareRead(semanticOf(a), semanticOf(b), compareSemantic);
  return distance !== 0 || order === "semver" ? distance : compareBuilds(buildOf(a), buildOf(b));
}

function compareRead<T>(a: T | null, b: T | null, compare: (a: T, b: T) => number): number {
  if (a === null || b === null) return Number(a !== null) - Number(b !== null);
  return compare(a, b);
}

/** Build metadata does not count. */
function compareSemantic(a: semver.SemVer, b: semver.SemVer): number {
  return a.compare(b);
}

function compareParts(a: readonly number[], b: readonly number[]): number {
  for (const [index, part] of a.entries()) {
    const other = b[index] ?? 0;
    if (part !== other) return part - other;
  }
  return 0;
}

/** What stands behind the `+`. */
interface Build {
  readonly text: string;
  /** As a number, e.g. 20261006210000; -1: it has no date. */
  readonly date: number;
}

/** `20261006-2100`, `2026-10-06`, with or without a time of day. */
const DATE =
  /(?<!\d)(20\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?:[-.T]?([01]\d|2[0-3])[-:]?([0-5]\d)(?:[-:]?([0-5]\d))?)?(?!\d)/;

const buildOf = keeping((version): Build => {
  const text = semanticOf(version)?.build.join(".") ?? "";
  const date = DATE.exec(text);
  if (date === null) return { text, date: -1 };
  const [, year, month, day, hour = "00", minute = "00", second = "00"] = date;
  return { text, date: Number(`${year}${month}${day}${hour}${minute}${second}`) };
});

/**
 * By the date in it, whatever it stands behind; else, and among those of one date, as people sort names: numbers by their
 * value. A version without build metadata is older than the same one with it.
 */
function compareBuilds(a: Build, b: Build): number {
  return a.date - b.date || compareNatural(a.text, b.text);
}

function compareNatural(a: string, b: string): number {
  const [mine, theirs] = [a, b].map((text) => text.match(/\d+|\D+/g) ?? []);
  for (const [index, part] of (mine ?? []).entries()) {
    const other = theirs?.[index];
    if (other === undefined) return 1;
    const distance = comparePart(part, other);
    if (distance !== 0) return distance;
  }
  return (mine?.length ?? 0) - (theirs?.length ?? 0) || (a < b ? -1 : a > b ? 1 : 0);
}

/** Numbers before words. */
function comparePart(a: string, b: string): number {
  const [isNumber, isOther] = [/^\d/.test(a), /^\d/.test(b)];
  if (isNumber !== isOther) return isNumber ? -1 : 1;
  const [one, other] = isNumber ? [a.replace(/^0+/, ""), b.replace(/^0+/, "")] : [a, b];
  if (isNumber && one.length !== other.length) return one.length - other.length;
  return one < other ? -1 : one > other ? 1 : 0;
}

/** Whether two versions count as the same one, though they are not: they differ in build metadata, which does not count here. */
export function countAsSame(a: string, b: string, order: VersionOrder): boolean {
  return a !== b && isVersion(a, order) && isVersion(b, order) && compareVersions(a, b, order) === 0;
}

/**
 * Whether a version begins with the components of `prefix`; a trailing `$` asks for exactly this one, "" for any. Build
 * metadata is no component.
 * Source: google/omaha ServerProtocolV3, targetversionprefix.
 */
export function matchesPrefix(version: string, prefix: string): boolean {
  if (prefix === "") return true;
  if (prefix.endsWith("$")) return version === prefix.slice(0, -1);
  const wanted = prefix.replace(/\.$/, "").split(".");
  const components = (prefix.includes("+") ? version : version.replace(/\+.*$/s, "")).split(".");
  return wanted.every((component, index) => components[index] === component);
}
