import { beforeEach, describe, expect, it } from "vitest";
import { Notifications } from "../../src/notify/notifications.ts";
import { MAX_WAITING } from "../../src/notify/outbox.ts";
import { take } from "../../src/notify/tries.ts";
import { aFolder } from "../afterwards.ts";
import { type World, worlds } from "./world.ts";

let world: World;
worlds((made) => {
  world = made;
});

describe("a restart", () => {
  it("loses nothing: neither what was not handed over yet, nor what waits, nor what was being sent", async () => {
    const dataDir = aFolder();
    await world.start({ dataDir });
    await world.aWebhook({ events: ["rollout-started", "channel-updated", "node-failed"] });
    world.receiver.answer = "hang";
    await world.server.release("4230.2.1");
    const telling = world.tell();
    await expect.poll(() => world.receiver.received.length).toBe(1);
    await world.nodeFails(1);
    const began = performance.now();
    await world.server.close();
    await telling;
    expect(performance.now() - began).toBeLessThan(6_000);

    world.receiver.answer = 200;
    world.receiver.received.length = 0;
    await world.start({ dataDir, clock: world.server.clock });
    await world.tell();
    expect(world.receiver.types().sort()).toEqual(["channel-updated", "node-failed", "rollout-started"]);
    expect(await world.deliveries()).toMatchObject([{ tries: 1 }, { tries: 1 }, { tries: 1 }]);
  });

  it("after a crash in the middle of sending sends again when the crashed process's time is up", async () => {
    await world.start();
    await world.aWebhook();
    await world.test();
    const { store } = world.server.turnout;
    await store.write((tx) => take(tx, 1, 40, 60_000, world.server.clock.now()));
    await world.tell();
    expect(world.receiver.received).toEqual([]);
    world.server.clock.move({ minutes: 1 });
    await world.tell();
    expect(await world.deliveries()).toMatchObject([{ state: "delivered", tries: 2 }]);
  });
});

describe("two that send from one database", () => {
  it("hand every event over once and never send one twice at once", async () => {
    const { turnout, clock } = await world.start();
    const { store, notifications: first } = turnout;
    const nothing = () => undefined;
    const second = new Notifications({ store, clock, version: "0.0.0", privateTargets: true, onOutcome: nothing, onFailure: nothing, onError: nothing }); // biome-ignore format: one line
    await world.aWebhook();
    await world.server.setPolicy({ strategy: {} }); // all thirty are to fail, not ten
    await world.server.release("4230.2.1");
    for (let n = 0; n < 30; n += 1) await world.nodeFails(n);
    for (let n = 0; n < 30; n += 1) await world.test();
    const tell = (one: Notifications) => one.handOver().then(() => one.deliver());
    const { received } = world.receiver;
    for (let turn = 0; turn < 50 && received.length < 62; turn += 1) {
      await Promise.all([tell(first), tell(second), tell(first), tell(second)]);
    }
    expect(received).toHaveLength(62);
    expect(new Set(received.map(({ headers }) => headers["turnout-delivery"])).size).toBe(62);
    expect(new Set(received.map(({ body }) => body.id)).size).toBe(62);
  });
});

describe("the outbox", () => {
  beforeEach(() => world.start());

  it("does not grow for ever: beyond its bound the oldest are dropped, and listed as such", async () => {
    await world.aWebhook();
    const total = MAX_WAITING + 700;
    for (let from = 0; from < total; from += 500) {
      const rows = Array.from({ length: Math.min(500, total - from) }, (_, index) => row(from + index));
      await world.server.turnout.store.write((tx) => tx.insertInto("webhook_deliveries").values(rows).execute());
    }
    await world.tell();
    expect((await world.webhook()).health).toMatchObject({ waiting: MAX_WAITING });
    const dropped = await world.deliveries("state=dropped");
    expect(dropped).toHaveLength(700);
    expect(dropped[0]).toMatchObject({ id: row(699).id, error: "more than 20000 were waiting" });
    const metrics = await (await fetch(`${world.server.url}/metrics`)).text();
    expect(metrics).toMatch(/^turnout_webhook_waiting{webhook="[\w-]+"} 20000$/m);
    expect(metrics).toMatch(/^turnout_webhook_deliveries_total{outcome="dropped"} 700$/m);
  });

  it("goes with the history, but for what still waits", async () => {
    await world.aWebhook();
    await world.test();
    await world.tell();
    await world.test();
    world.server.clock.move({ days: 91 });
    await world.server.turnout.housekeeping.deleteOldRows();
    expect(await world.deliveries()).toMatchObject([{ state: "waiting" }]);
    await world.tell();
    expect(await world.deliveries()).toMatchObject([{ state: "failed", error: "not delivered within 36 hours" }]);
    await world.server.turnout.housekeeping.deleteOldRows();
    expect(await world.deliveries()).toEqual([]);
  });

  it("forgets what is gone before anybody was told, and misses nothing that takes its number", async () => {
    await world.aWebhook({ events: ["channel-updated"] });
    await world.server.release("4230.2.1");
    await world.server.turnout.store.write((tx) => tx.deleteFrom("activity").execute());
    await world.server.release("4230.2.2");
    const lines = await world.server.turnout.store.read.selectFrom("activity").select("no").execute();
    expect(lines).toEqual([{ no: 1 }]);
    await world.server.turnout.store.write((tx) => tx.insertInto("untold").values({ activity_no: 7 }).execute());
    await world.tell();
    expect(world.receiver.received.map(({ body }) => body.version)).toEqual(["4230.2.2"]);
    expect(await world.server.turnout.store.read.selectFrom("untold").selectAll().execute()).toEqual([]);
  });

  it("drops what waits for a webhook that is deleted; a new one never sees the old one's deliveries", async () => {
    await world.aWebhook();
    await world.test();
    await world.server.api("DELETE", "/webhooks/pager");
    await world.aWebhook();
    await world.tell();
    expect(world.receiver.received).toEqual([]);
    expect(await world.deliveries()).toEqual([]);
    const rows = await world.server.turnout.store.read
      .selectFrom("webhook_deliveries")
      .select(["state", "error"])
      .execute();
    expect(rows).toEqual([{ state: "dropped", error: "the webhook was deleted" }]);
  });
});

function row(n: number) {
  const at = world.server.clock.now();
  const id = `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
  return { id, webhook_no: 1, event: "test", event_id: id, body: "{}", at, state: "waiting", tries: 0, due_at: at + 1 + n, give_up_at: at + 129_600_000 }; // biome-ignore format: one line
}
