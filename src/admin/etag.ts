/** Versions of what the API shows, for optimistic concurrency. Source: RFC 9110, 8.8.3 and 13.1.1. */
import { createHash } from "node:crypto";

/** @param state what the caller would overwrite: a number that counts its changes, or all its fields. */
export function etagOf(state: unknown): string {
  if (typeof state === "number") return `"${state}"`;
  return `"${createHash("sha256").update(JSON.stringify(state)).digest("base64url").slice(0, 22)}"`;
}

/** @param ifMatch the header; undefined: any state will do. */
export function matches(ifMatch: string | undefined, etag: string): boolean {
  if (ifMatch === undefined || ifMatch.trim() === "*") return true;
  return ifMatch.split(",").some((one) => one.trim().replace(/^W\//, "") === etag);
}
