/** The provider's own tokens as bearer tokens, and what tells a console how to get one. */
import { afterEach, describe, expect, it } from "vitest";
import { aTurnout } from "../../e2e/turnout.ts";
import { anIdentityProvider, CLIENT_ID, CLIENT_SECRET, newKey } from "./identity-provider.ts";
import { ADMIN, aWorld, closeLater, closeWorlds, detailOf, PUBLIC, type World } from "./world.ts";

afterEach(closeWorlds);

describe("tokens of the provider", () => {
  const asks = (world: World, token: string) =>
    fetch(`${world.server.url}/api/whoami`, { headers: { Authorization: `Bearer ${token}` } });

  it("are taken from scripts that got one there", async () => {
    const world = await aWorld();
    const response = await fetch(`${world.idp.issuer}/token`, {
      method: "POST",
      headers: { Authorization: `Basic ${btoa("ci:of+a+script")}` },
      body: new URLSearchParams({ grant_type: "client_credentials" }),
    });
    const { access_token: token } = (await response.json()) as { access_token: string };
    const answer = await asks(world, token);
    expect(await answer.json()).toMatchObject({ kind: "user", name: "ci", id: "ci", role: "operator" });
  });

  it("are refused when they are over, for somebody else, or not the provider's", async () => {
    const world = await aWorld();
    const now = Math.floor(world.server.clock.now() / 1000);
    const claims = { sub: "u-1", aud: CLIENT_ID, exp: now + 600, realm_access: { roles: ["fleet-admins"] } };
    const good = await world.idp.sign(claims);
    expect((await asks(world, good)).status).toBe(200);
    const stranger = await anIdentityProvider(() => PUBLIC, newKey());
    const [head, body] = good.split(".");
    const none = Buffer.from('{"alg":"none"}').toString("base64url");
    const { exp: _, ...endless } = claims;
    for (const [what, token] of Object.entries({
      expired: await world.idp.sign({ ...claims, exp: now - 60 }),
      "not yet": await world.idp.sign({ ...claims, nbf: now + 600 }),
      endless: await world.idp.sign(endless),
      "for another": await world.idp.sign({ ...claims, aud: "grafana" }),
      "for nobody": await world.idp.sign({ ...claims, aud: [] }),
      "of another": await world.idp.sign({ ...claims, iss: "https://evil.example" }),
      "with another key": await stranger.sign({ ...claims, iss: world.idp.issuer }),
      unsigned: `${none}.${body}.`,
      altered: `${head}.${Buffer.from(JSON.stringify({ ...claims, iss: world.idp.issuer })).toString("base64url")}.AAAA`,
      garbage: "eyJ.eyJ.eyJ",
    })) {
      expect((await asks(world, token)).status, what).toBe(401);
    }
    const without = await asks(world, await world.idp.sign({ ...claims, realm_access: {} }));
    expect([without.status, await detailOf(without)]).toEqual([
      403,
      'user "u-1" has no role here: the identity provider did not send the claim "realm_access.roles" (TURNOUT_OIDC_ROLES_CLAIM)',
    ]);
    world.server.clock.move({ minutes: 11 });
    expect((await asks(world, good)).status).toBe(401);
  });

  it("are 503 while its keys can't be had, and garbage is 401 all the same", async () => {
    const world = await aWorld({}, { isUp: false });
    const token = await world.idp.sign({ sub: "u-1", aud: CLIENT_ID, exp: Math.floor(Date.now() / 1000) + 60 });
    expect((await asks(world, token)).status).toBe(503);
    expect((await asks(world, "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.AAAA")).status).toBe(401);
  });

  it("are none where TURNOUT_AUTH is token", async () => {
    const world = await aWorld({ TURNOUT_AUTH: "token" });
    const exp = Math.floor(Date.now() / 1000) + 60;
    const token = await world.idp.sign({ sub: "u-1", aud: CLIENT_ID, exp, realm_access: { roles: ["fleet-admins"] } });
    expect((await asks(world, token)).status).toBe(401);
    expect((await fetch(`${world.server.url}/auth/login`)).status).toBe(404);
  });
});

describe("GET /config and its neighbours", () => {
  it("tell a console how people log in here", async () => {
    const { server, idp } = await aWorld();
    const config = await (await fetch(`${server.url}/config`)).json();
    expect(config).toMatchObject({
      access_management_url: "",
      auth_mode: "oidc",
      header_style: "light",
      login_url: `${PUBLIC}/auth/login`,
      logo: "",
      nebraska_version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      oidc_audience: CLIENT_ID,
      oidc_client_id: CLIENT_ID,
      oidc_issuer_url: idp.issuer,
      oidc_logout_url: `${PUBLIC}/auth/logout`,
      oidc_scopes: "openid profile email",
      title: "Turnout",
      authMode: "oidc",
      loginUrl: `${PUBLIC}/auth/login`,
    });
    expect(JSON.stringify(config)).not.toContain(CLIENT_SECRET);
    const open = await aTurnout();
    closeLater(() => open.close());
    const plain = await (await fetch(`${open.url}/config`)).json();
    expect(plain).toMatchObject({ auth_mode: "noop", login_url: "", oidc_issuer_url: null, oidc_scopes: null });
  });

  it("say whether a token is good", async () => {
    const { server } = await aWorld();
    const validate = (token: string) =>
      fetch(`${server.url}/login/validate_token`, { headers: { Authorization: `Bearer ${token}` } });
    expect(await (await validate(ADMIN)).json()).toEqual({ valid: true });
    expect((await validate("wrong")).status).toBe(401);
  });
});
