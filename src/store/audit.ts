/**
 * The audit log. Each line's hash covers the line and the hash of the line before, and the head is kept apart: a line
 * that is altered, removed or put in between breaks the chain.
 */
import type { Kysely } from "kysely";
import { BEGINNING, type Break, breakAfter, chainedHash, type Link } from "../audit-chain.ts";
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
  const hash = chainedHash(head.hash, row);
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
  readonly broken: Break | null;
}

const PORTION = 1_000;

/**
 * Follows the chain from its beginning.
 * @param db a snapshot, or the chain may grow meanwhile.
 */
export async function verifyAudit(db: Kysely<Tables>): Promise<AuditVerdict> {
  const head = await db.selectFrom("audit_head").selectAll().executeTakeFirstOrThrow();
  let last: Link = BEGINNING;
  const verdict = (broken: Break | null): AuditVerdict => ({ lines: last.no, head: head.hash, broken });
  for (;;) {
    const lines = db.selectFrom("audit").selectAll().orderBy("no").limit(PORTION);
    // At first whatever is there: a line that was put in before the first one must not be passed over.
    const rows = await (last === BEGINNING ? lines : lines.where("no", ">", last.no)).execute();
    for (const row of rows) {
      const found = breakAfter(last, row);
      if (found !== null) return verdict(found);
      last = row;
    }
    if (rows.length < PORTION) break;
  }
  if (last.no < head.no) return verdict({ no: last.no + 1, why: `${head.no - last.no} lines are missing at the end` });
  if (last.no > head.no || last.hash !== head.hash) {
    return verdict({ no: head.no, why: "the log and its head do not belong together" });
  }
  return verdict(null);
}
