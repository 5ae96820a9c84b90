/** What a login leaves behind, and what it is good for. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { FLATCAR, release, STABLE_GROUP } from "../../e2e/turnout.ts";
import { Browser } from "./browser.ts";
import { ADMIN, aWorld, COOKIE, change, closeLater, closeWorlds, detailOf, get, OURS, PUBLIC } from "./world.ts";

afterEach(closeWorlds);

describe("a session", () => {
  it("ends when it is not used for long, or is old, by the clock", async () => {
    const { server, loggedIn } = await aWorld({ TURNOUT_SESSION_IDLE: "1h", TURNOUT_SESSION_LIFETIME: "3h" });
    const [used, idle] = [await loggedIn("u-1"), await loggedIn("u-3")];
    for (let hour = 0; hour < 2; hour += 1) {
      server.clock.move({ minutes: 59 });
      expect((await get(used, "/api/whoami")).status).toBe(200);
      // Nobody waits for the note of its use, but whoever writes next comes after it.
      await server.turnout.store.write(async () => undefined);
    }
    const { status, body } = await get(idle, "/api/whoami");
    expect([status, body.detail]).toEqual([401, expect.stringContaining(`log in at ${PUBLIC}/auth/login`)]);
    server.clock.move({ minutes: 58 });
    expect((await get(used, "/api/whoami")).status).toBe(200);
    await server.turnout.store.write(async () => undefined);
    server.clock.move({ minutes: 5 });
    expect((await get(used, "/api/whoami")).status, "three hours are over").toBe(401);
    await loggedIn("u-2");
    expect(await server.turnout.store.read.selectFrom("sessions").select("name").execute()).toEqual([{ name: "olga" }]);
  });

  it("is kept as a hash, with nothing in it that would let anybody in", async () => {
    const { server, loggedIn } = await aWorld();
    const browser = await loggedIn("u-1");
    const [row] = await server.turnout.store.read.selectFrom("sessions").selectAll().execute();
    const kept = JSON.stringify(row);
    expect(kept).not.toContain(browser.cookie(PUBLIC, COOKIE)?.value);
    expect(kept).not.toMatch(/eyJ[\w-]+\.eyJ/); // a token of the provider's, as it came
    for (const value of [
      row?.hash ?? "",
      row?.id ?? "",
      "x".repeat(43),
      "x",
      "",
      `${browser.cookie(PUBLIC, COOKIE)?.value}x`,
    ]) {
      const response = await fetch(`${server.url}/api/whoami`, { headers: { Cookie: `${COOKIE}=${value}` } });
      expect(response.status, value).toBe(401);
    }
  });

  it("survives a restart, but no other provider and no other mode", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "turnout-sessions-"));
    closeLater(async () => rmSync(dataDir, { recursive: true, force: true }));
    const first = await aWorld({}, { dataDir });
    const browser = await first.loggedIn("u-1");
    const cookie = `${COOKIE}=${browser.cookie(PUBLIC, COOKIE)?.value}`;
    const restarted = async (environment: Record<string, string>) => {
      const { server } = await aWorld(environment, { idp: first.idp, dataDir, clock: first.server.clock });
      const { status } = await fetch(`${server.url}/api/whoami`, { headers: { Cookie: cookie } });
      await server.close();
      return status;
    };
    await first.server.close();
    expect(await restarted({})).toBe(200);
    expect(await restarted({ TURNOUT_OIDC_ISSUER: "https://other.example.org" })).toBe(401);
    expect(await restarted({ TURNOUT_AUTH: "token" })).toBe(401);
    expect(await restarted({})).toBe(200);
  });

  it("is listed and revoked by administrators, which the audit log tells with the login", async () => {
    const { admin, loggedIn } = await aWorld();
    const [ada, vera] = [await loggedIn("u-1"), await loggedIn("u-3")];
    expect((await get(vera, "/api/sessions")).status).toBe(403);
    const { body } = await get(ada, "/api/sessions");
    expect(body).toMatchObject({ totalCount: 2, count: 2 });
    expect(body.sessions[0]).toMatchObject({ name: "vera", subject: "u-3", role: "viewer", address: "127.0.0.1" });
    const revoke = (id: string) => ada.request(`${PUBLIC}/api/sessions/${id}`, { method: "DELETE", headers: OURS });
    expect((await revoke(body.sessions[0].id)).status).toBe(204);
    expect((await revoke(body.sessions[0].id)).status).toBe(404);
    expect((await get(vera, "/api/whoami")).status).toBe(401);
    expect((await get(ada, "/api/whoami")).status).toBe(200);
    const { entries } = await admin<{ entries: Record<string, unknown>[] }>("GET", "/audit?subject=session");
    expect(entries).toMatchObject([
      {
        action: "revokeSession",
        actor: "ada",
        actor_kind: "user",
        actor_id: "u-1",
        before: { name: "vera" },
        after: null,
      },
      { action: "login", actor: "vera", actor_kind: "user", before: null, after: { role: "viewer" } },
      { action: "login", actor: "ada", address: "127.0.0.1", before: null, after: { role: "admin", subject: "u-1" } },
    ]);
    expect(await admin("GET", "/audit/verify")).toMatchObject({ broken: null });
  });

  it("gives what its user does their name, also in a rollout's history", async () => {
    const { admin, loggedIn } = await aWorld();
    await release(admin, "4230.2.1");
    const olga = await loggedIn("u-2");
    const rollouts = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`;
    const { body } = await get(olga, `/api${rollouts}`);
    const pause = `${PUBLIC}/api${rollouts}/${body.rollouts[0].id}/pause`;
    const response = await olga.request(pause, { method: "POST", headers: OURS, body: '{"reason":"lunch"}' });
    expect(response.status).toBe(200);
    const { history } = await admin<{ history: object[] }>("GET", `${rollouts}/${body.rollouts[0].id}`);
    expect(history.at(-1)).toMatchObject({ actor: "olga", to_state: "paused", reason: "lunch" });
    const { entries } = await admin<{ entries: object[] }>("GET", "/audit?action=pauseRollout");
    expect(entries).toMatchObject([{ actor: "olga", actor_kind: "user", actor_id: "u-2", address: "127.0.0.1" }]);
  });
});

describe("a change that comes with a cookie", () => {
  it.each([
    ["from another site's page", { "Sec-Fetch-Site": "cross-site", Origin: "https://evil.example" }],
    ["from a neighbour's page", { "Sec-Fetch-Site": "same-site", Origin: "https://www.example.org" }],
    ["typed in by hand", { "Sec-Fetch-Site": "none" }],
    ["of an old browser from elsewhere", { Origin: "https://evil.example", "X-Requested-With": "x" }],
    ["of an old browser that hides where it is from", { Origin: "null" }],
    ["without a word of where it is from", {}],
  ])("%s is refused, and nothing is changed", async (_, headers) => {
    const { loggedIn, admin } = await aWorld();
    const browser = await loggedIn("u-1");
    const before = await admin("GET", "/apps");
    const response = await change(browser, { ...headers, "Content-Type": "application/json" });
    expect([response.status, await detailOf(response)]).toEqual([403, expect.stringContaining(PUBLIC)]);
    expect(await admin("GET", "/apps")).toEqual(before);
  });

  it("from our own pages is taken, and bearer tokens need no such thing", async () => {
    const { loggedIn, server } = await aWorld();
    const browser = await loggedIn("u-1");
    const json = { "Content-Type": "application/json" };
    expect((await change(browser, OURS, "1")).status).toBe(200);
    expect((await change(browser, { ...json, Origin: PUBLIC }, "2")).status).toBe(200);
    expect((await change(browser, { ...json, "X-Requested-With": "XMLHttpRequest" }, "3")).status).toBe(200);
    const evil = { ...json, "Sec-Fetch-Site": "cross-site", Authorization: `Bearer ${ADMIN}` };
    expect((await change(new Browser({ [PUBLIC]: server.url }), evil, "4")).status).toBe(200);
    expect((await change(browser, { ...OURS, Authorization: "Bearer wrong" }, "5")).status).toBe(401);
  });
});
