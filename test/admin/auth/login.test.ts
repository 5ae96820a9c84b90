/** Login at a real identity provider, over HTTP, on the real server; only the browser is ours. */
import { afterEach, describe, expect, it } from "vitest";
import { aTurnout, checks } from "../../e2e/turnout.ts";
import { VirtualClock } from "../../virtual-clock.ts";
import { Browser } from "./browser.ts";
import { CLIENT_ID } from "./identity-provider.ts";
import {
  aProvider,
  aWorld,
  COOKIE,
  change,
  closeLater,
  closeWorlds,
  detailOf,
  get,
  last,
  OURS,
  oidcSettings,
  PUBLIC,
} from "./world.ts";

afterEach(closeWorlds);

const atCallback = ({ pathname }: URL) => pathname === "/auth/callback";

describe("a login", () => {
  it.each([
    ["u-1", "ada", "admin"],
    ["u-2", "olga", "operator"],
    ["u-3", "vera", "viewer"],
  ])("of %s makes %s a person with the role %s", async (user, name, role) => {
    const { loggedIn } = await aWorld();
    const browser = await loggedIn(user);
    const { body } = await get(browser, "/api/whoami");
    expect(body).toEqual({ kind: "user", name, id: user, role, applications: null, groups: null });
    const status = (await change(browser, OURS)).status;
    expect(status).toBe(role === "admin" ? 200 : 403);
    const cookie = browser.cookie(PUBLIC, COOKIE);
    expect(cookie?.attributes).toMatch(/Max-Age=43200; Path=\/; .*HttpOnly; Secure; SameSite=Lax/);
    expect([...(browser.cookies.get(PUBLIC) ?? []).keys()], "nothing is left of the login").toEqual([COOKIE]);
  });

  it("asks for a code with PKCE, state and nonce, each new every time", async () => {
    const { browser, idp } = await aWorld();
    const urls = [];
    for (let login = 0; login < 2; login += 1) {
      const stopped = await browser().visit(`${PUBLIC}/auth/login`, ({ origin }) => origin === idp.issuer);
      urls.push(new URL(last(stopped)).searchParams);
    }
    const [first, second] = urls;
    expect(Object.fromEntries(first ?? [])).toMatchObject({
      response_type: "code",
      client_id: CLIENT_ID,
      redirect_uri: `${PUBLIC}/auth/callback`,
      scope: "openid profile email",
      code_challenge_method: "S256",
    });
    for (const name of ["state", "nonce", "code_challenge"]) {
      expect(first?.get(name)).toMatch(/^[\w-]{43}$/);
      expect(first?.get(name)).not.toBe(second?.get(name));
    }
  });

  it("also works where Turnout listens, without a public URL, and then with cookies for http", async () => {
    let url = "";
    const idp = await aProvider(() => url);
    const { TURNOUT_PUBLIC_URL: _, ...environment } = oidcSettings(idp.issuer);
    const server = await aTurnout(environment, { clock: new VirtualClock(Date.now()) });
    closeLater(() => server.close());
    url = server.url;
    await idp.start();
    const browser = new Browser();
    const visited = await browser.visit(`${url}/auth/login`);
    expect(last(visited)).toBe(`${url}/api/docs/`);
    expect(browser.cookie(url, "turnout_session")?.attributes).not.toContain("Secure");
    expect((await browser.request(`${url}/api/whoami`)).status).toBe(200);
  });

  it("asks the provider about the user when the ID token does not say enough", async () => {
    const idp = await aProvider();
    await idp.start(true);
    const { loggedIn } = await aWorld({}, { idp });
    const browser = await loggedIn("u-1");
    expect((await get(browser, "/api/whoami")).body).toMatchObject({ name: "ada", role: "admin" });
    expect(idp.asked.get("/me")).toBe(1);
  });

  it("leads to where its user wanted to go, if that is here", async () => {
    const { browser } = await aWorld();
    const one = browser();
    const leadsTo = async (path: string) => {
      const url = `${PUBLIC}/auth/login?return_to=${encodeURIComponent(path)}`;
      return last(await one.visit(url, ({ pathname, origin }) => origin === PUBLIC && !pathname.startsWith("/auth/")));
    };
    expect(await leadsTo("/groups?page=2#top")).toBe(`${PUBLIC}/groups?page=2#top`);
    expect(await leadsTo("/.//evil.example")).toBe(`${PUBLIC}//evil.example`);
    for (const elsewhere of [
      "//evil.example/",
      "/\\evil.example/",
      "/\t/evil.example/",
      "https://evil.example/",
      "javascript:alert(1)",
      "evil.example",
      `/${"x".repeat(5_000)}`,
    ]) {
      expect(await leadsTo(elsewhere), elsewhere.slice(0, 40)).toBe(`${PUBLIC}/api/docs/`);
    }
  });

  it("may be under way twice in one browser", async () => {
    const { browser } = await aWorld();
    const one = browser();
    const first = last(await one.visit(`${PUBLIC}/auth/login?return_to=/first`, atCallback));
    const second = last(await one.visit(`${PUBLIC}/auth/login?return_to=/second`, atCallback));
    expect(last(await one.visit(first))).toBe(`${PUBLIC}/first`);
    expect(last(await one.visit(second))).toBe(`${PUBLIC}/second`);
    for (let more = 0; more < 20; more += 1) await one.request(`${PUBLIC}/auth/login`);
    expect(one.cookies.get(PUBLIC)?.size).toBeLessThan(12);
  });

  it("ends the session that was there before", async () => {
    const { loggedIn, admin, browser, idp } = await aWorld();
    const ada = await loggedIn("u-1");
    idp.user = "u-2";
    ada.cookies.delete(idp.issuer);
    await ada.visit(`${PUBLIC}/auth/login?return_to=/api/whoami`);
    expect((await get(ada, "/api/whoami")).body.name).toBe("olga");
    const { sessions } = await admin<{ sessions: { name: string }[] }>("GET", "/sessions");
    expect(sessions.map(({ name }) => name)).toEqual(["olga"]);
    expect((await get(browser(), "/api/whoami")).status).toBe(401);
  });
});

describe("a login is refused", () => {
  /** A page that says so; nobody is logged in. */
  async function refused(browser: Browser, url: string, status: number, text: RegExp): Promise<void> {
    const answer = await browser.visit(url);
    expect(answer.text).toMatch(text);
    expect(answer.response.status).toBe(status);
    expect(answer.response.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(answer.response.headers.get("cache-control")).toBe("no-store");
    expect((await get(browser, "/api/whoami")).status).toBe(401);
  }

  it("with a page that says where their role was looked for, and no loop", async () => {
    const { browser, idp, log } = await aWorld();
    idp.user = "u-4";
    await refused(
      browser(),
      `${PUBLIC}/auth/login`,
      403,
      /claim &quot;realm_access.roles&quot; is \[&quot;staff&quot;\]/,
    );
    idp.user = "u-5";
    await refused(browser(), `${PUBLIC}/auth/login`, 403, /did not send the claim &quot;realm_access.roles&quot;/);
    expect(log.map(({ why }) => why).filter(Boolean)).toEqual([
      expect.stringContaining('user "<b>mallory</b>" has no role here'),
      expect.stringContaining('user "nemo" has no role here'),
    ]);
    const { text } = await browser().visit(`${PUBLIC}/auth/login`);
    expect(text).toContain(`href="${PUBLIC}/auth/login?prompt=login"`);
    expect(text).not.toContain("<b>");
  });

  it("when the user says no at the provider", async () => {
    const { browser, idp } = await aWorld();
    idp.user = null;
    await refused(browser(), `${PUBLIC}/auth/login`, 401, /access_denied: the user said no/);
  });

  it("when its state is another one, none, or that of somebody else's browser", async () => {
    const { browser } = await aWorld();
    const one = browser();
    const url = new URL(last(await one.visit(`${PUBLIC}/auth/login`, atCallback)));
    await refused(browser(), url.href, 400, /not begun in this browser/);
    const wrong = new URL(url);
    wrong.searchParams.set("state", "A".repeat(43));
    await refused(one.copy(), wrong.href, 400, /not begun in this browser/);
    wrong.searchParams.delete("state");
    await refused(one.copy(), wrong.href, 400, /not begun in this browser/);
    await refused(one.copy(), `${PUBLIC}/auth/callback`, 400, /not begun in this browser/);
    await refused(one.copy(), `${url}&state=twice`, 400, /not begun in this browser/);
    await refused(one.copy(), `${url}&code=twice`, 401, /refused the login/);
    await one.visit(url);
    expect((await get(one, "/api/whoami")).status).toBe(200);
  });

  it("when the callback comes a second time, and when its cookie has been tampered with", async () => {
    const { browser, server } = await aWorld();
    const one = browser();
    const url = last(await one.visit(`${PUBLIC}/auth/login`, atCallback));
    const [[name = "", pending] = []] = one.cookies.get(PUBLIC) ?? [];
    const tampered = one.copy();
    if (pending !== undefined) tampered.cookies.get(PUBLIC)?.set(name, { ...pending, value: "e30" });
    await refused(tampered, url, 400, /not begun in this browser/);
    const nonce = one.copy();
    const other = Buffer.from(JSON.stringify({ nonce: "x", verifier: "y".repeat(43), returnTo: "/" }));
    if (pending !== undefined) nonce.cookies.get(PUBLIC)?.set(name, { ...pending, value: other.toString("base64url") });
    await refused(nonce, url, 401, /invalid_grant/);

    const again = last(await one.visit(`${PUBLIC}/auth/login`, atCallback));
    const replaying = one.copy();
    await one.visit(again);
    await refused(replaying, again, 401, /invalid_grant/);
    expect((await one.request(again)).status).toBe(400);
    expect((await get(one, "/api/whoami")).status).toBe(200);
    expect(await server.turnout.store.read.selectFrom("sessions").select("name").execute()).toHaveLength(1);
  });

  it("when too many have failed from this address, for a minute", async () => {
    const { browser, server, log } = await aWorld();
    const one = browser();
    for (let guess = 0; guess < 30; guess += 1) {
      expect((await one.request(`${PUBLIC}/auth/callback?state=x&code=${guess}`)).status).toBe(400);
    }
    const answer = await one.request(`${PUBLIC}/auth/callback?state=x&code=30`, {
      headers: { Accept: "application/json" },
    });
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "60"]);
    expect(await detailOf(answer)).toMatch(/too many failed logins/);
    await refused(one, `${PUBLIC}/auth/login`, 429, /Too many failed logins/);
    expect(log.filter(({ msg }) => msg === "a login failed")).toHaveLength(30);
    server.clock.move({ minutes: 1 });
    await one.visit(`${PUBLIC}/auth/login`);
    expect((await get(one, "/api/whoami")).status).toBe(200);
  });
});

describe("while the provider is down", () => {
  it("Turnout starts, answers nodes and tokens, says what is wrong, and logs people in once it is up", async () => {
    const { idp, server, browser, admin, log } = await aWorld({}, { isUp: false });
    expect(await server.omaha(checks())).toContain('status="noupdate"');
    expect(await admin("GET", "/whoami")).toMatchObject({ kind: "token" });
    const answer = await browser().visit(`${PUBLIC}/auth/login`);
    expect(answer.response.status).toBe(503);
    expect(answer.text).toMatch(
      /The identity provider http:\/\/127.0.0.1:\d+ does not answer as it should: .*ECONNREFUSED/,
    );
    const asJson = await browser().request(`${PUBLIC}/auth/login`, { headers: { Accept: "application/json" } });
    expect(asJson.headers.get("content-type")).toContain("application/problem+json");
    expect(log.filter(({ msg }) => String(msg).includes("does not answer"))).toHaveLength(1);
    await idp.start();
    const one = browser();
    await one.visit(`${PUBLIC}/auth/login`);
    expect((await get(one, "/api/whoami")).status).toBe(200);
    await idp.stop();
    expect((await get(one, "/api/whoami")).status, "sessions are ours").toBe(200);
  });

  it("in the middle of a login, that fails and counts as nobody's guess", async () => {
    const { idp, browser, log } = await aWorld();
    const one = browser();
    const url = last(await one.visit(`${PUBLIC}/auth/login`, atCallback));
    await idp.stop();
    expect((await one.visit(url)).response.status).toBe(503);
    expect(log.filter(({ msg }) => msg === "a login failed")).toEqual([]);
  });

  it("or is somebody else than the settings say, a login says so", async () => {
    const { browser, idp } = await aWorld();
    const wrong = await aWorld({ TURNOUT_OIDC_ISSUER: `${idp.issuer}/realms/fleet` }, { idp });
    const answer = await wrong.browser().visit(`${PUBLIC}/auth/login`);
    expect([answer.response.status, answer.text]).toEqual([
      503,
      expect.stringMatching(/realms\/fleet does not answer/),
    ]);
    const stranger = await aWorld({ TURNOUT_OIDC_CLIENT_SECRET: "wrong" }, { idp });
    const refused = await stranger.browser().visit(`${PUBLIC}/auth/login`);
    expect([refused.response.status, refused.text]).toEqual([401, expect.stringContaining("invalid_client")]);
    await browser().visit(`${PUBLIC}/auth/login`);
  });
});

describe("a logout", () => {
  const press = (browser: Browser, headers: Record<string, string> = {}) =>
    browser.request(`${PUBLIC}/auth/logout`, { method: "POST", headers });

  it("ends the session here, then leads to the provider, and from there back", async () => {
    const { loggedIn, idp, admin } = await aWorld();
    const browser = await loggedIn("u-1");
    const page = await browser.visit(`${PUBLIC}/auth/logout`);
    expect(page.text).toContain("You are logged in as ada (admin).");
    expect(page.response.headers.get("content-security-policy")).toContain(`form-action 'self' ${idp.issuer}`);
    expect((await press(browser, { "Sec-Fetch-Site": "cross-site" })).status).toBe(403);
    expect((await get(browser, "/api/whoami")).status).toBe(200);

    const stolen = browser.copy();
    const response = await press(browser, { Origin: PUBLIC });
    expect(response.status).toBe(303);
    const there = new URL(response.headers.get("location") ?? "");
    expect(there.origin).toBe(idp.issuer);
    expect(there.searchParams.get("id_token_hint")).toMatch(/^eyJ/);
    expect(browser.cookie(PUBLIC, COOKIE)).toBeUndefined();
    expect((await get(stolen, "/api/whoami")).status).toBe(401);

    // The provider's own form: what a click on "yes" sends.
    const { text } = await browser.visit(there);
    const xsrf = /name="xsrf" value="(\w+)"/.exec(text)?.[1] ?? "";
    const confirmed = await browser.request(`${idp.issuer}/session/end/confirm`, {
      method: "POST",
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ xsrf, logout: "yes" }).toString(),
    });
    const back = new URL(confirmed.headers.get("location") ?? "");
    expect(back.href).toBe(`${PUBLIC}/auth/logout`);
    expect((await browser.visit(back)).text).toContain("You are not logged in.");
    idp.user = "u-3";
    await browser.visit(`${PUBLIC}/auth/login?return_to=/api/whoami`);
    expect((await get(browser, "/api/whoami")).body.name, "the provider has asked anew").toBe("vera");
    const { entries } = await admin<{ entries: { action: string }[] }>("GET", "/audit?subject=session");
    expect(entries.map(({ action }) => action)).toEqual(["login", "logout", "login"]);
  });

  it("tells scripts where to go on, and does without the provider and without a session", async () => {
    const { loggedIn, browser, idp } = await aWorld();
    const headers = { ...OURS, Accept: "application/json" };
    const script = await press(await loggedIn("u-1"), headers);
    expect(await script.text()).toContain(`${idp.issuer}/session/end?`);
    const nobody = await press(browser(), headers);
    expect(await nobody.json()).toEqual({ location: `${PUBLIC}/auth/logout` });
  });
});
