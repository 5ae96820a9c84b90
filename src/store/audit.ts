/**
 * The audit log. Each line's hash covers the line and the hash of the line before, and the head is kept apart: a line
 * that is altered, removed or put in between breaks the chain.
 */
import { createHash } from "node:crypto";
import type { Kysely, Selectable } from "kysely";
import type { Tables } from "./tables.ts";

export interface AuditEntry {
  readonly at: number;
  readonly actorKind: string;
  readonly actor: string;
  /** The token's UUID or the user's subject. */
  readonly actorId: string | null;
  readonly address: string;
  readonly requestId: string;
  /** The operation's id, e.g. `updateGroup`. */
  readonly action: string;
  readonly subject: string;
  readonly subjectId: string;
  readonly applicationId: string | null;
  readonly groupId: string | null;
  /** JSON; null: there was nothing before. */
  readonly before: string | null;
  /** JSON; null: there is nothing any more. */
  readonly after: string | null;
}

type AuditRow = Selectable<Tables["audit"]>;

/** In the transaction of the change itself: both are kept, or none. */
export async function appendAudit(tx: Kysely<Tables>, entry: AuditEntry): Promise<void> {
  // Whoever moves the head first goes first: others wait for it, or are on the same connection anyway.
  const head = await tx
    .updateTable("audit_head")
    .set((eb) => ({ no: eb("no", "+", 1) }))
    .returning(["no", "hash"])
    .executeTakeFirstOrThrow();
  const row = {
    no: head.no,
    at: entry.at,
    actor_kind: entry.actorKind,
    actor: entry.actor,
    actor_id: entry.actorId,
    address: entry.address,
    request_id: entry.requestId,
    action: entry.action,
    subject: entry.subject,
    subject_id: entry.subjectId,
    application_id: entry.applicationId,
    group_id: entry.groupId,
    before: entry.before,
    after: entry.after,
  };
  const hash = hashOf(head.hash, row);
  await tx
    .insertInto("audit")
    .values({ ...row, hash })
    .execute();
  await tx.updateTable("audit_head").set({ hash }).execute();
}

export interface AuditVerdict {
  readonly lines: number;
  /** Of the newest line: keep it elsewhere, and even a log that was rewritten whole is found out. */
  readonly head: string;
  /** The first place where the chain is broken; null: it is whole. */
  readonly broken: { readonly no: number; readonly why: string } | null;
}

const PORTION = 1_000;

/**
 * Follows the chain from its beginning.
 * @param db a snapshot, or the chain may grow meanwhile.
 */
export async function verifyAudit(db: Kysely<Tables>): Promise<AuditVerdict> {
  const head = await db.selectFrom("audit_head").selectAll().executeTakeFirstOrThrow();
  let [no, hash] = [0, ""];
  const broken = (at: number, why: string): AuditVerdict => ({
    lines: no,
    head: head.hash,
    broken: { no: at, why },
  });
  for (;;) {
    const rows = await db.selectFrom("audit").selectAll().where("no", ">", no).orderBy("no").limit(PORTION).execute();
    for (const row of rows) {
      if (row.no !== no + 1) return broken(no + 1, `${row.no - no - 1} lines are missing here`);
      const { hash: kept, ...line } = row;
      const expected = hashOf(hash, line);
      if (kept !== expected) return broken(row.no, "the line, or its place, is not as it was written");
      [no, hash] = [row.no, kept];
    }
    if (rows.length < PORTION) break;
  }
  if (no < head.no) return broken(no + 1, `${head.no - no} lines are missing at the end`);
  if (no > head.no || hash !== head.hash) return broken(head.no, "the log and its head do not belong together");
  return { lines: no, head: hash, broken: null };
}

/** SHA-256, in hexadecimal, over the hash before and the line's fields in this order. */
function hashOf(before: string, row: Omit<AuditRow, "hash">): string {
  const fields = [
    row.no,
    row.at,
    row.actor_kind,
    row.actor,
    row.actor_id,
    row.address,
    row.request_id,
    row.action,
    row.subject,
    row.subject_id,
    row.application_id,
    row.group_id,
    row.before,
    row.after,
  ];
  return createHash("sha256")
    .update(JSON.stringify([before, ...fields]))
    .digest("hex");
}
