/** The documents that sites get: made once for all that ask, until the configuration moves. */
import { archName } from "../fleet/document.ts";
import { loadPackages, stopOf, toArch } from "../store/fleet.ts";
import type { Store } from "../store/store.ts";
import type { Db } from "./context.ts";
import { etagOf } from "./etag.ts";
import { exportFleet } from "./fleet-export.ts";
import type { SiteDocument } from "./site-document.ts";

export interface DownloadAccess {
  /** Null: none in the path. */
  readonly token: string | null;
  readonly login: { readonly user: string; readonly password: string } | null;
}

/** Of the years; sites take ten times as many. */
const MAX_STOPPED = 1_000;

interface Made {
  readonly document: SiteDocument;
  readonly etag: string;
}

export class SiteDocuments {
  readonly #store: Store;
  readonly #payloads: SiteDocument["payloads"];
  readonly #made = new Map<string, { readonly revision: number; readonly made: Promise<Made> }>();

  constructor(store: Store, { token, login }: DownloadAccess) {
    this.#store = store;
    this.#payloads = {
      path: `/payloads${token === null ? "" : `/${token}`}`,
      authorization:
        login === null ? null : `Basic ${Buffer.from(`${login.user}:${login.password}`).toString("base64")}`,
    };
  }

  /** @param applications UUIDs; null: all of them. */
  async of(applications: readonly string[] | null): Promise<Made> {
    const scope = JSON.stringify(applications);
    const { revision } = await this.#store.read.selectFrom("meta").select("revision").executeTakeFirstOrThrow();
    const known = this.#made.get(scope);
    if (known?.revision === revision) return known.made;
    // Neither scopes of tokens that are gone nor failures are kept for ever.
    for (const [other, { revision: then }] of this.#made) if (then !== revision) this.#made.delete(other);
    const made = this.#store.snapshot((db) => this.#make(db, applications));
    const entry = { revision, made };
    this.#made.set(scope, entry);
    made.catch(() => {
      if (this.#made.get(scope) === entry) this.#made.delete(scope);
    });
    return made;
  }

  async #make(db: Db, applications: readonly string[] | null): Promise<Made> {
    const fleet = await exportFleet(db, applications);
    const ids = new Set(fleet.applications.map(({ id }) => id));
    const document: SiteDocument = {
      path: [...(await pathAbove(db)), await instanceId(db)],
      payloads: this.#payloads,
      hosted: (await hostedPackages(db)).filter(({ application }) => ids.has(application)),
      stopped: (await stoppedRollouts(db)).filter(({ application }) => ids.has(application)),
      fleet,
    };
    return { document, etag: etagOf(document) };
  }
}

export async function instanceId(db: Db): Promise<string> {
  return (await db.selectFrom("meta").select("instance_id").executeTakeFirstOrThrow()).instance_id;
}

/** Where this server's own configuration comes from, the topmost first; empty: from nowhere else. */
export async function pathAbove(db: Db): Promise<string[]> {
  const row = await db.selectFrom("central").select("path").executeTakeFirst();
  return JSON.parse(row?.path ?? "[]") as string[]; // checked when it came in
}

async function applicationIds(db: Db): Promise<ReadonlyMap<number, string>> {
  const rows = await db.selectFrom("applications").select(["no", "id"]).execute();
  return new Map(rows.map(({ no, id }) => [no, id]));
}

/** Those of which this server has every file. */
export async function hostedPackages(db: Db): Promise<SiteDocument["hosted"]> {
  const ids = await applicationIds(db);
  const hosted: SiteDocument["hosted"] = [];
  for (const { applicationNo, version, arch, urls } of (await loadPackages(db)).values()) {
    if (urls[0]?.startsWith("/") !== true) continue;
    hosted.push({ application: ids.get(applicationNo) ?? "", version, arch: archName(arch) });
  }
  return hosted;
}

/**
 * Of each group and package the newest rollout, if it is halted or aborted, or was when its channel moved on: sites that still wait
 * for the files of what came next still roll it out. While safe mode has stopped a group's updates, all of its rollouts are as if halted.
 */
async function stoppedRollouts(db: Db): Promise<SiteDocument["stopped"]> {
  const rows = await db
    .selectFrom("rollouts")
    .innerJoin("packages", "packages.no", "rollouts.package_no")
    .innerJoin("groups", "groups.no", "rollouts.group_no")
    .innerJoin("applications", "applications.no", "groups.application_no")
    .select(["rollouts.no", "state", "packages.version", "packages.arch", "groups.updates_stopped"])
    .select(["applications.id as application", "groups.id as group"])
    .where("rollouts.no", "in", newestRollouts(db))
    .where((eb) =>
      eb.or([
        eb("state", "in", ["halted", "aborted"]),
        eb("rollouts.no", "in", supersededWhileHalted(db)),
        eb.and([eb("groups.updates_stopped", "is not", null), eb("present", "=", 1)]),
      ]),
    )
    .orderBy("rollouts.no", "desc")
    .limit(MAX_STOPPED)
    .execute();
  const stopped: SiteDocument["stopped"] = [];
  for (const { no, version, arch, application, group, state, updates_stopped } of rows) {
    const stop = state === "halted" || state === "aborted" ? null : stopOf(updates_stopped);
    const line = await db
      .selectFrom("rollout_history")
      .select("reason")
      .where("rollout_no", "=", no)
      .where("to_state", "!=", "superseded")
      .orderBy("no", "desc")
      .limit(1)
      .executeTakeFirst();
    stopped.push({
      application,
      group,
      version,
      arch: archName(toArch(arch)),
      state: state === "aborted" ? "aborted" : "halted",
      reason:
        stop === null ? (line?.reason ?? "") : `safe mode has stopped updates there: ${stop.why} with ${stop.version}`,
    });
  }
  return stopped.reverse();
}

function supersededWhileHalted(db: Db) {
  return db
    .selectFrom("rollout_history")
    .select("rollout_no")
    .where("from_state", "=", "halted")
    .where("to_state", "=", "superseded");
}

function newestRollouts(db: Db) {
  return db
    .selectFrom("rollouts")
    .select((eb) => eb.fn.max("no").as("no"))
    .where("undoes", "is", null)
    .groupBy(["group_no", "package_no"]);
}
