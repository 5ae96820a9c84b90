/**
 * Packages that lack something are kept, and offered to nobody: see `rollout/missing.ts`. These are the rules that keep them
 * away from nodes: where people would take one for a release, they are told what it lacks.
 */

import { inWords, missingOf } from "../rollout/missing.ts";
import type { MissingField } from "../rollout/model/configuration.ts";
import type { Db } from "./context.ts";
import type { ChannelRow, PackageRow } from "./lookups.ts";
import { invalid } from "./problem.ts";

async function missingFrom(db: Db, row: PackageRow): Promise<readonly MissingField[]> {
  const action = await db
    .selectFrom("flatcar_actions")
    .select("sha256")
    .where("package_no", "=", row.no)
    .executeTakeFirst();
  return missingOf({ ...row, sha256: action?.sha256 ?? null });
}

/** @throws Problem 409 that says what the package lacks */
export async function checkComplete(db: Db, row: PackageRow, path: string): Promise<void> {
  const missing = await missingFrom(db, row);
  if (missing.length === 0) return;
  throw invalid(path, `package ${row.version} is incomplete: it lacks ${inWords(missing)}; add that first`, 409);
}

/**
 * Whether a channel moves nodes: some group follows it. One that nobody follows may point to what is incomplete, and a new
 * group may follow it: declarative tools make package, channel and group in this order, and fill in later.
 */
export async function isFollowed(db: Db, { no }: ChannelRow): Promise<boolean> {
  const row = await db.selectFrom("groups").select("no").where("channel_no", "=", no).executeTakeFirst();
  return row !== undefined;
}

/** For a group that is moved to this channel. @throws Problem 409 */
export async function checkChannelComplete(db: Db, channelNo: number, path: string): Promise<void> {
  const target = await db
    .selectFrom("channels")
    .innerJoin("packages", "packages.no", "channels.package_no")
    .selectAll("packages")
    .where("channels.no", "=", channelNo)
    .executeTakeFirst();
  if (target !== undefined) await checkComplete(db, target, path);
}

/** What is in use can't lose what nodes need of it. @throws Problem 409 that names what is in the way */
export async function checkStaysComplete(
  db: Db,
  row: PackageRow,
  before: readonly MissingField[],
  after: readonly MissingField[],
): Promise<void> {
  const [lost] = after;
  if (lost === undefined || before.length > 0) return;
  const user = await userOf(db, row);
  if (user !== null) throw invalid(lost, `${user}: the package can't lose its ${inWords(after)}`, 409);
}

async function userOf(db: Db, { no, version }: PackageRow): Promise<string | null> {
  const channel = await db.selectFrom("channels").select("name").where("package_no", "=", no).executeTakeFirst();
  if (channel !== undefined) return `channel "${channel.name}" points to it`;
  const floor = await db
    .selectFrom("channel_floors")
    .innerJoin("channels", "channels.no", "channel_floors.channel_no")
    .select("channels.name")
    .where("channel_floors.package_no", "=", no)
    .executeTakeFirst();
  if (floor !== undefined) return `it is a floor of channel "${floor.name}"`;
  const way = await db
    .selectFrom("rollouts")
    .select("undoes")
    .where("package_no", "=", no)
    .where("present", "=", 1)
    .where("undoes", "is not", null)
    .executeTakeFirst();
  return way === undefined ? null : `nodes go back to ${version} from ${way.undoes}`;
}
