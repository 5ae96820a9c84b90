/** From lines of the activity to what a webhook is told: the event's body, with all that can be known about it. */
import type { Kysely } from "kysely";
import type { Tables } from "../store/tables.ts";
import { type EventName, eventOf, TEST_EVENT } from "./events.ts";

type Db = Kysely<Tables>;

interface Named {
  readonly id: string;
  readonly name: string;
}

/** The body of a delivery, field by field. */
export interface Told {
  /** The same for every webhook and every try. */
  readonly id: string;
  readonly type: EventName | typeof TEST_EVENT;
  readonly created_ts: string;
  readonly application: Named | null;
  readonly group: Named | null;
  readonly channel: Named | null;
  readonly rollout: { readonly id: string } | null;
  readonly instance: { readonly id: string; readonly alias: string } | null;
  readonly version: string | null;
  /** As in the activity; null for a test. */
  readonly class: number | null;
  readonly severity: number | null;
  /** Of a node that failed, by update_engine's numbers. */
  readonly error_code: number | null;
  /** One sentence for people. */
  readonly message: string;
}

/** Untold lines of the activity, the oldest first; those that are gone meanwhile have no `id`. */
export function untoldLines(db: Db, limit: number) {
  return db
    .selectFrom("untold")
    .leftJoin("activity", "activity.no", "untold.activity_no")
    .leftJoin("applications", "applications.no", "activity.application_no")
    .leftJoin("groups", "groups.no", "activity.group_no")
    .leftJoin("channels", "channels.no", "activity.channel_no")
    .select(["untold.activity_no", "activity.id", "activity.at", "activity.class", "activity.severity"])
    .select(["activity.application_no", "activity.group_no", "activity.instance_id", "activity.version"])
    .select(["applications.id as application_id", "applications.name as application_name"])
    .select(["groups.id as group_id", "groups.name as group_name"])
    .select(["channels.id as channel_id", "channels.name as channel_name"])
    .orderBy("untold.activity_no")
    .limit(limit)
    .execute();
}
export type Line = Awaited<ReturnType<typeof untoldLines>>[number];

/** Null: there is nothing to tell of this line any more. */
export async function toldOf(db: Db, line: Line): Promise<Told | null> {
  const type = line.class === null ? null : eventOf(line.class);
  if (line.id === null || line.at === null || type === null || line.version === null) return null;
  const node = await nodeOf(db, line, line.at);
  const rollout = await rolloutOf(db, line, line.at, node?.rolloutNo ?? null);
  const about = {
    application: named(line.application_id, line.application_name),
    group: named(line.group_id, line.group_name),
    channel: named(line.channel_id, line.channel_name),
    instance: node && { id: node.id, alias: node.alias },
    version: line.version,
    error_code: node?.errorCode ?? null,
  };
  return {
    id: line.id,
    type,
    created_ts: new Date(line.at).toISOString(),
    ...about,
    rollout: rollout && { id: rollout.id },
    class: line.class,
    severity: line.severity,
    message: messageOf(type, about, rollout?.reason ?? null),
  };
}

export function testOf(id: string, webhook: string, now: number): Told {
  return {
    id,
    type: TEST_EVENT,
    created_ts: new Date(now).toISOString(),
    application: null,
    group: null,
    channel: null,
    rollout: null,
    instance: null,
    version: null,
    class: null,
    severity: null,
    error_code: null,
    message: `This is a test of the webhook "${webhook}". Nothing has happened.`,
  };
}

function named(id: string | null, name: string | null): Named | null {
  return id === null || name === null ? null : { id, name };
}

/** The node, with what its history says of that moment. */
async function nodeOf(db: Db, line: Line, at: number) {
  if (line.instance_id === null || line.application_no === null) return null;
  const row = await db
    .selectFrom("nodes")
    .select(["no", "alias", "machine_alias"])
    .where("id", "=", line.instance_id)
    .where("application_no", "=", line.application_no)
    .executeTakeFirst();
  const step =
    row &&
    (await db
      .selectFrom("status_history")
      .select(["rollout_no", "error_code"])
      .where("node_no", "=", row.no)
      .where("at", "=", at)
      .orderBy("no", "desc")
      .executeTakeFirst());
  return {
    id: line.instance_id,
    alias: row?.alias || row?.machine_alias || "",
    rolloutNo: step?.rollout_no ?? null,
    errorCode: step?.error_code ?? null,
  };
}

/** The rollout that a line is about, and why it moved then, as its history has it. */
async function rolloutOf(db: Db, line: Line, at: number, knownNo: number | null) {
  if (line.group_no === null) return null;
  const rollouts = db.selectFrom("rollouts").select(["rollouts.no", "rollouts.id"]);
  const rollout = await (knownNo !== null
    ? rollouts.where("rollouts.no", "=", knownNo)
    : rollouts
        .innerJoin("packages", "packages.no", "rollouts.package_no")
        .where("rollouts.group_no", "=", line.group_no)
        .where("packages.version", "=", line.version)
        .where("rollouts.created_at", "<=", at)
        .orderBy("rollouts.no", "desc")
        .limit(1)
  ).executeTakeFirst();
  if (rollout === undefined) return null;
  const moved = await db
    .selectFrom("rollout_history")
    .select("reason")
    .where("rollout_no", "=", rollout.no)
    .where("at", "=", at)
    .orderBy("no", "desc")
    .executeTakeFirst();
  return { id: rollout.id, reason: moved?.reason ?? null };
}

type About = Pick<Told, "application" | "group" | "channel" | "instance" | "version" | "error_code">;

function messageOf(type: EventName, about: About, reason: string | null): string {
  const group = `group "${about.group?.name ?? "(deleted)"}"`;
  const rollout = `The rollout of ${about.version} to ${group}`;
  const node = `Node ${about.instance?.alias || about.instance?.id}`;
  const because = reason === null ? "" : `: ${reason}`;
  switch (type) {
    case "rollout-started":
      return `${rollout} has started: the first node was offered it`;
    case "rollout-finished":
      return `${rollout} is completed${because}`;
    case "rollout-halted":
      return reason === null
        ? `${rollout} is stopped: safe mode has turned the group's updates off, its first node did not come through`
        : `${rollout} is halted${because}`;
    case "rollout-paused":
      return `${rollout} is paused${because}`;
    case "rollout-unhealthy":
      return `${rollout} is unhealthy in part${because}`;
    case "rollout-awaits-approval":
      return `${rollout} waits for a person${because}`;
    case "package-not-found":
      return `Nodes of ${group} ask for updates, but its channel points to no package`;
    case "channel-updated":
      return `Channel "${about.channel?.name ?? "(deleted)"}" now points to ${about.version}`;
    case "node-failed":
      return `${node} failed to update to ${about.version}${about.error_code === null ? "" : ` with code ${about.error_code}`}`;
    case "node-timed-out":
      return `${node} did not get through with its update to ${about.version} in time`;
    case "node-lost":
      return `${node} installed ${about.version}, and was not seen again`;
    case "node-rolled-back":
      return `${node} fell back from ${about.version} to its old version`;
    default:
      return type satisfies never;
  }
}
