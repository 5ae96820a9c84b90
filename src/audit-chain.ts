/**
 * How the lines of the audit log hang together: each one's hash covers the line and the hash of the line before. Pure, so
 * that a copy can be held against it anywhere, without a server.
 */
import { createHash } from "node:crypto";

/** A line without its hash, as the database has it. */
export interface AuditLine {
  readonly no: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly actor_kind: string;
  readonly actor: string;
  readonly actor_id: string | null;
  readonly address: string;
  readonly request_id: string;
  readonly action: string;
  readonly subject: string;
  readonly subject_id: string;
  readonly application_id: string | null;
  readonly group_id: string | null;
  /** JSON without spaces, as JSON.stringify writes it. */
  readonly before: string | null;
  readonly after: string | null;
}

/** SHA-256, in hexadecimal, over the hash before and the line's fields in this order. */
export function chainedHash(before: string, line: AuditLine): string {
  const fields = [
    line.no,
    line.at,
    line.actor_kind,
    line.actor,
    line.actor_id,
    line.address,
    line.request_id,
    line.action,
    line.subject,
    line.subject_id,
    line.application_id,
    line.group_id,
    line.before,
    line.after,
  ];
  return createHash("sha256")
    .update(JSON.stringify([before, ...fields]))
    .digest("hex");
}

/** A place in the chain: the number of a line, and its hash. The chain begins with no line and no hash. */
export interface Link {
  readonly no: number;
  readonly hash: string;
}
export const BEGINNING: Link = { no: 0, hash: "" };

/** Where the chain is broken, and how. */
export interface Break {
  readonly no: number;
  readonly why: string;
}

/** What is wrong with a line that comes after `last`; null: it is the next one, and as it was written. */
export function breakAfter(last: Link, line: AuditLine & Link): Break | null {
  if (line.no > last.no + 1) return { no: last.no + 1, why: `lines are missing here, up to ${line.no}` };
  if (line.no <= last.no) return { no: line.no, why: `the line comes after line ${last.no}` };
  if (line.hash === chainedHash(last.hash, line)) return null;
  return { no: line.no, why: "the line, or its place, is not as it was written" };
}
