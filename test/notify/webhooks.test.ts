import { beforeEach, describe, expect, it } from "vitest";
import { signatureOf } from "../../src/notify/send.ts";
import { checks, FLATCAR, NODE_ID, reports, STABLE_GROUP } from "../e2e/turnout.ts";
import { machine, type Webhook, type World, worlds } from "./world.ts";

let world: World;
worlds((made) => {
  world = made;
});

describe("a webhook", () => {
  beforeEach(() => world.start());

  it("is told what happened, signed, each event once, with all that is known about it", async () => {
    const { secret } = await world.aWebhook();
    await world.server.release("4230.2.1");
    await world.nodeFails(3);
    await world.tell();
    await world.tell();
    expect(world.receiver.types().sort()).toEqual(["channel-updated", "node-failed", "rollout-started"]);
    const { rollouts } = await world.server.api<{ rollouts: { id: string }[] }>(
      "GET",
      `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`,
    );
    const { activities } = await world.server.api<{ activities: { id: string; class: number }[] }>("GET", "/activity");
    const failed = world.receiver.received.find(({ body }) => body.type === "node-failed");
    expect(failed?.body).toEqual({
      id: activities.find((one) => one.class === 5)?.id,
      type: "node-failed",
      created_ts: new Date(world.server.clock.now()).toISOString(),
      application: { id: FLATCAR, name: "Flatcar Container Linux" },
      group: { id: STABLE_GROUP, name: "Stable (AMD64)" },
      channel: null,
      rollout: { id: rollouts[0]?.id },
      instance: { id: machine(3), alias: "rack7-node3" },
      version: "4230.2.1",
      class: 5,
      severity: 4,
      error_code: 9,
      message: "Node rack7-node3 failed to update to 4230.2.1 with code 9",
    });
    for (const { path, headers, text, body } of world.receiver.received) {
      const timestamp = String(headers["turnout-timestamp"]);
      expect(path).toBe("/hook");
      expect(headers).toMatchObject({
        "content-type": "application/json",
        "turnout-event": body.type,
        "turnout-timestamp": String(world.server.clock.now() / 1000),
        "turnout-signature": signatureOf(secret, timestamp, text),
      });
      expect(headers["user-agent"]).toMatch(/^Turnout\/\d/);
    }
    const log = await world.deliveries();
    expect(log.map(({ id }) => id).sort()).toEqual(
      world.receiver.received.map(({ headers }) => headers["turnout-delivery"]).sort(),
    );
    expect(log[0]).toMatchObject({ state: "delivered", tries: 1, status: 200, response: "answered 200", error: null });
    expect((await world.webhook()).health).toMatchObject({ waiting: 0, consecutive_failures: 0, last_error: null });
  });

  it("is told only what it wants, of the groups that it wants, and nothing while it is off", async () => {
    await world.aWebhook({ name: "halts", events: ["rollout-halted", "node-failed"] });
    await world.aWebhook({ name: "stable", groups: [STABLE_GROUP], url: `${world.receiver.url}/stable` });
    const other = await world.server.api<{ id: string }>("POST", "/apps", {
      name: "Other",
      product_id: "io.example.other",
    });
    await world.aWebhook({ name: "other", applications: ["io.example.other"], url: `${world.receiver.url}/other` });
    await world.aWebhook({ name: "off", enabled: false, url: `${world.receiver.url}/off` });
    expect((await world.webhook("other")) as unknown).toMatchObject({ applications: [other.id], groups: null });
    expect((await world.webhook("stable")) as unknown).toMatchObject({
      applications: [FLATCAR],
      groups: [STABLE_GROUP],
    });
    await world.server.release("4230.2.1");
    await world.nodeFails(1);
    await world.tell();
    const told = world.receiver.received.map(({ path, body }) => `${path} ${body.type}`).sort();
    expect(told).toEqual(["/hook node-failed", "/hook/stable node-failed", "/hook/stable rollout-started"]);
    expect((await world.answer("POST", "/webhooks/off/test"))[0]).toBe(409);
  });

  it("hears of a rollout's whole life, a halt told apart from a closed part, and why", async () => {
    await world.aWebhook({ groups: [STABLE_GROUP] });
    const strategy = {
      stages: [{ percent: 100, approval: "manual" }, { percent: 100 }],
      health: { min_finished: 1, max_failure_percent: 1, max_lost: 0, slices: [] },
    };
    await world.server.setPolicy({ strategy, policy_update_timeout: "60 minutes" });
    await world.server.release("4230.2.1");
    const path = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`;
    const { rollouts } = await world.server.api<{ rollouts: { id: string }[] }>("GET", path);
    await world.server.omaha(checks());
    await world.server.omaha(checks({ version: "4230.2.1", bootId: "{boot-2}" }));
    await world.server.turnout.housekeeping.flushSeen();
    await world.server.turnout.housekeeping.moveRollouts();
    world.server.clock.move({ seconds: 1 });
    await world.server.api("POST", `${path}/${rollouts[0]?.id}/pause`, { reason: "lunch" });
    await world.server.api("POST", `${path}/${rollouts[0]?.id}/resume`, {});
    for (const [n, bootId] of [
      [1, "{boot-1}"],
      [2, "{boot-1}"],
    ] as const) {
      await world.server.omaha(checks({ machineId: machine(n), bootId }));
    }
    await world.server.omaha(reports(3, 1, { machineId: machine(1) }));
    world.server.clock.move({ hours: 1, seconds: 1 });
    await world.server.turnout.housekeeping.expireDeadlines();
    await world.tell();
    const said = world.receiver.received.map(({ body }) => [body.type, body.message]);
    expect(new Map(said as [string, string][])).toEqual(
      new Map([
        [
          "rollout-started",
          'The rollout of 4230.2.1 to group "Stable (AMD64)" has started: the first node was offered it',
        ],
        [
          "rollout-awaits-approval",
          'The rollout of 4230.2.1 to group "Stable (AMD64)" waits for a person: stage 1 of 2 waits for approval',
        ],
        ["rollout-paused", 'The rollout of 4230.2.1 to group "Stable (AMD64)" is paused: lunch'],
        ["node-timed-out", `Node ${machine(2)} did not get through with its update to 4230.2.1 in time`],
        ["node-lost", `Node ${machine(1)} installed 4230.2.1, and was not seen again`],
        [
          "rollout-halted",
          expect.stringMatching(/^The rollout of 4230\.2\.1 to group "Stable \(AMD64\)" is halted: .*lost/),
        ],
      ]),
    );
    expect(new Set(world.receiver.received.map(({ body }) => body.rollout.id))).toEqual(new Set([rollouts[0]?.id]));
  });

  it("hears when the gate closes a part, and when safe mode pulls its brake", async () => {
    await world.aWebhook({ events: ["rollout-unhealthy", "rollout-halted", "node-rolled-back"] });
    const health = { min_finished: 2, max_failure_percent: 1, slices: [], on_breach: "watch" };
    await world.server.setPolicy({ strategy: { health }, policy_safe_mode: true });
    await world.server.release("4230.2.1");
    await world.server.omaha(checks({ machineId: machine(1) }));
    await world.server.omaha(reports(3, 0, { machineId: machine(1), bootId: "{boot-2}" }, 44));
    await world.tell();
    expect(world.receiver.received.map(({ body }) => body.message)).toEqual(
      expect.arrayContaining([
        `Node ${machine(1)} fell back from 4230.2.1 to its old version`,
        'The rollout of 4230.2.1 to group "Stable (AMD64)" is stopped: its first node did not come through, and safe mode has stopped the group\'s updates until a person resumes them',
      ]),
    );
    world.receiver.received.length = 0;
    await world.server.setPolicy({ policy_safe_mode: false });
    await world.server.api("POST", `/apps/${FLATCAR}/groups/${STABLE_GROUP}/resume-updates`);
    for (const n of [2, 3, 4]) await world.nodeFails(n);
    await world.tell();
    expect(world.receiver.received.map(({ body }) => [body.type, body.severity, body.message])).toEqual([
      [
        "rollout-unhealthy",
        3,
        expect.stringMatching(/^The rollout of .* is unhealthy in part: would have closed all of it: /),
      ],
    ]);
  });
});

describe("a delivery that is not taken", () => {
  beforeEach(() => world.start());

  it("is tried again after 30 seconds, doubling, with the same id and body, until it is taken", async () => {
    await world.aWebhook();
    await world.test();
    world.receiver.answer = 500;
    await world.tell();
    world.server.clock.move({ seconds: 29 });
    await world.tell();
    expect(world.receiver.received).toHaveLength(1);
    expect(await world.deliveries()).toMatchObject([
      { state: "waiting", tries: 1, status: 500, error: "it answered 500" },
    ]);
    expect((await world.webhook()).health).toMatchObject({
      waiting: 1,
      consecutive_failures: 1,
      last_error: "it answered 500",
    });
    world.server.clock.move({ seconds: 1 });
    await world.tell();
    world.server.clock.move({ seconds: 59 });
    world.receiver.answer = 204;
    await world.tell();
    expect(world.receiver.received).toHaveLength(2);
    world.server.clock.move({ seconds: 1 });
    await world.tell();
    expect(world.receiver.received).toHaveLength(3);
    expect(
      new Set(world.receiver.received.map(({ text, headers }) => `${headers["turnout-delivery"]} ${text}`)).size,
    ).toBe(1);
    expect(new Set(world.receiver.received.map(({ headers }) => headers["turnout-signature"])).size).toBe(3);
    expect(await world.deliveries()).toMatchObject([{ state: "delivered", tries: 3, status: 204, next_try_ts: null }]);
    expect((await world.webhook()).health).toMatchObject({ waiting: 0, consecutive_failures: 0 });
    const metrics = await (await fetch(`${world.server.url}/metrics`)).text();
    expect(metrics).toMatch(/^turnout_webhook_deliveries_total{outcome="tried"} 2$/m);
    expect(metrics).toMatch(/^turnout_webhook_deliveries_total{outcome="delivered"} 1$/m);
  });

  it("is given up after a day and a half, is listed, and can be sent again by hand", async () => {
    await world.aWebhook();
    const { id } = await world.test();
    world.receiver.answer = 503;
    for (let minutes = 0; minutes < 40 * 60; minutes += 5) {
      await world.tell();
      world.server.clock.move({ minutes: 5 });
    }
    expect(await world.deliveries("state=failed")).toMatchObject([{ id, tries: 15, error: "it answered 503" }]);
    expect(world.receiver.received).toHaveLength(15);
    world.receiver.answer = 200;
    await world.tell();
    expect(world.receiver.received).toHaveLength(15);
    expect(await world.server.api("POST", `/webhooks/pager/deliveries/${id}/retry`)).toMatchObject({
      state: "waiting",
    });
    await world.tell();
    expect(await world.deliveries()).toMatchObject([{ id, state: "delivered", tries: 1 }]);
    expect((await world.answer("POST", `/webhooks/pager/deliveries/${NODE_ID}/retry`))[0]).toBe(404);
  });

  it("turns its webhook off when the answer is 410, which the audit log says; what waits is dropped", async () => {
    await world.aWebhook();
    await world.test();
    world.receiver.answer = 410;
    await world.tell();
    expect(await world.webhook()).toMatchObject({ enabled: false, health: { last_error: "it answered 410" } });
    expect(await world.deliveries()).toMatchObject([{ state: "failed", status: 410 }]);
    const { entries } = await world.server.api<{ entries: object[] }>("GET", "/audit?action=webhookGone");
    expect(entries).toMatchObject([{ actor_kind: "system", subject: "webhook", after: { enabled: false } }]);

    const on = await world.server.api<Webhook>("PUT", "/webhooks/pager", {
      name: "pager",
      url: world.receiver.url,
      enabled: true,
    });
    expect(on.health).toMatchObject({ consecutive_failures: 0 });
    await world.test();
    await world.server.api("PUT", "/webhooks/pager", { name: "pager", url: world.receiver.url, enabled: false });
    await world.tell();
    expect(await world.deliveries("state=dropped")).toMatchObject([{ error: "the webhook was turned off", tries: 0 }]);
    expect(world.receiver.received).toHaveLength(1);
  });

  it("that nobody listens for, or is answered with a redirect, says so", async () => {
    const elsewhere = await world.anotherReceiver();
    await world.aWebhook({ name: "moved" });
    world.receiver.answer = (_, response) => response.writeHead(302, { Location: elsewhere.url }).end();
    await world.aWebhook({ name: "nobody", url: "http://127.0.0.1:1/" });
    await world.test("moved");
    await world.test("nobody");
    await world.tell();
    expect(await world.deliveries("", "moved")).toMatchObject([
      { error: "it answered 302; redirects are not followed" },
    ]);
    expect(await world.deliveries("", "nobody")).toMatchObject([
      { status: null, error: expect.stringMatching(/ECONNREFUSED/) },
    ]);
    expect(elsewhere.received).toEqual([]);
  });

  it("leaves the receiver alone for longer and longer when all of them fail, and loses nothing by that", async () => {
    await world.aWebhook();
    for (let n = 0; n < 60; n += 1) await world.test();
    world.receiver.answer = 500;
    for (let seconds = 0; seconds < 3600; seconds += 5) {
      await world.tell();
      world.server.clock.move({ seconds: 5 });
    }
    expect(world.receiver.received.length).toBeLessThan(20);
    expect((await world.webhook()).health).toMatchObject({ waiting: 60, resting_until_ts: expect.any(String) });
    world.receiver.answer = 200;
    world.receiver.received.length = 0;
    world.server.clock.move({ hours: 6 });
    for (let turn = 0; turn < 4; turn += 1) await world.tell();
    expect(world.receiver.received).toHaveLength(60);
  });

  it("and a webhook that rests wait no longer after a clock that was ten years ahead", async () => {
    await world.aWebhook();
    await world.test();
    const ahead = world.server.clock.now() + 10 * 365 * 86_400_000;
    await world.server.turnout.store.write(async (tx) => {
      await tx.updateTable("webhooks").set({ rest_until: ahead, failures: 5 }).execute();
      await tx.updateTable("webhook_deliveries").set({ due_at: ahead, tries: 2 }).execute();
    });
    await world.tell();
    expect(world.receiver.received).toHaveLength(1);
    expect(await world.deliveries()).toMatchObject([{ state: "delivered" }]);
  });

  it("has a log that shows the beginning of an answer, whatever was answered", async () => {
    await world.aWebhook();
    await world.test();
    world.receiver.answer = (_, response) => response.writeHead(200).end(`\0\x1b[31m${"ä".repeat(100_000)}`);
    await world.tell();
    const [one] = await world.deliveries();
    expect(one).toMatchObject({ state: "delivered", response: expect.stringMatching(/^��\[31mää/) });
    expect(String(one?.response).length).toBeLessThan(2_049);
  });
});

describe("a receiver that hangs", () => {
  it("holds up neither other receivers nor check-ins", async () => {
    await world.start({ webhooks: { timeoutMs: 60_000 } });
    const slow = await world.anotherReceiver();
    slow.answer = "hang";
    await world.aWebhook({ name: "slow", url: slow.url });
    await world.aWebhook({ name: "quick" });
    const { id } = await world.test("slow");
    const hanging = world.tell();
    await expect.poll(() => slow.received.length).toBe(1);
    await world.test("quick");
    const telling = world.tell();
    await expect.poll(() => world.receiver.received.length).toBe(1);
    for (let n = 0; n < 20; n += 1) await world.server.omaha(checks({ machineId: machine(n) }));
    expect(await world.deliveries("", "slow")).toMatchObject([{ state: "sending", next_try_ts: null }]);
    expect((await world.answer("POST", `/webhooks/slow/deliveries/${id}/retry`))[0]).toBe(409);
    await slow.close();
    await Promise.all([hanging, telling]);
    expect(await world.deliveries("", "slow")).toMatchObject([{ state: "waiting", error: "socket hang up" }]);
  });

  it("is given up after a while; what it has said by then counts", async () => {
    await world.start({ webhooks: { timeoutMs: 300 } });
    await world.aWebhook();
    await world.test();
    world.receiver.answer = "hang";
    await world.tell();
    expect(await world.deliveries()).toMatchObject([{ state: "waiting", error: "no answer within 0.3 seconds" }]);
    world.receiver.answer = (_, response) => response.writeHead(200).write("I am thinking");
    world.server.clock.move({ minutes: 1 });
    await world.tell();
    expect(await world.deliveries()).toMatchObject([{ state: "delivered", response: "I am thinking" }]);
  });
});
