/** From what a path names to the row it means. An id of another application is not found, whoever asks. */
import type { Selectable } from "kysely";
import type { Tables } from "../store/tables.ts";
import type { Db } from "./context.ts";
import { invalid, notFound, Problem } from "./problem.ts";

export type ApplicationRow = Selectable<Tables["applications"]>;
export type GroupRow = Selectable<Tables["groups"]>;
export type ChannelRow = Selectable<Tables["channels"]>;
export type PackageRow = Selectable<Tables["packages"]>;

/** @param name the application's UUID or its product id, in any case. */
export async function findApplication(db: Db, name: string): Promise<ApplicationRow> {
  const wanted = name.toLowerCase();
  const row = await db
    .selectFrom("applications")
    .selectAll()
    .where((eb) => eb.or([eb("id", "=", wanted), eb(eb.fn<string>("lower", ["product_id"]), "=", wanted)]))
    .executeTakeFirst();
  if (row === undefined) throw new Problem(404, `App not found for :${name}`);
  return row;
}

/**
 * @param named by a body, its UUID or product id: clients say again there what the path says, or leave it empty.
 * @throws Problem 400
 */
export function checkApplication({ id, product_id }: ApplicationRow, named: string | undefined): void {
  if (!named || [id, product_id?.toLowerCase()].includes(named.toLowerCase())) return;
  throw invalid("application_id", `must be ${id}, the application of the path`);
}

export async function findGroup(db: Db, application: ApplicationRow, id: string): Promise<GroupRow> {
  const row = await db
    .selectFrom("groups")
    .selectAll()
    .where("id", "=", id.toLowerCase())
    .where("application_no", "=", application.no)
    .executeTakeFirst();
  if (row === undefined) throw notFound("group", id);
  return row;
}

/** @param application null: of any application. */
export async function findChannel(db: Db, application: ApplicationRow | null, id: string): Promise<ChannelRow> {
  const row = await db
    .selectFrom("channels")
    .selectAll()
    .where("id", "=", id.toLowerCase())
    .$if(application !== null, (query) => query.where("application_no", "=", application?.no ?? 0))
    .executeTakeFirst();
  if (row === undefined) throw notFound("channel", id);
  return row;
}

/** @param application null: of any application. */
export async function findPackage(db: Db, application: ApplicationRow | null, id: string): Promise<PackageRow> {
  const row = await db
    .selectFrom("packages")
    .selectAll()
    .where("id", "=", id.toLowerCase())
    .$if(application !== null, (query) => query.where("application_no", "=", application?.no ?? 0))
    .executeTakeFirst();
  if (row === undefined) throw notFound("package", id);
  return row;
}

export async function countOf(query: {
  executeTakeFirstOrThrow(): Promise<{ count: number | string | bigint }>;
}): Promise<number> {
  return Number((await query.executeTakeFirstOrThrow()).count);
}
