/** Upstreams: where an application's releases come from by themselves, one for a channel. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Syncing } from "../sync/syncing.ts";
import type { UpstreamRow } from "../sync/upstreams.ts";
import { type Db, type Tx, timestamp } from "./context.ts";
import { type ApplicationRow, type ChannelRow, findApplication } from "./lookups.ts";
import { type Audit, type Operation, operation } from "./operation.ts";
import { listOf, pageQuery, placeOf } from "./paging.ts";
import { notFound, Problem } from "./problem.ts";
import { columnsOf, upstreamBody } from "./upstream-bodies.ts";
import { stateOf, subject, toUpstream, type UpstreamObject, upstreamObject } from "./upstream-objects.ts";

const TAG = "sync";

export function upstreamOperations({
  syncing,
  syncDirs,
}: {
  readonly syncing: Pick<Syncing, "begin" | "drop" | "progressOf">;
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
    async handle(call) {
      const { no, upstream } = await call.change(async (tx, now, audit) => {
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
            // Whoever has mended something wants to see at once whether that helps: a check that is under way counts no more.
            failures: 0,
            lease: null,
            lease_until: null,
            ...(isAnother ? { found: null, held_back: null, moved_to: null, last_error: null } : {}),
          })
          .where("no", "=", row.no)
          .returningAll()
          .executeTakeFirstOrThrow();
        const upstream = await shown(tx, application, changed, now);
        await audit({ ...subject(upstream), before: stateOf(before), after: stateOf(upstream) });
        call.tag(stateOf(upstream));
        return { no: row.no, upstream };
      });
      syncing.drop(no);
      return upstream;
    },
  });

  const removeUpstream = operation({
    id: "deleteUpstream",
    method: "delete",
    path: "/apps/:app/upstreams/:upstream",
    tag: TAG,
    summary: "Delete an upstream; what came from it stays",
    role: "admin",
    answer: null,
    async handle(call) {
      const no = await call.change(async (tx, now, audit) => {
        const application = await findApplication(tx, call.params.app);
        const row = await findUpstream(tx, application, call.params.upstream);
        const before = await shown(tx, application, row, now);
        call.expect(stateOf(before));
        await remove(tx, row, before, audit);
        return row.no;
      });
      syncing.drop(no);
    },
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
