/** Packages as the API shows them. */
import type { Selectable } from "kysely";
import { z } from "zod";
import { missingOf } from "../rollout/missing.ts";
import { MISSING_FIELDS } from "../rollout/model/configuration.ts";
import type { Tables } from "../store/tables.ts";
import { type Db, timestamp } from "./context.ts";
import type { PackageRow } from "./lookups.ts";
import { orNull } from "./paging.ts";

const flatcarAction = z.object({
  id: z.uuid(),
  event: z.string(),
  chromeos_version: z.string(),
  sha256: z.string(),
  needs_admin: z.boolean(),
  is_delta: z.boolean(),
  disable_payload_backoff: z.boolean(),
  metadata_signature_rsa: z.string(),
  metadata_size: z.string(),
  deadline: z.string(),
  created_ts: z.iso.datetime(),
});

const extraFile = z.object({
  id: z.int(),
  package_id: z.uuid(),
  name: z.string(),
  size: z.string(),
  hash: z.string(),
  hash256: z.string(),
  created_ts: z.iso.datetime(),
});

export const packageObject = z
  .object({
    id: z.uuid(),
    type: z.int(),
    version: z.string(),
    url: z.string(),
    filename: z.string().nullable(),
    description: z.string().nullable(),
    size: z.string().nullable(),
    hash: z.string().nullable(),
    created_ts: z.iso.datetime(),
    hosting: z.enum(["first", "only"]),
    /** What it lacks: until then it is offered to nobody. Empty: it is complete. */
    missing: z.array(z.enum(MISSING_FIELDS)),
    channels_blacklist: z.array(z.uuid()).nullable(),
    application_id: z.uuid(),
    flatcar_action: flatcarAction.nullable(),
    arch: z.int(),
    extra_files: z.array(extraFile).nullable(),
    is_floor: z.literal(true).optional(),
    floor_reason: z.string().nullable(),
  })
  .meta({ id: "Package" });
export type PackageObject = z.input<typeof packageObject>;

/** Rows with all that belongs to them, as the API shows them, in their order. */
export async function toPackages(db: Db, rows: readonly PackageRow[]): Promise<PackageObject[]> {
  const objects: PackageObject[] = [];
  // SQLite takes so many parameters.
  for (let at = 0; at < rows.length; at += AT_ONCE) objects.push(...(await toSome(db, rows.slice(at, at + AT_ONCE))));
  return objects;
}

const AT_ONCE = 500;

async function toSome(db: Db, rows: readonly PackageRow[]): Promise<PackageObject[]> {
  const nos = rows.map(({ no }) => no);
  const ids = await db
    .selectFrom("applications")
    .select(["no", "id"])
    .where("no", "in", [...new Set(rows.map((row) => row.application_no))])
    .execute();
  const applications = new Map(ids.map(({ no, id }) => [no, id]));
  const actions = by(await db.selectFrom("flatcar_actions").selectAll().where("package_no", "in", nos).execute());
  const files = by(
    await db.selectFrom("package_files").selectAll().where("package_no", "in", nos).orderBy("no").execute(),
  );
  const blacklists = by(
    await db
      .selectFrom("package_blacklist")
      .innerJoin("channels", "channels.no", "package_blacklist.channel_no")
      .select(["package_blacklist.package_no", "channels.id"])
      .where("package_blacklist.package_no", "in", nos)
      .orderBy("channels.no")
      .execute(),
  );
  return rows.map((row) => {
    const [action] = actions.get(row.no) ?? [];
    return {
      id: row.id,
      type: row.type,
      version: row.version,
      url: row.url,
      filename: row.filename,
      description: row.description,
      size: row.size,
      hash: row.hash,
      hosting: row.hosting === "only" ? "only" : "first",
      missing: [...missingOf({ ...row, sha256: action?.sha256 ?? null })],
      created_ts: timestamp(row.created_at),
      channels_blacklist: orNull((blacklists.get(row.no) ?? []).map(({ id }) => id)),
      application_id: applications.get(row.application_no) ?? "",
      flatcar_action: action === undefined ? null : toAction(action),
      arch: row.arch,
      extra_files: orNull(
        (files.get(row.no) ?? []).map((file) => ({
          id: file.no,
          package_id: row.id,
          name: file.name,
          size: file.size,
          hash: file.hash,
          hash256: file.hash256,
          created_ts: timestamp(file.created_at),
        })),
      ),
      // Only among a channel's floors is there any.
      floor_reason: null,
    };
  });
}

/** Of each package's number, its rows. */
function by<R extends { readonly package_no: number }>(rows: readonly R[]): ReadonlyMap<number, readonly R[]> {
  return Map.groupBy(rows, (row) => row.package_no);
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
