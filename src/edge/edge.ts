/**
 * A site's background work: gets the configuration from the central server, makes it true, brings in what releases need, and
 * reports. Whatever fails is tried again; what was applied before goes on meanwhile, with or without a link.
 */
import type { HeldChannel } from "../admin/central.ts";
import { CENTRAL, editor } from "../admin/editor.ts";
import { Problem } from "../admin/problem.ts";
import type { SiteDocument } from "../admin/site-document.ts";
import { hostedPackages, instanceId } from "../admin/site-documents.ts";
import type { Clock } from "../clock.ts";
import type { Payloads } from "../payloads/payloads.ts";
import { type Repeated, repeat } from "../repeating.ts";
import { moveRevision } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import { applyDocument } from "./apply.ts";
import { Central, CentralFailed, fleetIn } from "./client.ts";
import { bringInRelease, missingReleases } from "./files.ts";
import { nameOf, namesOf } from "./localize.ts";
import { makeReport } from "./report.ts";

const TICK_MS = 1_000;
const TIMEOUT_MS = 30_000;
const STALL_MS = 60_000;
/** While a round lasts it keeps its lease; a process that has died loses it so soon. */
const LEASE_MS = 120_000;
const RENEW_MS = 30_000;
/** After failures, the interval doubles up to this. */
const LONGEST_WAIT_MS = 15 * 60_000;
/** So much of the interval comes or goes by chance: sites that were started together do not ask together. */
const JITTER = 0.2;

export interface CentralSettings {
  /** Without a slash at its end. */
  readonly url: string;
  readonly token: string;
  /** What this site is called there. */
  readonly site: string;
  readonly intervalMs: number;
  /** Whether files that the central server keeps are brought in. */
  readonly payloads: boolean;
}

export interface EdgeOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly payloads: Payloads;
  readonly central: CentralSettings;
  /** Turnout's own. */
  readonly version: string;
  readonly timeoutMs?: number | undefined;
  readonly random?: (() => number) | undefined;
  /** A round has ended; null: it went well. */
  readonly onRound: (error: string | null) => void;
  readonly onError: (error: unknown) => void;
}

export interface Edge {
  /** One round, if it is due and no other process is at it; what the timer does, for whoever drives the clock. */
  run(): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}

/** Without a central server, everything is the site's own. */
export async function forgetCentral(store: Store): Promise<void> {
  const row = await store.read.selectFrom("central").select("one").executeTakeFirst();
  if (row === undefined) return;
  await store.write(async (tx) => {
    await tx.deleteFrom("central").execute();
    await moveRevision(tx);
  });
}

export async function openEdge(options: EdgeOptions): Promise<Edge> {
  const { store, clock, payloads, version, timeoutMs = TIMEOUT_MS, random = Math.random } = options;
  const { url, site, token, intervalMs, payloads: withPayloads } = options.central;
  const stopping = new AbortController();
  const instance = await instanceId(store.read);
  const userAgent = `Turnout/${version}`;
  const central = new Central({ url, token, site, instance, userAgent, timeoutMs, stop: stopping.signal });
  await remember(store, url, site, clock.now());
  let rounds: Repeated | undefined;

  async function run(): Promise<void> {
    if (!(await take())) return;
    const renewal = setInterval(() => void renew().catch(options.onError), RENEW_MS);
    try {
      const error = await round();
      if (stopping.signal.aborted)
        await store.write((tx) => tx.updateTable("central").set({ lease_until: 0 }).execute());
      else await settle(error);
    } finally {
      clearInterval(renewal);
    }
  }

  async function take(): Promise<boolean> {
    const now = clock.now();
    const due = await store.read
      .selectFrom("central")
      .select("one")
      .where("next_at", "<=", now)
      .where("lease_until", "<=", now)
      .executeTakeFirst();
    if (due === undefined) return false;
    const { numUpdatedRows } = await store.write((tx) =>
      tx
        .updateTable("central")
        .set({ lease_until: now + LEASE_MS })
        .where("lease_until", "<=", now)
        .executeTakeFirst(),
    );
    return numUpdatedRows > 0n;
  }

  function renew() {
    return store.write((tx) =>
      tx
        .updateTable("central")
        .set({ lease_until: clock.now() + LEASE_MS })
        .execute(),
    );
  }

  /** Answers what went wrong; null: nothing. Also a site that can't get its configuration says how it is. */
  async function round(): Promise<string | null> {
    let error: string | null = null;
    try {
      await sync();
    } catch (failure) {
      error = toText(failure);
      if (failure instanceof CentralFailed && failure.silent) return error;
    }
    try {
      const now = clock.now();
      const report = await store.snapshot((db) => makeReport(db, { instance, version, error, now }));
      await central.report(report);
      await store.write((tx) => tx.updateTable("central").set({ reported_at: clock.now() }).execute());
    } catch (failure) {
      error ??= toText(failure);
    }
    return error;
  }

  /** @throws CentralFailed, Problem */
  async function sync(): Promise<void> {
    const { etag } = await store.read.selectFrom("central").select("etag").executeTakeFirstOrThrow();
    const news = await central.configuration(etag);
    if (news?.document.path.includes(instance)) {
      const way = news.document.path.join(" → ");
      throw new CentralFailed(`a loop: its configuration comes from this server itself (${way}); nothing was applied`);
    }
    if (news !== null) await applyDocument(store, { ...news, payloads: withPayloads, now: clock.now() });
    await store.write((tx) => tx.updateTable("central").set({ fetched_at: clock.now() }).execute());
    await bringInFiles();
  }

  /** Then channels that waited for them move. One that fails keeps none of the others waiting. */
  async function bringInFiles(): Promise<void> {
    const applied = await readApplied(store);
    if (applied === null) return;
    const { document, fleet, etag, held } = applied;
    const complete = namesOf(await store.snapshot(hostedPackages));
    const missing = withPayloads ? missingReleases(fleet, namesOf(document.hosted), complete) : [];
    const fetching = {
      context: { store, payloads, editor: editor(store, clock, CENTRAL) },
      url,
      payloads: document.payloads,
      userAgent,
      stallMs: STALL_MS,
      signal: stopping.signal,
    };
    const failures: unknown[] = [];
    for (const wanted of missing) {
      if (stopping.signal.aborted) return;
      await bringInRelease(wanted, fetching).catch((error: unknown) => failures.push(error));
    }
    const now = namesOf(await store.snapshot(hostedPackages));
    // Somebody may have brought them by hand, too.
    if (held.some((one) => now.has(nameOf(one.application, { version: one.waits_for, arch: one.arch })))) {
      await applyDocument(store, { document, fleet, etag, payloads: withPayloads, now: clock.now() });
    }
    if (failures.length > 0) throw failures[0];
  }

  function settle(error: string | null): Promise<unknown> {
    options.onRound(error);
    return store.write(async (tx) => {
      const { failures: before } = await tx.selectFrom("central").select("failures").executeTakeFirstOrThrow();
      const failures = error === null ? 0 : before + 1;
      const longest = Math.max(LONGEST_WAIT_MS, intervalMs);
      const waitMs = Math.min(intervalMs * 2 ** Math.max(0, failures - 1), longest);
      const nextAt = clock.now() + Math.round(waitMs * (1 + JITTER * (2 * random() - 1)));
      await tx.updateTable("central").set({ error, failures, next_at: nextAt, lease_until: 0 }).execute();
    });
  }

  return {
    run,
    start() {
      rounds = repeat(TICK_MS, run, options.onError);
    },
    async stop() {
      const ended = rounds?.stop();
      stopping.abort();
      await ended;
    },
  };
}

/** Another central server begins anew; the same one is gone on with, and asked for all of it once: our settings may have changed. */
async function remember(store: Store, url: string, site: string, now: number): Promise<void> {
  await store.write(async (tx) => {
    const row = await tx.selectFrom("central").select(["url", "site"]).executeTakeFirst();
    if (row?.url === url && row.site === site) {
      await tx.updateTable("central").set({ next_at: now, etag: null }).execute();
      return;
    }
    await tx.deleteFrom("central").execute();
    await tx.insertInto("central").values({ one: 1, url, site, next_at: now }).execute();
  });
}

/** What was applied last, with the channels that were held; null: nothing. */
async function readApplied(store: Store) {
  const { document: text, etag, held } = await store.read.selectFrom("central").selectAll().executeTakeFirstOrThrow();
  if (text === null || etag === null) return null;
  // Both were checked when they came in.
  const document = JSON.parse(text) as SiteDocument;
  return {
    document,
    fleet: fleetIn(document.fleet),
    etag,
    held: JSON.parse(held) as HeldChannel[],
  };
}

function toText(failure: unknown): string {
  if (failure instanceof CentralFailed) return failure.message;
  if (failure instanceof Problem) {
    return `the central server's configuration can't be applied here: ${failure.message}`;
  }
  throw failure;
}
