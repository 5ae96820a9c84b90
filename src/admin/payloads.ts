/** The files that this server keeps, as a whole: what they take, what may go; and the key that an application's are signed with. */
import { z } from "zod";
import { readPayloadKey } from "../payloads/format.ts";
import { findGarbage, forgetGarbage, GARBAGE_KINDS, removeGarbage } from "../payloads/garbage.ts";
import { usageOf } from "../payloads/usage.ts";
import { type ApplicationRow, findApplication } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { invalid, notFound } from "./problem.ts";

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
    return shownKey(await findApplication(call.read, call.params.app));
  },
});

const putKey = operation({
  id: "setPayloadKey",
  method: "put",
  path: "/apps/:app/payload-key",
  tag: TAG,
  summary: "From now on, take only payloads that are signed with this key",
  description:
    "It is the one in /usr/share/update_engine/update-payload-key.pub.pem on the nodes. Files that are here already are not " +
    "looked at again.",
  role: "admin",
  body: z.strictObject({ public_key: z.string().max(10_000) }),
  answer: keyObject,
  handle: (call) =>
    call.change(async (tx, _now, audit) => {
      const row = await findApplication(tx, call.params.app);
      const key = { public_key: plainKey(call.body.public_key) };
      await tx.updateTable("applications").set({ payload_key: key.public_key }).where("no", "=", row.no).execute();
      await audit({ ...subject(row), before: row.payload_key === null ? null : shownKey(row), after: key });
      return key;
    }),
});

const removeKey = operation({
  id: "deletePayloadKey",
  method: "delete",
  path: "/apps/:app/payload-key",
  tag: TAG,
  summary: "Take payloads of the application whoever has signed them",
  role: "admin",
  answer: null,
  handle: (call) =>
    call.change(async (tx, _now, audit) => {
      const row = await findApplication(tx, call.params.app);
      const before = shownKey(row);
      await tx.updateTable("applications").set({ payload_key: null }).where("no", "=", row.no).execute();
      await audit({ ...subject(row), before, after: null });
    }),
});

export const payloadOperations: readonly Operation[] = [showUsage, collect, getKey, putKey, removeKey];

function subject({ id }: ApplicationRow) {
  return { subject: "payload key", id, applicationId: id };
}

function shownKey({ payload_key: key, name }: ApplicationRow): { public_key: string } {
  if (key === null) throw notFound("payload key of application", name);
  return { public_key: key };
}

/** One way to write it, whatever was around it. */
function plainKey(pem: string): string {
  try {
    return String(readPayloadKey(pem).export({ type: "spki", format: "pem" }));
  } catch (error) {
    throw invalid("public_key", error instanceof Error ? error.message : String(error));
  }
}
