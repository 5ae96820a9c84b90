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
import type { Store } from "../store/store.ts";
import { applyDocument } from "./apply.ts";
import { Central, CentralFailed, fleetIn } from "./client.ts";
import { bringInRelease, missingReleases } from "./files.ts";
import { nameOf, namesOf } from "./localize.ts";
import { makeReport } from "./report.ts";
import { Stops } from "./stops.ts";
import { rememberCentral, Turns } from "./turns.ts";

const TICK_MS = 1_000;
const TIMEOUT_MS = 30_000;
const STALL_MS = 60_000;
const RENEW_MS = 30_000;

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
  /** What can't wait for a round's end, since files may take hours: the same for the other timers. */
  keepUp(): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}

export async function openEdge(options: EdgeOptions): Promise<Edge> {
  const { store, clock, payloads, version, timeoutMs = TIMEOUT_MS, random = Math.random } = options;
  const { url, site, token, intervalMs, payloads: withPayloads } = options.central;
  const stopping = new AbortController();
  const instance = await instanceId(store.read);
  const userAgent = `Turnout/${version}`;
  const central = new Central({ url, token, site, instance, userAgent, timeoutMs, stop: stopping.signal });
  const turns = new Turns({ store, clock, intervalMs, random });
  const stops = new Stops(store, clock);
  await rememberCentral(store, url, site, clock.now());
  const timers: Repeated[] = [];
  /** When the central server was last asked and told. */
  let exchangedAt = 0;
  let isBringing = false;
  let isRunning = false;
  /** Why a file did not come. It is tried less and less often; null: all came. */
  let late: string | null = null;
  /** Asking and telling while files come, or are late. */
  let meanwhile: Promise<unknown> = Promise.resolve();

  async function run(): Promise<void> {
    if (!(await turns.take())) return;
    isRunning = true;
    const renewal = setInterval(() => void turns.renew().catch(options.onError), RENEW_MS);
    try {
      await meanwhile;
      const error = await exchange(sync);
      if (stopping.signal.aborted) {
        await turns.giveBack();
        return;
      }
      options.onRound(error);
      await turns.settle(error);
    } finally {
      clearInterval(renewal);
      isRunning = false;
    }
  }

  /** Files may take hours, and one that does not come is waited for longer each time. */
  async function askMeanwhile(): Promise<void> {
    const isFree = isBringing || (late !== null && !isRunning);
    if (!isFree || Math.abs(clock.now() - exchangedAt) < intervalMs) return;
    meanwhile = exchange(refresh).then(say).catch(options.onError);
    await meanwhile;
  }

  /** What went wrong is seen before the round's end. */
  async function say(error: string | null): Promise<void> {
    if (error === null || stopping.signal.aborted) return;
    await store.write((tx) => tx.updateTable("central").set({ error }).execute());
  }

  /** Answers what went wrong; null: nothing. Also a site that can't get its configuration says how it is. */
  async function exchange(work: () => Promise<void>): Promise<string | null> {
    exchangedAt = clock.now();
    const failure = await work().then(
      () => null,
      (error: unknown) => error,
    );
    const error = failure === null ? late : toText(failure);
    if (failure instanceof CentralFailed && failure.silent) return error;
    try {
      const now = clock.now();
      const report = await store.snapshot((db) => makeReport(db, { instance, version, error, now }));
      await central.report(report);
      await store.write((tx) => tx.updateTable("central").set({ reported_at: clock.now() }).execute());
    } catch (failure) {
      return error ?? toText(failure);
    }
    return error;
  }

  /** @throws CentralFailed, Problem */
  async function sync(): Promise<void> {
    try {
      await refresh();
    } catch (failure) {
      // What has been brought by hand needs no link.
      await moveHeld();
      throw failure;
    }
    late = null;
    await bringInFiles().catch((failure: unknown) => {
      late = toText(failure);
      throw new CentralFailed(late);
    });
  }

  async function refresh(): Promise<void> {
    const row = await store.read.selectFrom("central").select(["etag", "path"]).executeTakeFirstOrThrow();
    const news = await central.configuration(row.etag);
    if (news !== null) {
      checkOrigin(news.document.path, JSON.parse(row.path) as string[], instance); // checked when it came in
      await applyDocument(store, { ...news, payloads: withPayloads, now: clock.now() });
      // They may help, or bring other files.
      if (late !== null) await turns.hurry();
    }
    // What else was wrong before is over; files may take hours until the round has ended.
    await store.write((tx) => tx.updateTable("central").set({ fetched_at: clock.now(), error: late }).execute());
  }

  /** Then channels that waited for them move. */
  async function bringInFiles(): Promise<void> {
    isBringing = true;
    const failure = await bringInMissing().finally(() => {
      isBringing = false;
    });
    // Or what it has got by now could be replaced by what was got before it.
    await meanwhile;
    if (stopping.signal.aborted) return;
    await moveHeld();
    if (failure !== null) throw failure;
  }

  /** One that fails keeps none of the others waiting. Answers why one that is wanted by then did not come; null: all did. */
  async function bringInMissing(): Promise<unknown> {
    const tried = new Map<string, unknown>();
    while (withPayloads && !stopping.signal.aborted) {
      // Anew for each: news may have come while the one before it did.
      const applied = await readApplied(store);
      if (applied === null) return null;
      const { document, fleet } = applied;
      const missing = missingReleases(fleet, namesOf(document.hosted), namesOf(await store.snapshot(hostedPackages)));
      const next = [...missing].find(([name]) => !tried.has(name));
      if (next === undefined) return [...missing].map(([name]) => tried.get(name)).find((why) => why !== null) ?? null;
      const fetching = {
        context: { store, payloads, editor: editor(store, clock, CENTRAL) },
        url,
        payloads: document.payloads,
        userAgent,
        stallMs: STALL_MS,
        signal: stopping.signal,
      };
      const [name, wanted] = next;
      const why = await bringInRelease(wanted, fetching).then(
        () => null,
        (error: unknown) => error,
      );
      tried.set(name, why);
    }
    return null;
  }

  /** Channels whose files are here by now, whoever has brought them. */
  async function moveHeld(): Promise<void> {
    const row = await store.read.selectFrom("central").select("held").executeTakeFirstOrThrow();
    const held = JSON.parse(row.held) as HeldChannel[]; // checked when it came in
    if (held.length === 0) return;
    const here = namesOf(await store.snapshot(hostedPackages));
    if (!held.some((one) => here.has(nameOf(one.application, { version: one.waits_for, arch: one.arch })))) return;
    const applied = await readApplied(store);
    if (applied !== null) await applyDocument(store, { ...applied, payloads: withPayloads, now: clock.now() });
  }

  /** A fault of ours is written down like one of the central server's, so that it is seen, and not tried without end. */
  function toText(failure: unknown): string {
    if (failure instanceof CentralFailed) return failure.message;
    if (failure instanceof Problem)
      return `the central server's configuration can't be applied here: ${failure.message}`;
    options.onError(failure);
    return `a fault here: ${failure instanceof Error ? failure.message : String(failure)}`;
  }

  return {
    run,
    async keepUp() {
      await stops.keep().catch(options.onError);
      await askMeanwhile();
    },
    start() {
      // Each by itself: whatever waits for the line keeps no halt waiting.
      for (const turn of [() => stops.keep(), askMeanwhile, run]) timers.push(repeat(TICK_MS, turn, options.onError));
    },
    async stop() {
      const ended = timers.map((timer) => timer.stop());
      stopping.abort();
      await Promise.all(ended);
    },
  };
}

/** What was applied last; null: nothing. */
async function readApplied(store: Store) {
  const { document: text, etag } = await store.read
    .selectFrom("central")
    .select(["document", "etag"])
    .executeTakeFirstOrThrow();
  if (text === null) return null;
  const document = JSON.parse(text) as SiteDocument; // checked when it came in
  return { document, fleet: fleetIn(document.fleet), etag };
}

/**
 * @param path the servers that a configuration comes through, the one that answered last
 * @param before of what was applied last; empty: nothing yet
 * @throws CentralFailed
 */
function checkOrigin(path: readonly string[], before: readonly string[], instance: string): void {
  if (path.includes(instance)) {
    const way = path.join(" → ");
    throw new CentralFailed(`a loop: its configuration comes from this server itself (${way}); nothing was applied`);
  }
  const [now, then = now] = [path.at(-1), before.at(-1)];
  if (now === then) return;
  throw new CentralFailed(
    `another server answers there: instance ${now}, and it was ${then}; nothing was applied, since a new database has next to nothing. ` +
      "If this is as it should be, start this site once without TURNOUT_CENTRAL_URL, and then with it again",
  );
}
