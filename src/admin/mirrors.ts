/** Mirrors that were imported: which state of each, so that an older one is not taken for news. */
import { z } from "zod";
import { beginImport, type MirrorRow, OlderMirror } from "../sync/mirror-imports.ts";
import { timestamp } from "./context.ts";
import { findApplication } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { cut, listOf, pageQuery } from "./paging.ts";
import { invalid } from "./problem.ts";

const TAG = "packages";

const sha256 = z.string().regex(/^[\da-f]{64}$/, "must be a SHA-256, in hexadecimal");

const mirrorObject = z
  .object({
    id: z.uuid(),
    /** When its manifest was written. */
    created_ts: z.iso.datetime(),
    /** Of its manifest. */
    sha256: z.string(),
    /** SHA-256 of the key that has signed it. */
    signed_by: z.string(),
    imported_ts: z.iso.datetime(),
  })
  .meta({ id: "Mirror" });

const listMirrors = operation({
  id: "listMirrors",
  method: "get",
  path: "/apps/:app/mirrors",
  tag: TAG,
  summary: "The mirrors that releases were imported from, and which state of each",
  role: "viewer",
  query: z.object(pageQuery),
  answer: listOf("mirrors", mirrorObject),
  async handle({ read, params, query }) {
    const { no } = await findApplication(read, params.app);
    const rows = await read
      .selectFrom("mirror_imports")
      .selectAll()
      .where("application_no", "=", no)
      .orderBy("mirror")
      .execute();
    const mirrors = cut(rows.map(shown), query);
    return { totalCount: rows.length, count: mirrors.length, mirrors };
  },
});

const putMirror = operation({
  id: "beginMirrorImport",
  method: "put",
  path: "/apps/:app/mirrors/:mirror",
  tag: TAG,
  summary: "Say which state of a mirror is imported from now on; an older one than the last is refused",
  description:
    "To be asked before anything of it is used: whoever can hand over an old mirror with its old, true signature could keep a " +
    "site on old releases. `allow_older` takes it all the same.",
  role: "admin",
  body: z.strictObject({
    created_ts: z.iso.datetime(),
    sha256,
    signed_by: sha256,
    allow_older: z.boolean().default(false),
  }),
  answer: mirrorObject,
  handle: (call) =>
    call.change(async (tx, now, audit) => {
      const { no, id: applicationId } = await findApplication(tx, call.params.app);
      const mirror = z.uuid().safeParse(call.params.mirror.toLowerCase()).data;
      if (mirror === undefined) throw invalid("mirror", "must be the UUID that the mirror's manifest has");
      const { created_ts: created, sha256, signed_by, allow_older } = call.body;
      const state = { mirror, createdAt: Date.parse(created), sha256, signedBy: signed_by };
      const { before, after } = await beginImport(tx, no, state, { allowOlder: allow_older, now }).catch((error) => {
        throw error instanceof OlderMirror ? invalid("created_ts", error.message, 409) : error;
      });
      const had = before === null ? null : shown(before);
      await audit({ subject: "mirror", id: mirror, applicationId, before: had, after: shown(after) });
      return shown(after);
    }),
});

export const mirrorOperations: readonly Operation[] = [listMirrors, putMirror];

function shown(row: MirrorRow) {
  return {
    id: row.mirror,
    created_ts: timestamp(row.created_at),
    sha256: row.sha256,
    signed_by: row.signed_by,
    imported_ts: timestamp(row.imported_at),
  };
}
