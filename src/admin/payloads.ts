/** The files that this server keeps, as a whole: what they take, what may go; and the key that an application's are signed with. */
import { z } from "zod";
import { readPayloadKey } from "../payloads/format.ts";
import { findGarbage, forgetGarbage, GARBAGE_KINDS, removeGarbage } from "../payloads/garbage.ts";
import { usageOf } from "../payloads/usage.ts";
import { moveRevision } from "../store/rollouts.ts";
import type { Tx } from "./context.ts";
import { centralsKey } from "./governed.ts";
import { type ApplicationRow, findApplication } from "./lookups.ts";
import { type Audit, type Operation, operation } from "./operation.ts";
import { invalid, notFound, Problem } from "./problem.ts";

const TAG = "payloads";

const showUsage = operation({
  id: "showPayloadUsage",
  method: "get",
  path: "/payloads",
  tag: TAG,
  summary: "What the files take on the disk, by package and in all",
  role: "viewer",
  confined: "everywhere",
  answer: z.object({
    files: z.int(),
    bytes: z.int(),
    unreferenced_bytes: z.int(),
    corrupt_files: z.int(),
    /** Not signed with their application's payload key: kept out of offers. */
    refused_files: z.int(),
    /** Still to be looked at, since that key has changed. */
    files_to_check: z.int(),
    uploads: z.int(),
    upload_bytes: z.int(),
    free_bytes: z.int(),
    packages: z.array(
      z.object({
        application_id: z.uuid(),
        package_id: z.uuid(),
        version: z.string(),
        arch: z.int(),
        files: z.int(),
        bytes: z.int(),
      }),
    ),
  }),
  async handle(call) {
    const usage = await usageOf(call.payloads, call.read);
    return {
      files: usage.files,
      bytes: usage.bytes,
      unreferenced_bytes: usage.unreferencedBytes,
      corrupt_files: usage.corruptFiles,
      refused_files: usage.refusedFiles,
      files_to_check: usage.filesToCheck,
      uploads: usage.uploads,
      upload_bytes: usage.uploadBytes,
      free_bytes: usage.freeBytes,
      packages: usage.packages.map(({ applicationId, packageId, ...rest }) => ({
        application_id: applicationId,
        package_id: packageId,
        ...rest,
      })),
    };
  },
});

const collect = operation({
  id: "collectPayloads",
  method: "post",
  path: "/payloads/gc",
  tag: TAG,
  summary: "Remove what no package has any more, and uploads that nobody went on with for a week",
  role: "admin",
  confined: "everywhere",
  body: z.strictObject({ dry_run: z.boolean().default(false) }),
  bodyOptional: true,
  answer: z.object({
    dry_run: z.boolean(),
    bytes: z.int(),
    removed: z.array(z.object({ kind: z.enum(GARBAGE_KINDS), name: z.string(), bytes: z.int() })),
  }),
  handle: (call) =>
    call.payloads.exclusive(async () => {
      const dryRun = call.body.dry_run;
      const garbage = await findGarbage(call.payloads, call.read, call.now);
      const bytes = garbage.reduce((sum, one) => sum + one.bytes, 0);
      if (!dryRun && garbage.length > 0) {
        await call.change(async (tx, _now, audit) => {
          await forgetGarbage(tx, garbage);
          await audit({ subject: "payloads", id: "all", before: { removed: garbage }, after: null });
        });
        await removeGarbage(call.payloads, garbage);
      }
      return { dry_run: dryRun, bytes, removed: [...garbage] };
    }),
});

const keyObject = z.object({ public_key: z.string() }).meta({ id: "PayloadKey" });

const getKey = operation({
  id: "getPayloadKey",
  method: "get",
  path: "/apps/:app/payload-key",
  tag: TAG,
  summary: "The key that payloads of the application must be signed with",
  role: "viewer",
  answer: keyObject,
  async handle(call) {
    const row = await findApplication(call.read, call.params.app);
    const key = shownKey(row);
    call.tag(row.payload_key);
    return key;
  },
});

const putKey = operation({
  id: "setPayloadKey",
  method: "put",
  path: "/apps/:app/payload-key",
  tag: TAG,
  summary: "From now on, take only payloads that are signed with this key",
  description:
    "It is the one in /usr/share/update_engine/update-payload-key.pub.pem on the nodes. Files that are here already are looked at " +
    "again, in the background; those that are not signed with it become `refused`, and their packages are offered to nobody.",
  role: "admin",
  body: z.strictObject({ public_key: z.string().max(10_000) }),
  answer: keyObject,
  handle: (call) =>
    call.change(async (tx, _now, audit) => {
      const row = await findApplication(tx, call.params.app);
      call.expect(row.payload_key);
      const key = plainKey(call.body.public_key, "public_key");
      await setPayloadKey(tx, row, key, audit);
      call.tag(key);
      return { public_key: key };
    }),
});

const removeKey = operation({
  id: "deletePayloadKey",
  method: "delete",
  path: "/apps/:app/payload-key",
  tag: TAG,
  summary: "Take payloads of the application whoever has signed them; at a site, as the central server says",
  role: "admin",
  answer: null,
  handle: (call) =>
    call.change(async (tx, _now, audit) => {
      const row = await findApplication(tx, call.params.app);
      if (row.payload_key === null) throw noKey(row);
      call.expect(row.payload_key);
      if (row.payload_key === (await centralsKey(tx, row.id)))
        throw new Problem(409, "this key comes from the central server: change it there");
      await setPayloadKey(tx, row, null, audit);
    }),
});

export const payloadOperations: readonly Operation[] = [showUsage, collect, getKey, putKey, removeKey];

/** @param wanted as `plainKey` writes it; null: none, or at a site the central server's. */
export async function setPayloadKey(tx: Tx, row: ApplicationRow, wanted: string | null, audit: Audit): Promise<void> {
  if (wanted === row.payload_key) return;
  const key = wanted ?? (await centralsKey(tx, row.id));
  if (key === row.payload_key) return;
  await tx.updateTable("applications").set({ payload_key: key }).where("no", "=", row.no).execute();
  // Without a key there is nothing to look for, and no reason left to keep a file out.
  const judgement = key === null ? { look_again: 0 as const, refused: null } : { look_again: 1 as const };
  await tx
    .updateTable("hosted_files")
    .set(judgement)
    .where("package_no", "in", tx.selectFrom("packages").select("no").where("application_no", "=", row.no))
    .execute();
  await moveRevision(tx);
  const subject = { subject: "payload key", id: row.id, applicationId: row.id };
  const stateOf = (present: string | null) => (present === null ? null : { public_key: present });
  await audit({ ...subject, before: stateOf(row.payload_key), after: stateOf(key) });
}

function shownKey(row: ApplicationRow): { public_key: string } {
  if (row.payload_key === null) throw noKey(row);
  return { public_key: row.payload_key };
}

function noKey({ name }: ApplicationRow): Problem {
  return notFound("payload key of application", name);
}

/** One way to write it, whatever was around it. @param field where it came from */
export function plainKey(pem: string, field: string): string {
  try {
    return String(readPayloadKey(pem).export({ type: "spki", format: "pem" }));
  } catch (error) {
    throw invalid(field, error instanceof Error ? error.message : String(error));
  }
}
