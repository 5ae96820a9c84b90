import pino from "pino";
import { describe, expect, it } from "vitest";
import { signatureOf } from "../../src/notify/send.ts";
import { aFolder } from "../afterwards.ts";
import { FLATCAR } from "../e2e/turnout.ts";
import { NO_PRIVATE, type World, worlds } from "./world.ts";

let world: World;
worlds((made) => {
  world = made;
});

describe("a target that is private", () => {
  const refused = async (url: string) => {
    const [code, text] = await world.answer("POST", "/webhooks", { name: "inside", url });
    expect(code).toBe(400);
    return text;
  };

  it("is refused when the webhook is made, if it can be seen by then", async () => {
    await world.start({}, NO_PRIVATE);
    for (const url of [
      world.receiver.url,
      "http://[::ffff:127.0.0.1]/",
      "http://169.254.169.254/latest",
      "http://localhost/",
    ]) {
      expect(await refused(url)).toMatch(/url: .* is no target: .*TURNOUT_WEBHOOK_PRIVATE_TARGETS=yes/);
    }
    expect(await refused("ftp://example.org/")).toMatch(/url: must be a URL such as/);
    expect(await refused("http://a:b@example.org/")).toMatch(/user and password/);
    expect((await world.answer("GET", "/webhooks"))[1]).toContain('"totalCount":0');
  });

  it("is refused when a name leads there, each time anew, and nothing is connected to", async () => {
    const port = new URL(world.receiver.url).port;
    const answers = [[{ address: "127.0.0.1", family: 4 }], [{ address: "::ffff:127.0.0.1", family: 6 }]];
    await world.start({ webhooks: { resolve: async () => answers.shift() ?? [] } }, NO_PRIVATE);
    await world.aWebhook({ url: `http://rebinding.example.org:${port}/` });
    await world.test();
    await world.tell();
    expect(await world.deliveries()).toMatchObject([
      { error: expect.stringMatching(/^rebinding\.example\.org \(127\.0\.0\.1\) is no target/) },
    ]);
    world.server.clock.move({ minutes: 1 });
    await world.tell();
    expect(await world.deliveries()).toMatchObject([
      { tries: 2, error: expect.stringMatching(/\(::ffff:127\.0\.0\.1\) is no target/) },
    ]);
    expect(world.receiver.received).toEqual([]);
  });

  it("is connected to under the very address that was looked up, when it is allowed", async () => {
    await world.start({ webhooks: { resolve: async () => [{ address: "127.0.0.1", family: 4 }] } });
    await world.aWebhook({ url: world.receiver.url.replace("127.0.0.1", "hooks.example.org") });
    await world.test();
    await world.tell();
    expect(world.receiver.received).toHaveLength(1);
    expect(world.receiver.received[0]?.headers.host).toMatch(/^hooks\.example\.org:/);
  });

  it("stays refused for a webhook of a time when it was allowed", async () => {
    const dataDir = aFolder();
    const { clock, turnout } = await world.start({ dataDir });
    await world.aWebhook();
    await turnout.close();
    await world.start({ dataDir, clock }, NO_PRIVATE);
    await world.test();
    await world.tell();
    expect(await world.deliveries()).toMatchObject([{ error: expect.stringMatching(/^127\.0\.0\.1 is no target/) }]);
    expect(world.receiver.received).toEqual([]);
  });
});

describe("a secret", () => {
  it("is shown when it was made, and never again: not in the API, the audit log or the server's own log", async () => {
    let logged = "";
    const log = pino({ level: "trace" }, { write: (line: string) => (logged += line) });
    await world.start({ log });
    const { secret: made } = await world.aWebhook();
    const chosen = "a-secret-of-my-own-0001";
    expect((await world.aWebhook({ name: "other", secret: chosen })).secret).toBe(chosen);
    expect(made).toMatch(/^turnout_hook_[\w-]{43}$/);
    const { secret: _, ...other } = await world.webhook("other");
    world.server.clock.move({ minutes: 1 });
    const newer = "another-secret-of-my-own";
    const changed = await world.server.api<Record<string, unknown>>("PUT", "/webhooks/other", {
      ...other,
      secret: newer,
    });
    await world.test("other");
    await world.test();
    world.receiver.answer = (_, response) => response.destroy();
    await world.tell();
    const all = [changed, logged, await world.webhook(), await world.webhook("other")];
    for (const path of ["/webhooks", "/webhooks/pager/deliveries", "/webhooks/other/deliveries", "/audit?perpage=100"])
      all.push((await world.answer("GET", path))[1]);
    expect(logged).toContain("a webhook was not delivered");
    for (const secret of [made, chosen, newer]) expect(JSON.stringify(all)).not.toContain(secret);
    // That it was changed is in the audit log nevertheless.
    const { entries } = await world.server.api<{ entries: Record<string, { secret_ts: string }>[] }>(
      "GET",
      "/audit?action=updateWebhook",
    );
    expect(entries[0]?.before?.secret_ts).not.toBe(entries[0]?.after?.secret_ts);
    const { headers, text } = world.receiver.received.find(({ body }) => body.message.includes("other")) ?? {};
    expect(headers?.["turnout-signature"]).toBe(signatureOf(newer, String(headers?.["turnout-timestamp"]), text ?? ""));
  });

  it("that is too short is refused, and so are taken names, scopes that are not there, stale versions", async () => {
    await world.start();
    await world.aWebhook();
    for (const [changes, code, why] of [
      [{ name: "b", secret: "short" }, 400, /secret: must have at least 16/],
      [{}, 409, /there is a webhook \\"pager\\" already/],
      [{ name: "b", applications: ["nobody"] }, 400, /applications\.0: there is no application/],
      [{ name: "b", groups: [FLATCAR] }, 400, /groups\.0: there is no group/],
      [{ name: "b", events: ["sunrise"] }, 400, /events\.0: /],
      [{ name: "b", url: "hooks.example.org" }, 400, /url: must be a URL such as/],
    ] as const) {
      const [given, text] = await world.answer("POST", "/webhooks", {
        name: "pager",
        url: world.receiver.url,
        ...changes,
      });
      expect([given, text]).toEqual([code, expect.stringMatching(why)]);
    }
    expect((await world.answer("GET", "/webhooks/nobody"))[0]).toBe(404);
    const stale = { method: "DELETE", headers: { "If-Match": '"of-yesterday"' } };
    expect((await fetch(`${world.server.url}/api/webhooks/pager`, stale)).status).toBe(412);
  });
});
