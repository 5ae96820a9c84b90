/** Other servers that mirror this one over the update address. They are no nodes; this is where they are seen. */
import type { Selectable } from "kysely";
import { z } from "zod";
import type { LeftOut } from "../rollout/model/outcome.ts";
import type { Tables } from "../store/tables.ts";
import { timestamp } from "./context.ts";
import { countOf } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { listOf, pageQuery, rangeOf } from "./paging.ts";

const mirroringServer = z
  .object({
    address: z.string(),
    /** As it asked last, cut off after 100 characters: without braces, and by its UUID where the group is known. */
    application: z.string(),
    track: z.string(),
    arch: z.int(),
    /** The newest version that it has. */
    version: z.string(),
    /** Whether it takes several manifests, and so floors. */
    multi_manifest: z.boolean(),
    /** The group that it is answered from; null: there is none. */
    group_id: z.uuid().nullable(),
    /** Whether `TURNOUT_MIRRORS` kept it from mirroring when it asked last. */
    refused: z.boolean(),
    /** Why its last answer was what it was: `mirror` is everything. */
    reason: z.string(),
    /** What its last answer could not tell of, since it is on another server than the rest. */
    left_out: z.array(z.object({ version: z.string(), what: z.enum(["release", "extra-files"]) })),
    first_ts: z.iso.datetime(),
    last_ts: z.iso.datetime(),
    /** How often it has asked. */
    asked: z.int(),
  })
  .meta({ id: "MirroringServer" });

const listMirroringServers = operation({
  id: "listMirroringServers",
  method: "get",
  path: "/mirroring-servers",
  tag: "sites",
  summary: "Other servers that mirror this one, with what they asked for last; the one that asked last first",
  description:
    "Nebraskas, Turnouts and others that ask at the update address for all that a channel lacks; one entry for an address, group and " +
    "architecture. At most 500: those that asked only once make room first. What was asked is here within five seconds.",
  role: "viewer",
  confined: "everywhere",
  query: z.object({ page: pageQuery.page, perpage: pageQuery.perpage }),
  answer: listOf("servers", mirroringServer),
  async handle({ read, query }) {
    const { limit, offset } = rangeOf(query);
    const rows = await read
      .selectFrom("mirroring_servers")
      .leftJoin("groups", "groups.id", "mirroring_servers.group_id")
      .leftJoin("applications", "applications.no", "groups.application_no")
      .selectAll("mirroring_servers")
      .select("applications.id as application_id")
      .orderBy("mirroring_servers.last_at", "desc")
      .orderBy("mirroring_servers.no", "desc")
      .limit(limit)
      .offset(offset)
      .execute();
    const totalCount = await countOf(read.selectFrom("mirroring_servers").select((eb) => eb.fn.countAll().as("count")));
    return { totalCount, count: rows.length, servers: rows.map(shown) };
  },
});

export const mirroringServerOperations: readonly Operation[] = [listMirroringServers];

type Row = Selectable<Tables["mirroring_servers"]> & { readonly application_id: string | null };

function shown(row: Row): z.input<typeof mirroringServer> {
  return {
    address: row.address,
    application: row.application_id ?? row.application.replace(/^\{|\}$/g, ""),
    track: row.track,
    arch: row.arch,
    version: row.version,
    multi_manifest: row.multi_manifest === 1,
    group_id: row.group_id || null,
    refused: row.reason === "mirror-not-allowed",
    reason: row.reason,
    left_out: JSON.parse(row.left_out) as LeftOut[], // written by us alone
    first_ts: timestamp(row.first_at),
    last_ts: timestamp(row.last_at),
    asked: row.asked,
  };
}
