/** Upstreams as the API and the audit log show them. */
import { z } from "zod";
import type { Syncing } from "../sync/syncing.ts";
import { KINDS, POLICIES, type Summary, type UpstreamRow } from "../sync/upstreams.ts";
import { type Db, timestamp } from "./context.ts";
import type { ApplicationRow } from "./lookups.ts";

const time = z.iso.datetime().nullable();
export const upstreamObject = z
  .object({
    id: z.uuid(),
    application_id: z.uuid(),
    kind: z.enum(KINDS),
    url: z.string(),
    /** What the upstream calls the channel. */
    track: z.string(),
    channel_id: z.uuid(),
    /** The channel's. */
    arch: z.int(),
    policy: z.enum(POLICIES),
    interval: z.string(),
    /** Null: none. */
    min_age: z.string().nullable(),
    /** These and no others; empty: any. */
    versions: z.array(z.string()),
    /** Null: any. */
    up_to: z.string().nullable(),
    download: z.boolean(),
    private_addresses: z.boolean(),
    created_ts: z.iso.datetime(),
    created_by: z.string(),
    state: z.object({
      checking: z.boolean(),
      last_check_ts: time,
      last_success_ts: time,
      /** Null: not by itself. */
      next_check_ts: time,
      last_error: z.string().nullable(),
      consecutive_failures: z.int(),
      /** What it answered last. `target` null: nothing newer than what the channel has. */
      found: z
        .object({
          target: z.string().nullable(),
          floors: z.array(z.string()),
          incomplete: z.array(z.object({ version: z.string(), why: z.string() })),
        })
        .nullable(),
      /** Why the channel is not moved to what was found. */
      held_back: z.string().nullable(),
      /** The version that the channel was last moved to from here. */
      moved_to: z.string().nullable(),
      downloading: z.object({ version: z.string(), file: z.string(), received: z.int(), total: z.int() }).nullable(),
    }),
  })
  .meta({ id: "Upstream" });
export type UpstreamObject = z.input<typeof upstreamObject>;

export async function toUpstream(
  db: Db,
  application: ApplicationRow,
  row: UpstreamRow,
  now: number,
  downloading: ReturnType<Syncing["progressOf"]>,
): Promise<UpstreamObject> {
  const at = (ms: number | null) => (ms === null ? null : timestamp(ms));
  const channel = await db
    .selectFrom("channels")
    .select(["id", "arch"])
    .where("no", "=", row.channel_no)
    .executeTakeFirstOrThrow();
  const found: Summary | null = JSON.parse(row.found ?? "null");
  return {
    id: row.id,
    application_id: application.id,
    // Both written by us alone, from these very lists.
    kind: row.kind as UpstreamObject["kind"],
    policy: row.policy as UpstreamObject["policy"],
    url: row.url,
    track: row.track,
    channel_id: channel.id,
    arch: channel.arch,
    interval: row.check_interval,
    min_age: row.min_age,
    versions: JSON.parse(row.versions),
    up_to: row.up_to,
    download: row.download === 1,
    private_addresses: row.private_addresses === 1,
    created_ts: timestamp(row.created_at),
    created_by: row.created_by,
    state: {
      checking: (row.lease_until ?? 0) > now,
      last_check_ts: at(row.checked_at),
      last_success_ts: at(row.succeeded_at),
      next_check_ts: at(row.next_check_at),
      last_error: row.last_error,
      consecutive_failures: row.failures,
      found: found && { ...found, floors: [...found.floors], incomplete: [...found.incomplete] },
      held_back: row.held_back,
      moved_to: row.moved_to,
      downloading: downloading && { ...downloading },
    },
  };
}

export function subject({ id, application_id: applicationId }: UpstreamObject) {
  return { subject: "upstream", id, applicationId };
}

/** What a person has set of it: for the audit log, and to tell whether it has changed. */
export function stateOf({ id: _, created_ts: __, created_by: ___, state: ____, ...set }: UpstreamObject): object {
  return set;
}
