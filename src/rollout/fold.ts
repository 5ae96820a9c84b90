/**
 * Texts that people take for the same: `MÜNCHEN` and `München`, `STRASSE` and `Straße`. Whatever compares names regardless of
 * case folds them here, so that a search, a filter and a stage mean the same nodes.
 */

const ASCII = /^[ -~]*$/;

/** Whether folding a text is no more than writing its letters small, as every database can. */
export function isPlain(text: string): boolean {
  return ASCII.test(text);
}

/**
 * In every script, of no language: compatible characters as one (NFKC), and case folded in full. To capitals and back, since
 * ß has no other way to ss. All four i of Turkish are one i: who types ISTANBUL means İstanbul.
 */
export function fold(text: string): string {
  if (isPlain(text)) return text.toLowerCase();
  return text
    .normalize("NFKC")
    .toLowerCase()
    .toUpperCase()
    .toLowerCase()
    .replaceAll("ς", "σ")
    .normalize("NFKD")
    .replace(/i\u0307+/g, "i")
    .normalize("NFKC");
}

/** How a notation writes what a pattern is made of. */
export interface Notation {
  /** For `*`: any characters, or none. */
  readonly any: string;
  /** For `?`: one character. */
  readonly one: string;
  /** A text that stands for itself, folded. */
  readonly literal: (folded: string) => string;
}

/** A pattern of names, `*` and `?` in it, in another notation. */
export function translatePattern(pattern: string, { any, one, literal }: Notation): string {
  return pattern.replace(/[*?]|[^*?]+/g, (part) => (part === "*" ? any : part === "?" ? one : literal(fold(part))));
}

const REGEXP: Notation = {
  any: ".*",
  one: ".",
  literal: (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"),
};

/** Bounded; there are as many as stages that name aliases. */
const MAX_KEPT = 200;
let compiled = new Map<string, RegExp>();

/** Regardless of case: `*` stands for any characters, `?` for one; no other character is special. */
export function matchesPattern(pattern: string, text: string): boolean {
  let regexp = compiled.get(pattern);
  if (regexp === undefined) {
    if (compiled.size >= MAX_KEPT) compiled = new Map();
    regexp = new RegExp(`^${translatePattern(pattern.replace(/\*+/g, "*"), REGEXP)}$`, "su");
    compiled.set(pattern, regexp);
  }
  return regexp.test(fold(text));
}
