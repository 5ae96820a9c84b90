/** Upstreams: where an application's releases come from by themselves, one for a channel. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { parseInterval } from "../rollout/interval.ts";
import { isVersion } from "../rollout/version.ts";
import { directoryRefusal } from "../sync/directory-tree.ts";
import { ruleOf } from "../sync/http.ts";
import type { Syncing } from "../sync/syncing.ts";
import { KINDS, POLICIES, type Summary, type UpstreamRow } from "../sync/upstreams.ts";
import { refusalOf } from "../target.ts";
import { type Db, readOnly, type Tx, timestamp } from "./context.ts";
import { type ApplicationRow, type ChannelRow, checkApplication, findApplication } from "./lookups.ts";
import { type Audit, type Operation, operation } from "./operation.ts";
import { listOf, pageQuery, placeOf } from "./paging.ts";
import { invalid, notFound, Problem } from "./problem.ts";

const TAG = "sync";
/** Public servers are not to be asked all the time. */
const SHORTEST_INTERVAL_MS = 300_000;
const LONGEST_MS = 366 * 86_400_000;
const DEFAULT_INTERVAL = "1h";

const span = (shortestMs: number, example: string) =>
  z
    .string()
    .max(50)
    .refine(
      (text) => {
        const ms = parseInterval(text);
        return ms !== null && ms >= shortestMs && ms <= LONGEST_MS;
      },
      `must be a length of time${shortestMs > 0 ? " of 5 minutes or more" : ""}, e.g. "${example}"`,
    );
const version = z.string().refine(isVersion, "must be a semantic version, e.g. 4230.2.1");

const upstreamBody = z.strictObject({
  kind: z.enum(KINDS).default("omaha"),
  url: z
    .url({
      protocol: /^(https?|file)$/,
      error:
        "must be a URL such as https://public.update.flatcar-linux.net/v1/update/, or file:///srv/flatcar for a directory of the server",
    })
    .max(2_000),
  track: z.string().min(1).max(255),
  channel_id: z.uuid(),
  arch: z.int().min(0).max(3).optional(),
  policy: z.enum(POLICIES),
  interval: span(SHORTEST_INTERVAL_MS, DEFAULT_INTERVAL).default(DEFAULT_INTERVAL),
  min_age: span(0, "3d").nullish(),
  versions: z.array(version).max(1_000).nullish(),
  up_to: version.nullish(),
  download: z.boolean().default(true),
  private_addresses: z.boolean().default(false),
  application_id: z.string().optional(),
  ...readOnly("id", "created_ts", "created_by", "state"),
});
type UpstreamBody = z.output<typeof upstreamBody>;

const time = z.iso.datetime().nullable();
const upstreamObject = z
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
type UpstreamObject = z.input<typeof upstreamObject>;

export function upstreamOperations({
  syncing,
  syncDirs,
}: {
  readonly syncing: Pick<Syncing, "begin" | "progressOf">;
  readonly syncDirs: readonly string[];
}): readonly Operation[] {
  const shown = (db: Db, application: ApplicationRow, row: UpstreamRow, now: number) =>
    toUpstream(db, application, row, now, syncing.progressOf(row.no));

  const listUpstreams = operation({
    id: "listUpstreams",
    method: "get",
    path: "/apps/:app/upstreams",
    tag: TAG,
    summary: "The application's upstreams by track, with how it goes",
    role: "viewer",
    query: z.object(pageQuery),
    answer: listOf("upstreams", upstreamObject),
    async handle({ read, params, query, now }) {
      const application = await findApplication(read, params.app);
      const all = read
        .selectFrom("upstreams")
        .where("application_no", "=", application.no)
        .orderBy("track")
        .orderBy("no");
      const ids = await all.select("id").execute();
      const { limit, offset } = await placeOf(query, async () => ids);
      const rows = await all.selectAll().limit(limit).offset(offset).execute();
      const upstreams: UpstreamObject[] = [];
      for (const row of rows) upstreams.push(await shown(read, application, row, now));
      return { totalCount: ids.length, count: upstreams.length, upstreams };
    },
  });

  const postUpstream = operation({
    id: "createUpstream",
    method: "post",
    path: "/apps/:app/upstreams",
    tag: TAG,
    summary: "Let a channel's releases come from a server or directory; it is asked at once",
    description:
      "The kinds: `omaha` is a server, `mirror` a directory that `turnout mirror` has signed, `plain` one in Flatcar's layout that " +
      "nobody has. A directory is at an http or https URL, or at a file URL in what the server's TURNOUT_SYNC_DIRS names. " +
      "`follow` brings releases in and moves the channel, `import-only` leaves that to people, `off` does nothing. With " +
      "`download` the files are kept here, and the channel is moved only when all of them are.",
    role: "admin",
    body: upstreamBody,
    status: 201,
    answer: upstreamObject,
    handle: (call) =>
      call.change(async (tx, now, audit) => {
        const application = await findApplication(tx, call.params.app);
        const row = await tx
          .insertInto("upstreams")
          .values({
            id: randomUUID(),
            application_no: application.no,
            ...(await columnsOf(tx, application, call.body, null, syncDirs)),
            next_check_at: call.body.policy === "off" ? null : now,
            created_at: now,
            created_by: call.who.name,
          })
          .returningAll()
          .executeTakeFirstOrThrow();
        const upstream = await shown(tx, application, row, now);
        await audit({ ...subject(upstream), before: null, after: stateOf(upstream) });
        call.tag(stateOf(upstream));
        return upstream;
      }),
  });

  const getUpstream = operation({
    id: "getUpstream",
    method: "get",
    path: "/apps/:app/upstreams/:upstream",
    tag: TAG,
    summary: "One upstream: what it found, what is being downloaded, and why something is held back",
    role: "viewer",
    answer: upstreamObject,
    async handle(call) {
      const { read, params, now } = call;
      const application = await findApplication(read, params.app);
      const upstream = await shown(read, application, await findUpstream(read, application, params.upstream), now);
      call.tag(stateOf(upstream));
      return upstream;
    },
  });

  const putUpstream = operation({
    id: "updateUpstream",
    method: "put",
    path: "/apps/:app/upstreams/:upstream",
    tag: TAG,
    summary: "Change an upstream: what the body leaves out is as when it was made; it is asked at once",
    description: "With another kind, url, track or channel it starts anew: ages count from now on.",
    role: "admin",
    body: upstreamBody,
    answer: upstreamObject,
    handle: (call) =>
      call.change(async (tx, now, audit) => {
        const application = await findApplication(tx, call.params.app);
        const row = await findUpstream(tx, application, call.params.upstream);
        const before = await shown(tx, application, row, now);
        call.expect(stateOf(before));
        const columns = await columnsOf(tx, application, call.body, row, syncDirs);
        const isAnother =
          columns.kind !== row.kind ||
          columns.url !== row.url ||
          columns.track !== row.track ||
          columns.channel_no !== row.channel_no;
        if (isAnother) await tx.deleteFrom("upstream_releases").where("upstream_no", "=", row.no).execute();
        const changed = await tx
          .updateTable("upstreams")
          .set({
            ...columns,
            next_check_at: call.body.policy === "off" ? null : now,
            // Whoever has mended something wants to see at once whether that helps.
            failures: 0,
            ...(isAnother ? { found: null, held_back: null, moved_to: null, last_error: null } : {}),
          })
          .where("no", "=", row.no)
          .returningAll()
          .executeTakeFirstOrThrow();
        const upstream = await shown(tx, application, changed, now);
        await audit({ ...subject(upstream), before: stateOf(before), after: stateOf(upstream) });
        call.tag(stateOf(upstream));
        return upstream;
      }),
  });

  const removeUpstream = operation({
    id: "deleteUpstream",
    method: "delete",
    path: "/apps/:app/upstreams/:upstream",
    tag: TAG,
    summary: "Delete an upstream; what came from it stays",
    role: "admin",
    answer: null,
    handle: (call) =>
      call.change(async (tx, now, audit) => {
        const application = await findApplication(tx, call.params.app);
        const row = await findUpstream(tx, application, call.params.upstream);
        const before = await shown(tx, application, row, now);
        call.expect(stateOf(before));
        await remove(tx, row, before, audit);
      }),
  });

  const checkUpstream = operation({
    id: "checkUpstream",
    method: "post",
    path: "/apps/:app/upstreams/:upstream/check",
    tag: TAG,
    summary: "Ask it now; its state shows what comes of it",
    role: "admin",
    status: 202,
    answer: upstreamObject,
    async handle(call) {
      const { no } = await call.change(async (tx, now, audit) => {
        const application = await findApplication(tx, call.params.app);
        const row = await findUpstream(tx, application, call.params.upstream);
        if (row.policy === "off") throw new Problem(409, "the upstream's policy is off; set another one first");
        await tx.updateTable("upstreams").set({ next_check_at: now }).where("no", "=", row.no).execute();
        const after = { track: row.track, asked_ts: timestamp(now) };
        await audit({ subject: "upstream-check", id: row.id, applicationId: application.id, before: null, after });
        return row;
      });
      syncing.begin(no);
      const application = await findApplication(call.read, call.params.app);
      const row = await findUpstream(call.read, application, call.params.upstream);
      return shown(call.read, application, row, call.now);
    },
  });

  return [listUpstreams, postUpstream, getUpstream, putUpstream, removeUpstream, checkUpstream];
}

/** A channel takes its upstream with it; that is written down, too. */
export async function deleteUpstreamOf(tx: Tx, channel: ChannelRow, audit: Audit): Promise<void> {
  const row = await tx.selectFrom("upstreams").selectAll().where("channel_no", "=", channel.no).executeTakeFirst();
  if (row === undefined) return;
  const application = await tx
    .selectFrom("applications")
    .selectAll()
    .where("no", "=", channel.application_no)
    .executeTakeFirstOrThrow();
  // Neither the time nor what is under way is part of what a person has set.
  await remove(tx, row, await toUpstream(tx, application, row, 0, null), audit);
}

async function remove(tx: Tx, { no }: UpstreamRow, shown: UpstreamObject, audit: Audit): Promise<void> {
  await tx.deleteFrom("upstreams").where("no", "=", no).execute();
  await audit({ ...subject(shown), before: stateOf(shown), after: null });
}

async function findUpstream(db: Db, application: ApplicationRow, id: string): Promise<UpstreamRow> {
  const row = await db
    .selectFrom("upstreams")
    .selectAll()
    .where("id", "=", id.toLowerCase())
    .where("application_no", "=", application.no)
    .executeTakeFirst();
  if (row === undefined) throw notFound("upstream", id);
  return row;
}

/** @throws Problem that names the field */
async function columnsOf(
  tx: Tx,
  application: ApplicationRow,
  body: UpstreamBody,
  before: UpstreamRow | null,
  syncDirs: readonly string[],
) {
  checkApplication(application, body.application_id);
  const url = new URL(body.url);
  checkUrl(url, body, syncDirs);
  const channel = await tx
    .selectFrom("channels")
    .select(["no", "name", "arch"])
    .where("id", "=", body.channel_id.toLowerCase())
    .where("application_no", "=", application.no)
    .executeTakeFirst();
  if (channel === undefined) throw invalid("channel_id", "there is no such channel in this application");
  if (body.arch !== undefined && body.arch !== channel.arch) {
    throw invalid("arch", `must be ${channel.arch}, the architecture of the channel ${channel.name}, or be left out`);
  }
  const twin = await tx
    .selectFrom("upstreams")
    .select("no")
    .where("channel_no", "=", channel.no)
    .where("no", "!=", before?.no ?? 0)
    .executeTakeFirst();
  if (twin !== undefined) throw invalid("channel_id", `the channel ${channel.name} has an upstream already`, 409);
  return {
    channel_no: channel.no,
    kind: body.kind,
    url: url.href,
    track: body.track,
    policy: body.policy,
    check_interval: body.interval,
    min_age: body.min_age ?? null,
    versions: JSON.stringify([...new Set(body.versions)]),
    up_to: body.up_to ?? null,
    download: Number(body.download),
    private_addresses: Number(body.private_addresses),
  };
}

/** @throws Problem */
function checkUrl(url: URL, { kind, private_addresses, download }: UpstreamBody, syncDirs: readonly string[]): void {
  if (url.username !== "" || url.password !== "") {
    throw invalid("url", "must hold no user and password: everybody who sees the upstream would see them");
  }
  // Names are put behind it.
  if (kind !== "omaha" && (url.search !== "" || url.hash !== "")) {
    throw invalid("url", `must end with its path: a ${kind} is a directory, and "?" and "#" lead to none`);
  }
  if (url.protocol !== "file:") {
    const refusal = refusalOf(url, ruleOf(private_addresses));
    if (refusal !== null) throw invalid("url", refusal);
    return;
  }
  if (kind === "omaha") throw invalid("url", 'must begin with https:// or http://, or the kind be "mirror" or "plain"');
  const refusal = directoryRefusal(url.href, syncDirs);
  if (refusal !== null) throw invalid("url", refusal);
  if (!download) throw invalid("download", "must be true: nodes can't get files from a directory of the server");
}

async function toUpstream(
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

function subject({ id, application_id: applicationId }: UpstreamObject) {
  return { subject: "upstream", id, applicationId };
}

/** What a person has set of it: for the audit log, and to tell whether it has changed. */
function stateOf({ id: _, created_ts: __, created_by: ___, state: ____, ...set }: UpstreamObject): object {
  return set;
}
