/** What the database knows of files: which content belongs to which package's file. */
import { type Kysely, sql, type Transaction } from "kysely";
import { archName } from "../rollout/health.ts";
import { toArch } from "../store/fleet.ts";
import { type HostedFile, hostedFiles } from "../store/hosted.ts";
import type { Tables } from "../store/tables.ts";
import type { Content } from "./uploads.ts";

type Db = Kysely<Tables>;
type Tx = Transaction<Tables>;

/** From now on this is the package's file of that name. @param lookAgain its signature is not known to be right */
export async function recordFile(
  tx: Tx,
  packageNo: number,
  name: string,
  content: Content,
  { now, lookAgain }: { readonly now: number; readonly lookAgain: boolean },
): Promise<void> {
  const { sha256, sha1, sizeBytes: size } = content;
  const known = await tx.selectFrom("payloads").select("no").where("sha256", "=", sha256).executeTakeFirst();
  const present = { state: "stored", checked_at: now };
  if (known !== undefined) await tx.updateTable("payloads").set(present).where("no", "=", known.no).execute();
  const { no } =
    known ??
    (await tx
      .insertInto("payloads")
      .values({ sha256, sha1, size, stored_at: now, ...present })
      .returning("no")
      .executeTakeFirstOrThrow());
  await forgetFile(tx, packageNo, name);
  await tx
    .insertInto("hosted_files")
    .values({
      package_no: packageNo,
      name,
      payload_no: no,
      created_at: now,
      look_again: lookAgain ? 1 : 0,
      refused: null,
    })
    .execute();
}

/** Its content stays until it is collected. Answers whether there was one. */
export async function forgetFile(tx: Tx, packageNo: number, name: string): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom("hosted_files")
    .where("package_no", "=", packageNo)
    .where("name", "=", name)
    .executeTakeFirst();
  return numDeletedRows > 0n;
}

/** What a package's files are here, corrupt ones too. */
export function filesOfPackage(db: Db, packageNo: number) {
  return hostedFiles(db)
    .select(["payloads.state", "payloads.checked_at", "hosted_files.created_at"])
    .where("hosted_files.package_no", "=", packageNo)
    .execute();
}

/** The contents that packages want: files that they name by now, and not only did once. */
export async function wantedContents(db: Db): Promise<ReadonlySet<number>> {
  const rows = await db
    .selectFrom("hosted_files")
    .innerJoin("packages", "packages.no", "hosted_files.package_no")
    .leftJoin("package_files", (join) =>
      join
        .onRef("package_files.package_no", "=", "hosted_files.package_no")
        .onRef("package_files.name", "=", "hosted_files.name"),
    )
    .select("hosted_files.payload_no")
    .where((eb) =>
      eb.or([eb("packages.filename", "=", eb.ref("hosted_files.name")), eb("package_files.no", "is not", null)]),
    )
    .execute();
  return new Set(rows.map((row) => row.payload_no));
}

export interface FilePath {
  /** UUID or product id. */
  readonly app: string;
  readonly arch: string;
  readonly version: string;
  readonly file: string;
}

/** A file with its package. */
export interface FoundFile extends HostedFile {
  readonly applicationId: string;
  readonly version: string;
  /** The package's own file name: its payload. */
  readonly filename: string | null;
}

/** What a download asks for; null: it is not here. */
export async function findFile(db: Db, { app, arch, version, file }: FilePath): Promise<FoundFile | null> {
  const rows = await hostedFiles(db)
    .innerJoin("packages", "packages.no", "hosted_files.package_no")
    .innerJoin("applications", "applications.no", "packages.application_no")
    .select(["applications.id as applicationId", "packages.arch", "packages.version", "packages.filename"])
    .where("packages.version", "=", version)
    .where("hosted_files.name", "=", file)
    .where("payloads.state", "=", "stored")
    .where("hosted_files.refused", "is", null)
    .where((eb) =>
      eb.or([
        eb("applications.id", "=", app.toLowerCase()),
        eb(eb.fn<string>("lower", ["applications.product_id"]), "=", app.toLowerCase()),
      ]),
    )
    .execute();
  return rows.find((row) => archName(toArch(row.arch)) === arch) ?? null;
}

/** How many nodes at an address were offered something, and have still to fetch it, or what belongs to it. */
export async function fetchingAt(db: Db, address: string): Promise<number> {
  const { nodes } = await db
    .selectFrom("nodes")
    .select((eb) => eb.fn.countAll().as("nodes"))
    .where("ip", "=", address)
    // As its index has it.
    .where(sql<boolean>`status IN ('granted', 'downloading', 'downloaded')`)
    .executeTakeFirstOrThrow();
  return Number(nodes);
}
