/** Packages: one version of an application for one architecture, with its files and hashes. */
import { randomUUID } from "node:crypto";
import type { Router } from "express";
import type { Insertable, Selectable } from "kysely";
import { z } from "zod";
import { PACKAGE_TYPE } from "../rollout/model.ts";
import { compareVersions, isVersion } from "../rollout/version.ts";
import type { Tables } from "../store/tables.ts";
import { type AdminContext, change, type Db, readOnly, type Tx, timestamp } from "./context.ts";
import { type ApplicationRow, findApplication, findPackage, type PackageRow } from "./lookups.ts";
import { cut, pageQuery } from "./paging.ts";
import { invalid, onlyMethods, Problem, validated } from "./problem.ts";

const base64 = (bytes: number, what: string) =>
  z
    .string()
    .refine(
      (text) => Buffer.from(text, "base64").length === bytes && /^[\w+/]+=*$/.test(text),
      `must be ${what}, in base64`,
    );
const bytes = z
  .union([z.string(), z.number().int().nonnegative()])
  .transform(String)
  .refine((text) => /^\d{1,15}$/.test(text), 'must be a number of bytes as a text of digits, e.g. "465881871"');
const sha1 = z.union([z.literal(""), base64(20, "the SHA-1")]);
const sha256hex = z.union([z.literal(""), z.string().regex(/^[\da-fA-F]{64}$/, "must be the SHA-256, in hexadecimal")]);
const fileName = z
  .string()
  .min(1)
  .max(250)
  .regex(/^[^/\\\s]+$/, "must be a file's name, without folders or spaces");

const action = z.strictObject({
  event: z.enum(["preinstall", "install", "postinstall", "update"]).optional(),
  sha256: base64(32, "the SHA-256 of the payload"),
  chromeos_version: z.string().max(255).optional(),
  needs_admin: z.boolean().optional(),
  is_delta: z.boolean().optional(),
  disable_payload_backoff: z.boolean().optional(),
  metadata_signature_rsa: z.string().max(1024).optional(),
  metadata_size: z.string().max(100).optional(),
  deadline: z.string().max(100).optional(),
  ...readOnly("id", "created_ts"),
});

const packageBody = z.strictObject({
  application_id: z.string().optional(),
  type: z.number().int().min(1).max(1000),
  arch: z.number().int().min(0).max(3),
  version: z.string().refine(isVersion, "must be a semantic version, e.g. 4230.2.1"),
  url: z.url({ protocol: /^https?$/, error: "must be an http or https URL" }).max(2048),
  filename: fileName.max(100).nullish(),
  description: z.string().max(10_000).nullish(),
  size: bytes.nullish(),
  hash: sha1.nullish(),
  channels_blacklist: z.array(z.string()).nullish(),
  flatcar_action: action.nullish(),
  extra_files: z
    .array(
      z.strictObject({
        id: z.number().int().optional(),
        name: fileName,
        size: bytes.nullish(),
        hash: sha1.nullish(),
        hash256: sha256hex.nullish(),
        ...readOnly("package_id", "created_ts"),
      }),
    )
    .max(1_000)
    .nullish(),
  ...readOnly("id", "created_ts", "is_floor", "floor_reason"),
});
type PackageBody = z.infer<typeof packageBody>;

const listQuery = z.object({ ...pageQuery, searchVersion: z.string().max(255).optional() });

export function packageRoutes(router: Router, context: AdminContext): void {
  const { store } = context;

  router
    .route("/apps/:app/packages")
    .get(async (request, response) => {
      const { searchVersion = "", ...page } = validated(listQuery, request.query);
      const application = await findApplication(store.read, request.params.app);
      const rows = await store.read
        .selectFrom("packages")
        .selectAll()
        .where("application_no", "=", application.no)
        .execute();
      const found = rows
        .filter(({ version }) => version.includes(searchVersion))
        .sort((a, b) => compareVersions(b.version, a.version) || a.arch - b.arch);
      const packages = await toPackages(store.read, cut(found, page));
      response.json({ totalCount: found.length, count: packages.length, packages });
    })
    .post(async (request, response) => {
      const body = validated(packageBody, request.body);
      const created = await change(context, response, async (tx, now) => {
        const application = await findApplication(tx, request.params.app);
        await checkPackage(tx, application, body, null);
        const { no } = await tx
          .insertInto("packages")
          .values({
            id: randomUUID(),
            application_no: application.no,
            arch: body.arch,
            created_at: now,
            ...columnsOf(body),
          })
          .returning("no")
          .executeTakeFirstOrThrow();
        await writeParts(tx, no, body, now);
        return packageByNo(tx, no);
      });
      response.json(created);
    })
    .all(onlyMethods("GET", "POST"));

  router
    .route("/apps/:app/packages/:package")
    .get(async (request, response) => {
      const application = await findApplication(store.read, request.params.app);
      const row = await findPackage(store.read, application, request.params.package);
      response.json((await toPackages(store.read, [row]))[0]);
    })
    .put(async (request, response) => {
      const body = validated(packageBody, request.body);
      const updated = await change(context, response, async (tx, now) => {
        const application = await findApplication(tx, request.params.app);
        const before = await findPackage(tx, application, request.params.package);
        // Its architecture never changes.
        await checkPackage(tx, application, { ...body, arch: before.arch }, before);
        await tx.updateTable("packages").set(columnsOf(body)).where("no", "=", before.no).execute();
        await writeParts(tx, before.no, body, now);
        return packageByNo(tx, before.no);
      });
      response.json(updated);
    })
    .delete(async (request, response) => {
      await change(context, response, async (tx) => {
        const application = await findApplication(tx, request.params.app);
        const { no, version } = await findPackage(tx, application, request.params.package);
        const floor = await tx
          .selectFrom("channel_floors")
          .select("channel_no")
          .where("package_no", "=", no)
          .executeTakeFirst();
        if (floor !== undefined)
          throw new Problem(409, `package ${version} is a floor of a channel; take that away first`);
        await tx.updateTable("channels").set({ package_no: null }).where("package_no", "=", no).execute();
        await tx.deleteFrom("packages").where("no", "=", no).execute();
      });
      response.status(204).end();
    })
    .all(onlyMethods("GET", "PUT", "DELETE"));

  router
    .route("/apps/:app/packages/:package/floor-channels")
    .get(async (request, response) => {
      const application = await findApplication(store.read, request.params.app);
      const { no } = await findPackage(store.read, application, request.params.package);
      const rows = await store.read
        .selectFrom("channel_floors")
        .innerJoin("channels", "channels.no", "channel_floors.channel_no")
        .selectAll("channels")
        .select("channel_floors.reason")
        .where("channel_floors.package_no", "=", no)
        .orderBy("channels.name")
        .execute();
      const channels = rows.map(({ reason, id, name, color, arch, created_at }) => ({
        channel: { id, name, color, arch, application_id: application.id, created_ts: timestamp(created_at) },
        floor_reason: reason,
      }));
      response.json({ channels, count: channels.length });
    })
    .all(onlyMethods("GET"));
}

function columnsOf(
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
  };
}

/** Rules beyond the single field. `before`: the package that is being changed. */
async function checkPackage(
  tx: Tx,
  application: ApplicationRow,
  body: PackageBody,
  before: PackageRow | null,
): Promise<void> {
  const { application_id: named } = body;
  if (
    named !== undefined &&
    named.toLowerCase() !== application.id &&
    named.toLowerCase() !== application.product_id?.toLowerCase()
  ) {
    throw invalid("application_id", `must be ${application.id}, the application of the path`);
  }
  if (body.type === PACKAGE_TYPE.flatcar) checkInstallable(body, before !== null);
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

/** update_engine takes no answer without these: a package that lacks them would make every node of a fleet fail. */
function checkInstallable(body: PackageBody, hasAction: boolean): void {
  if (!body.filename) throw invalid("filename", "a Flatcar package needs one");
  if (!(Number(body.size ?? 0) > 0)) throw invalid("size", "a Flatcar package needs one, more than 0 bytes");
  if (!body.flatcar_action && !hasAction) {
    throw invalid("flatcar_action", 'a Flatcar package needs one: { "sha256": base64 of the payload\'s SHA-256 }');
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
async function writeParts(tx: Tx, no: number, body: PackageBody, now: number): Promise<void> {
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
    sha256: given.sha256,
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

/** Files with an id that the package has are changed, ones without are added, the others go. */
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
    if (id !== undefined && known.some(({ no }) => no === id)) {
      kept.add(id);
      await tx.updateTable("package_files").set(columns).where("no", "=", id).execute();
    } else if (id !== undefined && id !== 0) {
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

async function packageByNo(db: Db, no: number): Promise<PackageObject | undefined> {
  const row = await db.selectFrom("packages").selectAll().where("no", "=", no).executeTakeFirstOrThrow();
  return (await toPackages(db, [row]))[0];
}

export type PackageObject = Awaited<ReturnType<typeof toPackages>>[number];

/** Rows with all that belongs to them, as the API shows them. */
export async function toPackages(db: Db, rows: readonly PackageRow[]) {
  const objects = [];
  for (const row of rows) {
    const application = await db
      .selectFrom("applications")
      .select("id")
      .where("no", "=", row.application_no)
      .executeTakeFirstOrThrow();
    const shown = await db
      .selectFrom("flatcar_actions")
      .selectAll()
      .where("package_no", "=", row.no)
      .executeTakeFirst();
    const files = await db
      .selectFrom("package_files")
      .selectAll()
      .where("package_no", "=", row.no)
      .orderBy("no")
      .execute();
    const blacklist = await db
      .selectFrom("package_blacklist")
      .innerJoin("channels", "channels.no", "package_blacklist.channel_no")
      .select("channels.id")
      .where("package_blacklist.package_no", "=", row.no)
      .execute();
    objects.push({
      id: row.id,
      type: row.type,
      version: row.version,
      url: row.url,
      filename: row.filename,
      description: row.description,
      size: row.size,
      hash: row.hash,
      created_ts: timestamp(row.created_at),
      channels_blacklist: blacklist.length === 0 ? null : blacklist.map(({ id }) => id),
      application_id: application.id,
      flatcar_action: shown === undefined ? null : toAction(shown),
      arch: row.arch,
      extra_files:
        files.length === 0
          ? null
          : files.map((file) => ({
              id: file.no,
              package_id: row.id,
              name: file.name,
              size: file.size,
              hash: file.hash,
              hash256: file.hash256,
              created_ts: timestamp(file.created_at),
            })),
    });
  }
  return objects;
}

function toAction(row: Selectable<Tables["flatcar_actions"]>) {
  return {
    id: row.id,
    event: row.event,
    chromeos_version: row.chromeos_version,
    sha256: row.sha256,
    needs_admin: row.needs_admin === 1,
    is_delta: row.is_delta === 1,
    disable_payload_backoff: row.disable_payload_backoff === 1,
    metadata_signature_rsa: row.metadata_signature_rsa,
    metadata_size: row.metadata_size,
    deadline: row.deadline,
    created_ts: timestamp(row.created_at),
  };
}
