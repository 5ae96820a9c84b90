/** What a package still lacks before it can be offered. */
import { type MissingField, PACKAGE_TYPE } from "./model/configuration.ts";

/** A package as far as it says what nodes need to know of it. */
export interface Described {
  readonly type: number;
  readonly filename: string | null;
  /** A text of digits. */
  readonly size: string | null;
  /** Of the payload, base64. */
  readonly sha256: string | null;
}

const NOTHING: readonly MissingField[] = [];

/**
 * In the API's words; empty: nothing. Only Flatcar packages lack something: `update_engine` takes no answer without a name, a
 * size and a SHA-256, and every node would fail. It never looks at the SHA-1, which may be missing.
 * Source: OMAHA.md, "What the client needs in the answer".
 */
export function missingOf({ type, filename, size, sha256 }: Described): readonly MissingField[] {
  if (type !== PACKAGE_TYPE.flatcar || (filename && Number(size ?? 0) > 0 && sha256)) return NOTHING;
  const missing: MissingField[] = [];
  if (!filename) missing.push("filename");
  if (!(Number(size ?? 0) > 0)) missing.push("size");
  if (!sha256) missing.push("flatcar_action.sha256");
  return missing;
}

/** E.g. `filename, size and flatcar_action.sha256`. */
export function inWords(missing: readonly string[]): string {
  return missing.length < 2 ? missing.join() : `${missing.slice(0, -1).join(", ")} and ${missing.at(-1)}`;
}
