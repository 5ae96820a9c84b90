import { describe, expect, it } from "vitest";
import { readSettings } from "../src/settings.ts";

const OIDC = {
  TURNOUT_AUTH: "oidc",
  TURNOUT_OIDC_ISSUER: "https://id.example.org/realms/fleet",
  TURNOUT_OIDC_CLIENT_ID: "turnout",
  TURNOUT_OIDC_ADMIN_ROLES: "fleet-admins, root,",
};

describe("the settings of a login", () => {
  it("need four, and have a default for the others", () => {
    expect(readSettings(OIDC)).toMatchObject({
      auth: "oidc",
      publicUrl: null,
      oidc: {
        issuer: "https://id.example.org/realms/fleet",
        clientId: "turnout",
        clientSecret: null,
        clientAuth: null,
        scopes: "openid profile email",
        audience: "turnout",
        roles: { claim: "roles", names: { admin: ["fleet-admins", "root"], operator: [], viewer: [] } },
        sessionLifetimeMs: 12 * 3_600_000,
        sessionIdleMs: 2 * 3_600_000,
      },
    });
    expect(readSettings({}).oidc).toBeNull();
    expect(readSettings({ ...OIDC, TURNOUT_OIDC_SCOPES: "openid,groups" }).oidc?.scopes).toBe("openid groups");
    expect(readSettings({ ...OIDC, TURNOUT_PUBLIC_URL: "https://x.example/" }).publicUrl).toBe("https://x.example");
    const onLoopback = { ...OIDC, TURNOUT_OIDC_ISSUER: "http://[::1]:5556/dex" };
    expect(readSettings(onLoopback).oidc?.issuer).toBe("http://[::1]:5556/dex");
  });

  const { TURNOUT_OIDC_ISSUER: _, ...noIssuer } = OIDC;
  const { TURNOUT_OIDC_CLIENT_ID: __, ...noClient } = OIDC;
  const { TURNOUT_OIDC_ADMIN_ROLES: ___, ...noRoles } = OIDC;
  const wrong: [string, Record<string, string>, RegExp][] = [
    ["no issuer", noIssuer, /^TURNOUT_AUTH=oidc needs TURNOUT_OIDC_ISSUER: the identity provider's URL, e\.g\. .+$/],
    ["no client", noClient, /^TURNOUT_AUTH=oidc needs TURNOUT_OIDC_CLIENT_ID: .+$/],
    ["no roles", noRoles, /^TURNOUT_AUTH=oidc: nobody could log in; name .+$/],
    ["empty roles", { ...OIDC, TURNOUT_OIDC_ADMIN_ROLES: " , " }, /nobody could log in/],
    ["an issuer in plain sight", { ...OIDC, TURNOUT_OIDC_ISSUER: "http://id.example.org" }, /must begin with https/],
    ["an issuer that is none", { ...OIDC, TURNOUT_OIDC_ISSUER: "id.example.org" }, /must begin with https/],
    [
      "no place to come back to",
      { ...OIDC, TURNOUT_HOST: "0.0.0.0" },
      /needs TURNOUT_PUBLIC_URL while TURNOUT_HOST is/,
    ],
    ["a place that is none", { TURNOUT_PUBLIC_URL: "updates.example.org" }, /^TURNOUT_PUBLIC_URL: .* is not a URL/],
    ["another", { TURNOUT_PUBLIC_URL: "https://x.example/?a=b" }, /^TURNOUT_PUBLIC_URL: .* is not a URL/],
    ["scopes without openid", { ...OIDC, TURNOUT_OIDC_SCOPES: "profile" }, /TURNOUT_OIDC_SCOPES: must have "openid"/],
    ["an unknown way to send the secret", { ...OIDC, TURNOUT_OIDC_CLIENT_AUTH: "jwt" }, /TURNOUT_OIDC_CLIENT_AUTH/],
    ["a session of a minute", { ...OIDC, TURNOUT_SESSION_IDLE: "1m" }, /^TURNOUT_SESSION_IDLE: must be at least 5 min/],
    ["a session of no time", { ...OIDC, TURNOUT_SESSION_LIFETIME: "soon" }, /"soon" is not an interval/],
  ];
  it.each(wrong)("are one clear line when there is %s", (_what, environment, message) => {
    let said = "";
    try {
      readSettings(environment);
    } catch (error) {
      said = error instanceof Error ? error.message : "";
    }
    expect(said).toMatch(message);
    expect(said).not.toContain("\n");
  });
});
