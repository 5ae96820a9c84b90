/** What a webhook is told: an event's body, with all that can be known about it. */
import type { Kysely } from "kysely";
import type { NodeStatus } from "../rollout/model/node.ts";
import type { RolloutState } from "../rollout/model/rollout.ts";
import type { Tables } from "../store/tables.ts";
import { type EventName, TEST_EVENT } from "./events.ts";
import type { Happened, Named } from "./happened.ts";

type Db = Kysely<Tables>;

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

/** What is said of each, by its number: few queries for many of them. */
export async function tell(db: Db, happened: readonly Happened[]): Promise<Map<number, Told>> {
  const ends = await endsOf(db, happened);
  const rollouts = await rolloutsOf(db, happened);
  const told = new Map<number, Told>();
  for (const one of happened) {
    const end = ends.get(endKey(one.nodeNo, one.at, END[one.event]));
    const rollout = rollouts.find(
      (other) =>
        other.group_no === one.groupNo &&
        (end === undefined ? other.version === one.version && other.created_at <= one.at : other.no === end.rollout_no),
    );
    const errorCode = end?.error_code ?? null;
    const reason = rollout && (await reasonOf(db, rollout.no, one));
    told.set(one.no, {
      id: one.id,
      type: one.event,
      created_ts: new Date(one.at).toISOString(),
      application: one.application,
      group: one.group,
      channel: one.channel,
      rollout: rollout === undefined ? null : { id: rollout.id },
      instance: one.instance,
      version: one.version,
      class: one.class,
      severity: one.severity,
      error_code: errorCode,
      message: messageOf(one, errorCode, reason),
    });
  }
  return told;
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

/** How a node ended with an event: its history has a line of the same moment. */
const END: Readonly<Partial<Record<EventName, NodeStatus>>> = {
  "node-failed": "failed",
  "node-timed-out": "timed-out",
  "node-lost": "lost",
  "node-rolled-back": "rolled-back",
};

function endKey(nodeNo: number | null, at: number, status: string | undefined): string {
  return `${nodeNo} ${at} ${status}`;
}

async function endsOf(db: Db, happened: readonly Happened[]) {
  const ofNodes = happened.filter(({ nodeNo, event }) => nodeNo !== null && END[event] !== undefined);
  if (ofNodes.length === 0) return new Map<string, never>();
  const rows = await db
    .selectFrom("status_history")
    .select(["node_no", "at", "status", "rollout_no", "error_code"])
    .where("node_no", "in", [...new Set(ofNodes.map(({ nodeNo }) => nodeNo ?? 0))])
    .where("at", "in", [...new Set(ofNodes.map(({ at }) => at))])
    .execute();
  return new Map(rows.map((row) => [endKey(row.node_no, row.at, row.status), row]));
}

/** The rollouts of the groups, the newest first. */
async function rolloutsOf(db: Db, happened: readonly Happened[]) {
  const groupNos = new Set(happened.flatMap(({ groupNo }) => groupNo ?? []));
  if (groupNos.size === 0) return [];
  return db
    .selectFrom("rollouts")
    .innerJoin("packages", "packages.no", "rollouts.package_no")
    .select(["rollouts.no", "rollouts.id", "rollouts.group_no", "rollouts.created_at", "packages.version"])
    .where("rollouts.group_no", "in", [...groupNos])
    .where("packages.version", "in", [...new Set(happened.map(({ version }) => version))])
    .orderBy("rollouts.no", "desc")
    .execute();
}

/** What a rollout came to with an event. */
const STATES: Readonly<Partial<Record<EventName, RolloutState>>> = {
  "rollout-halted": "halted",
  "rollout-paused": "paused",
  "rollout-finished": "completed",
  "rollout-unhealthy": "running",
  "rollout-awaits-approval": "running",
};

/** Why the rollout moved then; null: its history has nothing of that moment. */
async function reasonOf(db: Db, rolloutNo: number, { event, at }: Happened): Promise<string | null> {
  const state = STATES[event];
  if (state === undefined) return null;
  const line = await db
    .selectFrom("rollout_history")
    .select("reason")
    .where("rollout_no", "=", rolloutNo)
    .where("at", "=", at)
    .where("to_state", "=", state)
    .orderBy("no", "desc")
    .executeTakeFirst();
  return line?.reason ?? null;
}

/** @param reason undefined: the rollout is not known. */
function messageOf(one: Happened, errorCode: number | null, reason: string | null | undefined): string {
  const { event, version, instance } = one;
  const group = `group "${one.group?.name ?? "(deleted)"}"`;
  const rollout = `The rollout of ${version} to ${group}`;
  const node = `Node ${instance?.alias || instance?.id}`;
  const because = reason ? `: ${reason}` : "";
  switch (event) {
    case "rollout-started":
      return `${rollout} has started: the first node was offered it`;
    case "rollout-finished":
      return `${rollout} is completed${because}`;
    case "rollout-halted":
      return reason === null
        ? `${rollout} is stopped: its first node did not come through, and safe mode has stopped the group's updates until a person resumes them`
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
      return `Channel "${one.channel?.name ?? "(deleted)"}" now points to ${version}`;
    case "node-failed":
      return `${node} failed to update to ${version}${errorCode === null ? "" : ` with code ${errorCode}`}`;
    case "node-timed-out":
      return `${node} did not get through with its update to ${version} in time`;
    case "node-lost":
      return `${node} installed ${version}, and was not seen again`;
    case "node-rolled-back":
      return `${node} fell back from ${version} to its old version`;
    case "machine-id-shared":
      return `${node} is two machines or more with one machine id: none of them is updated until each has an id of its own`;
    case "file-corrupt":
      return `A file of ${version} is corrupt on this server's disk: nodes are no longer sent here for it`;
    case "file-refused":
      return `A file of ${version} is not signed with the application's payload key: the release is offered to nobody`;
    case "release-brought-in":
      return `Release ${version} was brought in for channel "${one.channel?.name ?? "(deleted)"}"`;
    case "upstream-failing":
      return `Nothing new comes in for channel "${one.channel?.name ?? "(deleted)"}": its upstream has failed time and again${version === "" ? "" : ` with ${version}`}`;
    default:
      return event satisfies never;
  }
}
