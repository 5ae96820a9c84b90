/** The writer's jobs, one after another, on whatever port they come in. */
import type { MessagePort } from "node:worker_threads";
import { NO_LIMITS } from "../rollout/model/server.ts";
import { sqliteCheckIns } from "../store/sqlite/checkins.ts";
import { openWriter, sessionOn } from "../store/sqlite/connection.ts";
import { kyselyOver } from "../store/sqlite/dialect.ts";
import { migrate } from "../store/sqlite/migrate.ts";
import { replay } from "../store/sqlite/replay.ts";
import { Decisions } from "./decisions.ts";
import type { WriterAnswers, WriterData, WriterJob, WriterMessage, WriterReply } from "./messages.ts";

/** Opens the database, brings its schema up to date, says that it is ready, and then does what it is asked. */
export function serveWriter(port: MessagePort, data: WriterData): void {
  const { databasePath, mirrors = "everyone", downloads = NO_LIMITS, now, ...options } = data;
  const reply = (message: WriterReply): void => port.postMessage(message);
  const db = openWriter(databasePath);
  migrate(db, now);
  const session = sessionOn(db);
  const store = sqliteCheckIns(db, kyselyOver({ acquire: async () => session, release: async () => {} }));
  const decisions = new Decisions(store, {
    ...options,
    mirrors,
    server: { ...NO_LIMITS, ...downloads, startedAt: now },
    onFault: (error, { machineId }) =>
      reply({
        kind: "fault",
        message: error instanceof Error ? (error.stack ?? error.message) : String(error),
        machineId,
      }),
  });

  /** Jobs wait here; the session's own queries pass by, since they belong to the job that holds it. */
  let tail: Promise<unknown> = Promise.resolve();
  let release: (() => void) | null = null;

  async function perform(job: WriterJob): Promise<WriterAnswers[WriterJob["kind"]]> {
    switch (job.kind) {
      case "batch":
        return decisions.run(job.requests);
      case "expire-due":
        return decisions.expireDue(job.now);
      case "flush-seen":
        return decisions.flushSeen();
      case "delete-history":
        return decisions.deleteHistory(job.before);
      case "forget-seen-once":
        return decisions.forgetSeenOnce(job.before, job.afterNo);
      case "replay":
        return replay(db, job.statements);
      case "query":
        return session.query(job.sql, job.parameters);
      case "acquire":
        return null;
      case "release":
        if (db.inTransaction) db.exec("ROLLBACK");
        release?.();
        return null;
      case "close":
        await decisions.flushAllSeen();
        await store.close();
        return null;
      default:
        throw new Error(`unknown job: ${JSON.stringify(job satisfies never)}`);
    }
  }

  async function answer({ id, ...job }: WriterMessage): Promise<void> {
    try {
      reply({ kind: "answer", id, answer: await perform(job) });
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      reply({ kind: "error", id, name, message });
    }
  }

  port.on("message", (message: WriterMessage) => {
    if (message.kind === "query" || message.kind === "release") {
      void answer(message);
      return;
    }
    tail = tail.then(() => answer(message));
    if (message.kind === "acquire") {
      tail = tail.then(
        () =>
          new Promise<void>((resolve) => {
            release = resolve;
          }),
      );
    }
  });

  reply({ kind: "ready" });
}
