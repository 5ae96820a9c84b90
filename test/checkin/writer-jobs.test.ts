import { join } from "node:path";
import { MessageChannel } from "node:worker_threads";
import Database from "better-sqlite3";
import { describe, expect, it } from "vitest";
import type { WriterJob, WriterReply } from "../../src/checkin/messages.ts";
import { serveWriter } from "../../src/checkin/writer-jobs.ts";
import { aFolder, afterwards } from "../afterwards.ts";
import { aCheckIn } from "../rollout/builders.ts";
import { aDatabase, NOW } from "../store/in-process.ts";

/** The writer on a port of this thread: its replies in the order in which they come. */
function aWriter(databasePath = join(aFolder(), "turnout.db")) {
  const { port1, port2 } = new MessageChannel();
  const replies: WriterReply[] = [];
  const waiting = new Map<number, (reply: WriterReply) => void>();
  port2.on("message", (reply: WriterReply) => {
    replies.push(reply);
    if ("id" in reply) waiting.get(reply.id)?.(reply);
  });
  let id = 0;
  const ask = (job: WriterJob): Promise<WriterReply> => {
    id += 1;
    const own = id;
    port2.postMessage({ id: own, ...job });
    return new Promise((resolve) => waiting.set(own, resolve));
  };
  serveWriter(port1, { databasePath, newNodesPerMinute: 0, now: NOW });
  afterwards(() => port2.close());
  return { ask, replies, databasePath };
}

const batch = (...machineIds: string[]): WriterJob => ({
  kind: "batch",
  requests: machineIds.map((machineId) => ({ apps: [aCheckIn({ machineId })], ip: "192.0.2.1", now: NOW })),
});
const query = (sql: string, ...parameters: unknown[]): WriterJob => ({ kind: "query", sql, parameters });

describe("the writer", () => {
  it("does every kind of job, and says when it is ready", async () => {
    const { ask, replies } = aWriter();
    expect(await ask(batch("a"))).toMatchObject({ kind: "answer", answer: [[{ reason: "unknown-application" }]] });
    expect(replies[0]).toEqual({ kind: "ready" });
    expect(await ask({ kind: "expire-due", now: NOW })).toMatchObject({ answer: false });
    expect(await ask({ kind: "flush-seen" })).toMatchObject({ answer: false });
    expect(await ask({ kind: "delete-history", before: NOW })).toMatchObject({ answer: false });
    expect(await ask({ kind: "forget-seen-once", before: NOW, afterNo: 0 })).toMatchObject({ answer: null });
    expect(await ask({ kind: "close" })).toMatchObject({ answer: null });
  });

  it("keeps batches waiting while somebody holds the session, and undoes what that one leaves open", async () => {
    const { ask, replies, databasePath } = aWriter();
    await ask({ kind: "acquire" });
    await ask(query("BEGIN IMMEDIATE"));
    await ask(query("UPDATE meta SET revision = ?", 77));
    const order: string[] = [];
    const decided = ask(batch("a")).then(() => order.push("batch"));
    const closed = ask({ kind: "close" });
    expect(await ask(query("SELECT revision FROM meta"))).toMatchObject({ answer: { rows: [{ revision: 77 }] } });
    order.push("query");
    await ask({ kind: "release" });
    await decided;
    await closed;
    expect(order).toEqual(["query", "batch"]);
    expect(replies.every(({ kind }) => kind !== "error")).toBe(true);
    const db = new Database(databasePath, { readonly: true });
    expect(db.prepare("SELECT revision FROM meta").get()).toEqual({ revision: 0 });
    db.close();
  });

  it("writes all marks before it closes, also those that came while others were being written", async () => {
    const world = await aDatabase();
    afterwards(() => world.close());
    const { ask } = aWriter(world.path);
    const checks = (now: number): WriterJob => ({
      kind: "batch",
      requests: Array.from({ length: 300 }, (_, n) => ({
        apps: [aCheckIn({ machineId: `machine-${n}` })],
        ip: "192.0.2.1",
        now,
      })),
    });
    await ask(checks(NOW));
    expect(await ask({ kind: "flush-seen" })).toMatchObject({ answer: true });
    await ask(checks(NOW + 60_000));
    await ask({ kind: "close" });
    expect(world.db.prepare("SELECT at, count(*) AS nodes FROM seen GROUP BY at").all()).toEqual([
      { at: NOW + 60_000, nodes: 300 },
    ]);
  });

  it("answers a wrong query with its error, and a locked database as unavailable", async () => {
    const { ask, databasePath } = aWriter();
    expect(await ask(query("SELECT nonsense"))).toMatchObject({
      kind: "error",
      message: expect.stringContaining("nonsense"),
    });
    const other = new Database(databasePath);
    other.exec("BEGIN IMMEDIATE");
    expect(await ask(query("UPDATE meta SET revision = 1"))).toMatchObject({ kind: "error", name: "StoreUnavailable" });
    other.close();
    await ask({ kind: "close" });
  });
});
