/** The sites of this server: what they get, what they say, and how they are. */
import type { Selectable } from "kysely";
import { z } from "zod";
import type { Store } from "../store/store.ts";
import type { Tables } from "../store/tables.ts";
import type { Principal } from "./auth/principal.ts";
import { type Db, timestamp } from "./context.ts";
import { countOf } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { listOf, pageQuery, rangeOf } from "./paging.ts";
import { notFound, Problem } from "./problem.ts";
import { siteDocument } from "./site-document.ts";
import { type DownloadAccess, instanceId, pathAbove, SiteDocuments } from "./site-documents.ts";
import { siteReport } from "./site-report.ts";

const TAG = "sites";
/** Two servers that call themselves by one name would overwrite each other's reports. */
const SAME_NAME_MS = 15 * 60_000;

const siteFields = {
  name: z.string(),
  instance: z.uuid(),
  /** Turnout's own, there. */
  version: z.string(),
  first_contact_ts: z.iso.datetime(),
  last_contact_ts: z.iso.datetime(),
  /** Whether what it had applied by then is what it would get now. */
  up_to_date: z.boolean(),
  applied_ts: z.iso.datetime().nullable(),
  error: z.string().nullable(),
  /** Channels that wait for their release's files. */
  held: z.int(),
  total_nodes: z.int(),
  /** By status. */
  statuses: z.record(z.string(), z.int()),
  /** Rollouts that are halted there. */
  halted: z.int(),
  /** Groups whose updates safe mode has stopped there. */
  stopped: z.int(),
};
const siteSummary = z.object(siteFields).meta({ id: "SiteSummary" });
const siteObject = z
  .object({
    ...siteFields,
    nodes: siteReport.shape.nodes,
    rollouts: siteReport.shape.rollouts,
    stopped_groups: siteReport.shape.stopped_groups,
  })
  .meta({ id: "Site" });

type SiteRow = Selectable<Tables["sites"]>;

export function siteOperations({
  store,
  downloads,
}: {
  store: Store;
  downloads: DownloadAccess;
}): readonly Operation[] {
  const documents = new SiteDocuments(store, downloads);

  const getFleet = operation({
    id: "getSiteFleet",
    method: "get",
    path: "/sites/:site/fleet",
    tag: TAG,
    summary: "The configuration as a site gets it: of its token's applications",
    description: "Asked for by the site's server itself.",
    role: "site",
    confined: "filters",
    headers: {
      "If-None-Match": "The ETag of what the site has",
      "Turnout-Instance": "The instance id of the server that asks: none gets its configuration from itself",
    },
    conditional: true,
    answer: siteDocument,
    async handle(call) {
      checkOwn(call.who, call.params.site);
      const instance = call.given("Turnout-Instance");
      if (instance !== undefined) await refuseLoop(call.read, instance);
      const { document, etag } = await documents.of(call.who.scope.applications);
      call.header("ETag", etag);
      return document;
    },
  });

  const putReport = operation({
    id: "reportSite",
    method: "put",
    path: "/sites/:site/report",
    tag: TAG,
    summary: "How a site is now; the newest report is kept",
    description: "Told by the site's server itself.",
    role: "site",
    confined: "filters",
    body: siteReport,
    answer: null,
    async handle(call) {
      const { params, body, who } = call;
      checkOwn(who, params.site);
      await call.change(async (tx, now) => {
        const before = await tx.selectFrom("sites").selectAll().where("name", "=", params.site).executeTakeFirst();
        if (before !== undefined) refuseTwin(before, body.instance, now);
        const applications = who.scope.applications === null ? null : JSON.stringify(who.scope.applications);
        const said = { instance_id: body.instance, applications, report: JSON.stringify(body), reported_at: now };
        if (before === undefined)
          await tx
            .insertInto("sites")
            .values({ name: params.site, first_at: now, ...said })
            .execute();
        else await tx.updateTable("sites").set(said).where("no", "=", before.no).execute();
      });
    },
  });

  const listSites = operation({
    id: "listSites",
    method: "get",
    path: "/sites",
    tag: TAG,
    summary: "The sites by name, with when they were last heard and how they are",
    role: "viewer",
    confined: "everywhere",
    query: z.object({ page: pageQuery.page, perpage: pageQuery.perpage }),
    answer: listOf("sites", siteSummary),
    async handle({ read, query }) {
      const { limit, offset } = rangeOf(query);
      const rows = await read.selectFrom("sites").selectAll().orderBy("name").limit(limit).offset(offset).execute();
      const totalCount = await countOf(read.selectFrom("sites").select((eb) => eb.fn.countAll().as("count")));
      const sites = [];
      for (const row of rows) sites.push(await toSummary(documents, row));
      return { totalCount, count: sites.length, sites };
    },
  });

  const getSite = operation({
    id: "getSite",
    method: "get",
    path: "/sites/:site",
    tag: TAG,
    summary: "One site, with its nodes by group, version and status, and its rollouts",
    role: "viewer",
    confined: "everywhere",
    answer: siteObject,
    async handle({ read, params }) {
      const row = await findSite(read, params.site);
      const { nodes, rollouts, stopped_groups } = reportOf(row);
      return { ...(await toSummary(documents, row)), nodes, rollouts, stopped_groups };
    },
  });

  return [getFleet, putReport, listSites, getSite, deleteSite];
}

const deleteSite = operation({
  id: "deleteSite",
  method: "delete",
  path: "/sites/:site",
  tag: TAG,
  summary: "Forget a site, until it reports again; revoke its token to keep it away",
  role: "admin",
  confined: "everywhere",
  answer: null,
  handle: (call) =>
    call.change(async (tx, _now, audit) => {
      const row = await findSite(tx, call.params.site);
      await tx.deleteFrom("sites").where("no", "=", row.no).execute();
      const before = { name: row.name, instance: row.instance_id };
      await audit({ subject: "site", id: row.name, before, after: null });
    }),
});

/** @throws Problem 403 */
function checkOwn({ name, site }: Principal, wanted: string): void {
  if (site === wanted) return;
  throw new Problem(403, `token "${name}" is of site "${site}", not "${wanted}"`);
}

/** Its report is taken all the same: it says here, too, what is wrong. @throws Problem 409 when this server's configuration comes from it */
async function refuseLoop(db: Db, instance: string): Promise<void> {
  if (instance === (await instanceId(db))) {
    throw new Problem(409, "a loop: this server would get its configuration from itself; check TURNOUT_CENTRAL_URL");
  }
  if ((await pathAbove(db)).includes(instance)) {
    const detail = `a loop: this server gets its own configuration from ${instance}; one of the two must have no TURNOUT_CENTRAL_URL`;
    throw new Problem(409, detail);
  }
}

/** @throws Problem 409 */
function refuseTwin({ name, instance_id: other, reported_at: at }: SiteRow, instance: string, now: number): void {
  // Also what was reported while the clock was ahead is over some time.
  if (other === instance || Math.abs(now - at) >= SAME_NAME_MS) return;
  const detail =
    `another server (instance ${other}) reported as site "${name}" at ${timestamp(at)}: give each a name and a token of its own. ` +
    `If this one has taken its place, delete the site here, or wait for ${SAME_NAME_MS / 60_000} minutes`;
  throw new Problem(409, detail);
}

async function findSite(db: Db, name: string): Promise<SiteRow> {
  const row = await db.selectFrom("sites").selectAll().where("name", "=", name).executeTakeFirst();
  if (row === undefined) throw notFound("site", name);
  return row;
}

function reportOf({ report }: SiteRow) {
  return siteReport.parse(JSON.parse(report));
}

async function toSummary(documents: SiteDocuments, row: SiteRow): Promise<z.input<typeof siteSummary>> {
  const report = reportOf(row);
  const { etag } = await documents.of(JSON.parse(row.applications ?? "null"));
  const statuses: Record<string, number> = {};
  let total = report.other_nodes;
  for (const { status, nodes } of report.nodes) {
    statuses[status] = (statuses[status] ?? 0) + nodes;
    total += nodes;
  }
  return {
    name: row.name,
    instance: row.instance_id,
    version: report.version,
    first_contact_ts: timestamp(row.first_at),
    last_contact_ts: timestamp(row.reported_at),
    up_to_date: report.applied === etag,
    applied_ts: report.applied_ts,
    error: report.error,
    held: report.held,
    total_nodes: total,
    statuses,
    halted: report.rollouts.filter(({ state }) => state === "halted").length,
    stopped: report.stopped_groups.length,
  };
}
