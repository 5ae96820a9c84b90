/** Packages as they come in: what each field may be, the rules beyond the single field, and how they are written. */
import { randomUUID } from "node:crypto";
import type { Insertable } from "kysely";
import { z } from "zod";
import { PACKAGE_TYPE } from "../rollout/model/configuration.ts";
import type { Tables } from "../store/tables.ts";
import { readOnly, type Tx } from "./context.ts";
import { type ApplicationRow, checkApplication, type PackageRow } from "./lookups.ts";
import { invalid } from "./problem.ts";
import { checkVersion } from "./version-schemes.ts";

const SHA1_BYTES = 20;
const SHA256_BYTES = 32;

/** With its padding, and nothing else: `update_engine` reads no other base64. */
function isBase64(text: string, bytes: number): boolean {
  const decoded = Buffer.from(text, "base64");
  return decoded.length === bytes && decoded.toString("base64") === text;
}

const bytes = z
  .union([z.string(), z.int().nonnegative()], { error: "must be a number of bytes" })
  .transform(String)
  .refine((text) => /^\d{0,15}$/.test(text), 'must be a number of bytes as a text of digits, e.g. "465881871"');
const hash256 = z.string().regex(/^([\da-fA-F]{64})?$/, "must be the SHA-256, in hexadecimal");
const fileName = z
  .string()
  .max(250)
  .regex(/^(?!\.{1,2}$)[^/\\\s\p{Cc}]*$/u, "must be a file's name, without folders or spaces");

const action = z.strictObject({
  event: z.enum(["preinstall", "install", "postinstall", "update"]).optional(),
  sha256: z.string().max(64).nullish(),
  chromeos_version: z.string().max(255).optional(),
  needs_admin: z.boolean().optional(),
  is_delta: z.boolean().optional(),
  disable_payload_backoff: z.boolean().optional(),
  metadata_signature_rsa: z.string().max(1024).optional(),
  metadata_size: z.string().max(100).optional(),
  deadline: z.string().max(100).optional(),
  ...readOnly("id", "created_ts"),
});

const extraFile = z.strictObject({
  id: z.int().nullish(),
  name: fileName.min(1),
  size: bytes.nullish(),
  hash: z.string().max(250).nullish(),
  hash256: hash256.nullish(),
  ...readOnly("package_id", "created_ts"),
});

const fields = z.strictObject({
  application_id: z.string().optional(),
  type: z.int().min(1).max(1000),
  arch: z.int().min(0).max(3),
  version: z.string().max(255),
  url: z
    .string()
    .max(2048)
    .regex(/^[^\s\p{Cc}]+$/u, "must be a URL"),
  filename: fileName.max(100).nullish(),
  description: z.string().max(10_000).nullish(),
  size: bytes.nullish(),
  hash: z.string().max(64).nullish(),
  hosting: z.enum(["first", "only"]).nullish(),
  channels_blacklist: z.array(z.string()).max(1_000).nullish(),
  flatcar_action: action.nullish(),
  extra_files: z.array(extraFile).max(1_000).nullish(),
  ...readOnly("id", "created_ts", "missing", "is_floor", "floor_reason"),
});

export const packageBody = fields.superRefine((body, context) => {
  if (body.type !== PACKAGE_TYPE.flatcar) return;
  for (const [path, message] of complaints(body)) context.addIssue({ code: "custom", path, message });
});
export type PackageBody = z.output<typeof packageBody>;

export function columnsOf(
  body: PackageBody,
): Omit<Insertable<Tables["packages"]>, "id" | "application_no" | "arch" | "created_at"> {
  return {
    type: body.type,
    version: body.version,
    url: body.url,
    filename: body.filename ?? null,
    description: body.description ?? null,
    size: body.size ?? null,
    hash: body.hash ?? null,
    // Clients that do not know of it leave it out, and must not turn it back.
    ...(body.hosting != null && { hosting: body.hosting }),
  };
}

/** Rules beyond the single field. `before`: the package that is being changed. */
export async function checkPackage(
  tx: Tx,
  application: ApplicationRow,
  body: PackageBody,
  before: PackageRow | null,
): Promise<void> {
  checkApplication(application, body.application_id);
  checkVersion("version", body.version, application);
  const twin = await tx
    .selectFrom("packages")
    .select("no")
    .where("application_no", "=", application.no)
    .where("version", "=", body.version)
    .where("arch", "=", body.arch)
    .executeTakeFirst();
  if (twin !== undefined && twin.no !== before?.no) {
    throw invalid("version", `there is a package ${body.version} for this architecture already`, 409);
  }
  await checkBlacklist(tx, application, body, before);
}

/** What update_engine can't read. What is not there at all may come later: see `missingOf`. */
function* complaints(body: z.output<typeof fields>): Generator<[path: (string | number)[], message: string]> {
  const sha1 = (hash: string | null | undefined) => !hash || isBase64(hash, SHA1_BYTES);
  const url = URL.parse(body.url);
  if (url === null || !/^https?:$/.test(url.protocol)) yield [["url"], "must be an http or https URL"];
  if (!sha1(body.hash)) yield [["hash"], "must be the SHA-1, in base64"];
  const sha256 = body.flatcar_action?.sha256;
  if (sha256 && !isBase64(sha256, SHA256_BYTES)) {
    yield [["flatcar_action", "sha256"], "must be the SHA-256 of the payload, in base64"];
  }
  for (const [index, { hash }] of (body.extra_files ?? []).entries()) {
    if (!sha1(hash)) yield [["extra_files", index, "hash"], "must be the SHA-1, in base64"];
  }
}

async function checkBlacklist(
  tx: Tx,
  application: ApplicationRow,
  body: PackageBody,
  before: PackageRow | null,
): Promise<void> {
  for (const [index, id] of (body.channels_blacklist ?? []).entries()) {
    const path = `channels_blacklist.${index}`;
    const channel = await tx
      .selectFrom("channels")
      .selectAll()
      .where("id", "=", id.toLowerCase())
      .where("application_no", "=", application.no)
      .executeTakeFirst();
    if (channel === undefined) throw invalid(path, "there is no such channel in this application");
    if (channel.arch !== body.arch) throw invalid(path, "the channel is for another architecture");
    if (before === null) continue;
    if (channel.package_no === before.no) throw invalid(path, `channel ${channel.name} points to this package`, 409);
    const floor = await tx
      .selectFrom("channel_floors")
      .select("channel_no")
      .where("channel_no", "=", channel.no)
      .where("package_no", "=", before.no)
      .executeTakeFirst();
    if (floor !== undefined) throw invalid(path, `this package is a floor of channel ${channel.name}`, 409);
  }
}

/** Action, further files and blacklist as the body has them; an action that it leaves out stays. */
export async function writeParts(tx: Tx, no: number, body: PackageBody, now: number): Promise<void> {
  await tx.deleteFrom("package_blacklist").where("package_no", "=", no).execute();
  for (const id of new Set((body.channels_blacklist ?? []).map((id) => id.toLowerCase()))) {
    const { no: channelNo } = await tx
      .selectFrom("channels")
      .select("no")
      .where("id", "=", id)
      .executeTakeFirstOrThrow();
    await tx.insertInto("package_blacklist").values({ package_no: no, channel_no: channelNo }).execute();
  }
  if (body.type === PACKAGE_TYPE.flatcar && body.flatcar_action) await writeAction(tx, no, body.flatcar_action, now);
  if (body.type !== PACKAGE_TYPE.flatcar) await tx.deleteFrom("flatcar_actions").where("package_no", "=", no).execute();
  await writeFiles(tx, no, body.extra_files ?? [], now);
}

/** A package has one action: changing it is changing this one, with or without its id. */
async function writeAction(tx: Tx, packageNo: number, given: z.infer<typeof action>, now: number): Promise<void> {
  const before = await tx
    .selectFrom("flatcar_actions")
    .selectAll()
    .where("package_no", "=", packageNo)
    .executeTakeFirst();
  const flag = (value: boolean | undefined, present: number | undefined, otherwise: 0 | 1): number =>
    value === undefined ? (present ?? otherwise) : Number(value);
  const columns = {
    event: given.event ?? before?.event ?? "postinstall",
    sha256: given.sha256 ?? before?.sha256 ?? "",
    chromeos_version: given.chromeos_version ?? before?.chromeos_version ?? "",
    needs_admin: flag(given.needs_admin, before?.needs_admin, 0),
    is_delta: flag(given.is_delta, before?.is_delta, 0),
    disable_payload_backoff: flag(given.disable_payload_backoff, before?.disable_payload_backoff, 1),
    metadata_signature_rsa: given.metadata_signature_rsa ?? before?.metadata_signature_rsa ?? "",
    metadata_size: given.metadata_size ?? before?.metadata_size ?? "",
    deadline: given.deadline ?? before?.deadline ?? "",
  };
  if (before !== undefined) {
    await tx.updateTable("flatcar_actions").set(columns).where("package_no", "=", packageNo).execute();
    return;
  }
  await tx
    .insertInto("flatcar_actions")
    .values({ package_no: packageNo, id: randomUUID(), created_at: now, ...columns })
    .execute();
}

/** Files with an id that the package has are changed, ones without (or with 0) are added, the others go. */
async function writeFiles(
  tx: Tx,
  packageNo: number,
  files: NonNullable<PackageBody["extra_files"]>,
  now: number,
): Promise<void> {
  const known = await tx.selectFrom("package_files").select("no").where("package_no", "=", packageNo).execute();
  const kept = new Set<number>();
  for (const [index, { id, name, size, hash, hash256 }] of files.entries()) {
    const columns = { name, size: size ?? "0", hash: hash ?? "", hash256: (hash256 ?? "").toLowerCase() };
    if (id && known.some(({ no }) => no === id)) {
      kept.add(id);
      await tx.updateTable("package_files").set(columns).where("no", "=", id).execute();
    } else if (id) {
      throw invalid(`extra_files.${index}.id`, "this package has no such file; leave the id out to add one");
    } else {
      const { no } = await tx
        .insertInto("package_files")
        .values({ package_no: packageNo, created_at: now, ...columns })
        .returning("no")
        .executeTakeFirstOrThrow();
      kept.add(no);
    }
  }
  for (const { no } of known) if (!kept.has(no)) await tx.deleteFrom("package_files").where("no", "=", no).execute();
}
