/** Settings → store → server; signals. The only file that wires everything. */
import { mkdirSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import pino, { type Logger } from "pino";
import { openAccess } from "./admin/auth/access.ts";
import { firstToken, rememberToken } from "./admin/auth/tokens.ts";
import { editor, SYNC } from "./admin/editor.ts";
import { seedFleet } from "./admin/fleet.ts";
import { adminRouter } from "./admin/router.ts";
import { makeUpForAbsence } from "./checkin/absence.ts";
import { answering } from "./checkin/answer.ts";
import { Batches } from "./checkin/batch.ts";
import type { CheckInRequest, Decision } from "./checkin/decisions.ts";
import { housekeeping } from "./checkin/housekeeping.ts";
import type { PollingOptions } from "./checkin/polling.ts";
import { startWriter, type Writer } from "./checkin/writer.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Edge, type EdgeOptions, openEdge } from "./edge/edge.ts";
import { forgetCentral } from "./edge/turns.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { MirrorError, type PublicKey, readPublicKeys } from "./mirror/keys.ts";
import { type NotificationOptions, Notifications } from "./notify/notifications.ts";
import { omahaHandler } from "./omaha/handler.ts";
import { downloads as serveDownloads } from "./payloads/downloads.ts";
import { payloadMetrics } from "./payloads/metrics.ts";
import { Payloads } from "./payloads/payloads.ts";
import { type Scrub, scrub } from "./payloads/scrub.ts";
import { createApp, createHttpServer, DEFAULT_TIMEOUTS, type ServerTimeouts } from "./server.ts";
import { readSettings, type Settings, SettingsError } from "./settings.ts";
import { setDefaultStrategy } from "./store/rollouts.ts";
import { lockFolder } from "./store/sqlite/lock.ts";
import { sqliteStore } from "./store/sqlite/open.ts";
import type { Store } from "./store/store.ts";
import { syncMetrics } from "./sync/metrics.ts";
import { type OpenSyncingOptions, openSyncing } from "./sync/open.ts";
import type { Syncing } from "./sync/syncing.ts";
import { VERSION } from "./version.ts";

/** Read, not imported: so it needs no flag of the runtime's. */
const FIRST_FLEET = fileURLToPath(new URL("../config/flatcar.yaml", import.meta.url));
const MAX_BATCH = 512;
const MAX_WAITING = 20_000;
const SHUTDOWN_MS = 9_000;

export interface Turnout {
  /** e.g. http://127.0.0.1:8000 */
  readonly url: string;
  readonly store: Store;
  readonly housekeeping: ReturnType<typeof housekeeping>;
  readonly scrub: Scrub;
  readonly notifications: Notifications;
  /** Null: there is no central server. */
  readonly edge: Edge | null;
  readonly syncing: Syncing;
  /** Stops accepting, finishes what is in flight, writes what waits. */
  close(): Promise<void>;
}

export interface StartOptions {
  readonly clock?: Clock;
  readonly log?: Logger;
  readonly timeouts?: Partial<ServerTimeouts>;
  readonly webhooks?: Pick<NotificationOptions, "timeoutMs" | "resolve">;
  readonly central?: Pick<EdgeOptions, "timeoutMs" | "random">;
  readonly sync?: Pick<OpenSyncingOptions, "timeouts" | "resolve">;
  /** Whether time-driven tasks run by themselves; tests drive them. */
  readonly timers?: boolean;
  /** The writer's or a reader's thread died: the process can't go on. */
  readonly onFatal?: (error: Error) => void;
  /** A token was made because none was there: shown once, never again. */
  readonly onFirstToken?: (token: string) => void;
}

/** @throws DatabaseInUse when another process uses the data directory. */
export async function startTurnout(settings: Settings, options: StartOptions = {}): Promise<Turnout> {
  mkdirSync(settings.dataDir, { recursive: true, mode: 0o700 });
  const lock = lockFolder(settings.dataDir);
  try {
    const turnout = await start(settings, options);
    return { ...turnout, close: () => turnout.close().finally(() => lock.release()) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function start(settings: Settings, options: StartOptions): Promise<Turnout> {
  const clock = options.clock ?? systemClock;
  const log = options.log ?? pino({ level: "silent" });
  const onFatal = options.onFatal ?? ((error) => log.fatal(error));

  const mirrorKeys = readMirrorKeys(settings);
  const { databasePath, newNodesPerMinute } = settings;
  const { downloads, downloadRate } = settings.payloads;
  const writer = await startWriter(
    {
      databasePath,
      newNodesPerMinute,
      mirrors: settings.mirrors,
      downloads: { downloads, downloadRate },
      polling: pollingOf(settings),
      now: clock.now(),
    },
    { onFault: (fault, machineId) => log.error({ machineId, fault }, "deciding a check-in failed"), onDeath: onFatal },
  );
  const store = sqliteStore(databasePath, writer, onFatal);
  try {
    return await startOn({ settings, options, clock, log, writer, store }, mirrorKeys);
  } catch (error) {
    // A port that is taken, say.
    await writer.close();
    await store.close();
    throw error;
  }
}

type Database = Pick<Parts, "settings" | "options" | "clock" | "log" | "writer" | "store">;

async function startOn(database: Database, mirrorKeys: readonly PublicKey[]): Promise<Turnout> {
  const { settings, options, clock, log, writer, store } = database;
  await setDefaultStrategy(store, settings.defaultStrategy);
  if (await seedFleet(store, FIRST_FLEET, clock.now())) log.info("new database: made the Flatcar application");
  await provideToken(store, settings, clock, options);
  const absence = await makeUpForAbsence(store, clock.now());
  if (absence !== null)
    log.warn({ since: new Date(absence.from) }, "no node was heard for a while; deadlines are later");
  const payloads = await Payloads.open({
    folder: join(settings.dataDir, "payloads"),
    reserve: settings.payloads.diskReserve,
  });

  // Known when it listens, and asked for later: nobody is answered before.
  let url = "";
  const parts: Parts = {
    ...database,
    payloads,
    metrics: createMetrics(store, clock),
    timeouts: { ...DEFAULT_TIMEOUTS, ...options.timeouts },
    uploading: new WeakSet(),
    publicUrl: () => settings.publicUrl ?? url,
  };
  const files = serveFiles(parts);
  const syncing = followUpstreams(parts, mirrorKeys);
  const people = await servePeople(parts, syncing);
  const chores = housekeeping({
    writer,
    store,
    clock,
    historyDays: settings.historyDays,
    forgetSeenOnceDays: settings.forgetSeenOnceDays,
    absence,
    polling: pollingOf(settings),
    onError: (task, error) =>
      log.error({ task, error: String(error) }, "a background task failed; it will be tried again"),
  });
  const notifications = tellWebhooks(parts);
  const edge = await followCentral(parts);

  const app = createApp({
    omaha: answerNodes(parts, files),
    admin: people.admin,
    payloads: files.router,
    access: people.routes,
    metrics: parts.metrics,
    omahaSecret: settings.omahaSecret,
    trustProxy: settings.trustProxy,
  });
  const server = createHttpServer(app, parts.uploading, parts.timeouts);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(settings.port, settings.host, resolve);
  });
  // A server that listens on a port has such an address.
  const { port } = server.address() as AddressInfo;
  const host = settings.host.includes(":") ? `[${settings.host}]` : settings.host;
  url = `http://${host}:${port}`;
  if (settings.publicUrl === null && /^(0\.0\.0\.0|::)$/.test(settings.host)) {
    log.warn("set TURNOUT_PUBLIC_URL: nodes are told it for files that are kept here, and can't download from %s", url);
  }
  if (options.timers ?? true) {
    chores.start();
    notifications.start();
    files.scrub.start();
    edge?.start();
    syncing.start();
  }
  return {
    url,
    store,
    housekeeping: chores,
    scrub: files.scrub,
    notifications,
    edge,
    syncing,
    async close() {
      const told = notifications.stop();
      const synced = syncing.stop();
      const parted = edge?.stop();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const cutOff = setTimeout(() => server.closeAllConnections(), SHUTDOWN_MS / 2);
      await closed;
      clearTimeout(cutOff);
      const ended = await Promise.allSettled([told, synced, parted, chores.stop(), files.scrub.stop()]);
      // Whatever went wrong above: what waits is written.
      await writer.close();
      await store.close();
      for (const one of ended) if (one.status === "rejected") throw one.reason;
    },
  };
}

/** What every part of the server is made of. */
interface Parts {
  readonly settings: Settings;
  readonly options: StartOptions;
  readonly clock: Clock;
  readonly log: Logger;
  readonly writer: Writer;
  readonly store: Store;
  readonly payloads: Payloads;
  readonly metrics: Metrics;
  readonly timeouts: ServerTimeouts;
  /** Connections that a file comes in over. */
  readonly uploading: WeakSet<Duplex>;
  /** Where people and nodes reach this server, e.g. https://updates.example.org */
  readonly publicUrl: () => string;
}

/** When nodes are told to ask again. */
function pollingOf(settings: Settings): PollingOptions {
  return {
    normalSeconds: settings.pollIntervalSeconds,
    longestMs: settings.longestPollMs,
    adaptive: settings.adaptivePolling,
    overloadWaitMs: settings.overloadWaitMs,
  };
}

/** The way of a check-in. */
function answerNodes({ settings, clock, log, writer, metrics, publicUrl }: Parts, files: Files) {
  const batches = new Batches<CheckInRequest, readonly Decision[]>({
    run: (requests) => writer.ask({ kind: "batch", requests }),
    maxBatch: MAX_BATCH,
    maxWaiting: MAX_WAITING,
    onBatch: metrics.batch,
  });
  const tokenInPath = settings.payloads.token === null ? "" : `/${settings.payloads.token}`;
  return omahaHandler({
    answer: answering({
      batches,
      now: () => clock.now(),
      polling: pollingOf(settings),
      payloadsAt: () => `${publicUrl()}/payloads${tokenInPath}`,
      cutDownloads: (ip) => files.cut.of(ip, clock.now()),
      onDecision(app, { status, reason, offer, excused }, ip) {
        metrics.checkIn(offer !== null ? "update" : status === "ok" ? "noupdate" : "error", reason);
        if (excused !== null) files.cut.take(ip, excused);
        if (app.brokenQuotes) metrics.repaired();
        if (offer?.leftOut !== undefined && offer.leftOut.length > 0) {
          const { track, arch } = app;
          log.warn(
            { ip, track, arch, leftOut: offer.leftOut },
            "a mirror was not told of all: it is on another server",
          );
        }
      },
    }),
    now: () => clock.now(),
    onRefused(status, reason, ip) {
      metrics.refused(status);
      log.warn({ status, reason, ip }, "refused an Omaha request");
    },
    onFault: (error) => log.error(error, "answering an Omaha request failed"),
  });
}

type Files = ReturnType<typeof serveFiles>;

/** The way of a payload, and the scrub that looks after what is here. */
function serveFiles({ settings, clock, log, store, payloads, metrics, timeouts }: Parts) {
  const scrubbing = scrub({
    payloads,
    store,
    clock,
    days: settings.payloads.scrubDays,
    rate: settings.payloads.scrubRate,
    onCorrupt: (sha256, why) => log.error({ sha256, why }, "a file is corrupt; nodes are no longer sent to it"),
    onRefused: (file, why) =>
      log.error({ file, why }, "a file is not what its payload key says; it is offered to nobody"),
    onError: (error) => log.error({ error: String(error) }, "checking files failed; it will be tried again"),
  });
  const { router, open, cut } = serveDownloads({
    ...settings.payloads,
    blobs: payloads.blobs,
    store,
    now: () => clock.now(),
    onDownload: (status, bytes) => counted.download(status, bytes),
    onCut: (why) => counted.cut(why),
    stallMs: timeouts.downloadStallMs,
    onDamaged: (sha256) => scrubbing.suspect(sha256),
    onFault: (error, path) => log.error({ path, error: String(error) }, "sending a file failed"),
  });
  const counted = payloadMetrics(metrics.registry, payloads, store, () => open.count);
  return { router, cut, scrub: scrubbing };
}

function followUpstreams(
  { settings, options, clock, log, store, payloads, metrics }: Parts,
  mirrorKeys: readonly PublicKey[],
): Syncing {
  const upstreams = syncMetrics(metrics.registry, store, clock);
  return openSyncing({
    store,
    clock,
    payloads,
    editor: editor(store, clock, SYNC),
    version: VERSION,
    proxy: settings.syncProxy,
    mirrorKeys,
    syncDirs: settings.syncDirs,
    ...options.sync,
    onChecked({ track, id: upstream }, error) {
      upstreams.checked(error === null);
      if (error !== null) log.warn({ track, upstream, error }, "an upstream could not be followed");
    },
    onBytes: upstreams.bytes,
    onError: (error) => log.error({ error: String(error) }, "checking upstreams failed; it will be tried again"),
  });
}

/** The admin API, and the ways to log in to it. */
async function servePeople(parts: Parts, syncing: Syncing) {
  const { settings, clock, log, store, payloads, uploading, timeouts, publicUrl } = parts;
  const forPeople = {
    store,
    clock,
    payloads,
    uploading,
    uploadStallMs: timeouts.uploadStallMs,
    version: VERSION,
    onFault: (error: unknown) => log.error(error, "an admin request failed"),
    onFailedLogin: (ip: string, why: string) => log.warn({ ip, why }, "a login failed"),
  };
  const { authenticate, routes } = await openAccess({
    ...forPeople,
    mode: settings.auth,
    oidc: settings.oidc,
    publicUrl,
    onTrouble: (why) => log.warn(why),
  });
  const admin = adminRouter({
    ...forPeople,
    authenticate,
    privateTargets: settings.webhookPrivateTargets,
    downloads: settings.payloads,
    syncing,
    syncDirs: settings.syncDirs,
  });
  return { admin, routes };
}

function tellWebhooks({ settings, options, clock, log, store, metrics }: Parts): Notifications {
  return new Notifications({
    store,
    clock,
    version: VERSION,
    privateTargets: settings.webhookPrivateTargets,
    ...options.webhooks,
    onOutcome: metrics.webhook,
    onFailure: (webhook, event, why) => log.warn({ webhook, event, why }, "a webhook was not delivered"),
    onError: (error) => log.error({ error: String(error) }, "delivering webhooks failed; it will be tried again"),
  });
}

async function followCentral({ settings, options, clock, log, store, payloads }: Parts): Promise<Edge | null> {
  const { central } = settings;
  if (central === null) {
    await forgetCentral(store);
    return null;
  }
  const failed = "syncing with the central server failed; it will be tried again";
  return openEdge({
    store,
    clock,
    payloads,
    central,
    version: VERSION,
    ...options.central,
    onRound: (why) => (why === null ? log.debug("synced with the central server") : log.warn({ why }, failed)),
    onError: (error) => log.error({ error: String(error) }, failed),
  });
}

async function provideToken(store: Store, settings: Settings, clock: Clock, options: StartOptions): Promise<void> {
  if (settings.auth === "none") return;
  if (settings.adminToken !== null) {
    await rememberToken(store, settings.adminToken, clock.now());
    return;
  }
  const token = await firstToken(store, clock.now());
  if (token !== null) options.onFirstToken?.(token);
}

/** @throws SettingsError */
function readMirrorKeys({ mirrorKeys }: Settings): readonly PublicKey[] {
  try {
    return mirrorKeys.flatMap(readPublicKeys);
  } catch (error) {
    throw error instanceof MirrorError ? new SettingsError(`TURNOUT_MIRROR_KEYS: ${error.message}`) : error;
  }
}

/** Runs until a signal comes. */
async function serve(environment: NodeJS.ProcessEnv): Promise<void> {
  const settings = readSettings(environment);
  const log = pino({
    level: settings.logLevel,
    ...(process.stdout.isTTY ? { transport: { target: "pino-pretty", options: { ignore: "pid,hostname" } } } : {}),
  });
  const turnout = await startTurnout(settings, {
    log,
    onFatal(error) {
      log.fatal(error, "can't go on");
      process.exit(1);
    },
    onFirstToken(token) {
      process.stdout.write(
        `\nThe first administrator's token, shown this once:\n\n    ${token}\n\nUse it as: Authorization: Bearer ${token}\n\n`,
      );
    },
  });

  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, "stopping");
    setTimeout(() => process.exit(1), SHUTDOWN_MS).unref();
    turnout.close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.fatal(error, "stopping failed");
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  process.stdout.write(`turnout listening on ${turnout.url}\n`);
}

/** Runs the server; what a person can mend is one line, anything else a stack. */
export async function main(): Promise<void> {
  try {
    await serve(process.env);
  } catch (error) {
    const text =
      error instanceof Error && !isExpected(error) ? error.stack : error instanceof Error ? error.message : error;
    process.stderr.write(`turnout: ${text}\n`);
    process.exit(1);
  }
}

/** A wrong setting, a database of a newer Turnout or in use, a port that is taken: the message says it all. */
function isExpected(error: Error): boolean {
  return (
    error instanceof SettingsError || ["NewerDatabase", "DatabaseInUse"].includes(error.name) || "syscall" in error
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
