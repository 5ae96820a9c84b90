/** An identity provider, a Turnout that trusts it, and people with browsers. */
import pino from "pino";
import { expect } from "vitest";
import { apiClient, aTurnout, type TestTurnout } from "../../e2e/turnout.ts";
import { VirtualClock } from "../../virtual-clock.ts";
import { Browser, type Visited } from "./browser.ts";
import { anIdentityProvider, CLIENT_ID, CLIENT_SECRET, type IdentityProvider } from "./identity-provider.ts";

/** Where browsers find Turnout: behind a proxy that speaks https, as it were. */
export const PUBLIC = "https://updates.example.org";
export const COOKIE = "__Host-turnout_session";
export const ADMIN = "a-token-of-the-tests-0001";
/** What a browser says of a request that a page of ours makes. */
export const OURS = { "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json" };

export interface World {
  readonly idp: IdentityProvider;
  readonly server: TestTurnout;
  readonly log: Record<string, unknown>[];
  readonly admin: ReturnType<typeof apiClient>;
  browser(): Browser;
  /** Somebody who has logged in. */
  loggedIn(user: string): Promise<Browser>;
}

export interface WorldOptions {
  readonly idp?: IdentityProvider;
  readonly clock?: VirtualClock;
  readonly dataDir?: string;
  /** Whether the provider is up; it is unless it is brought along. */
  readonly isUp?: boolean;
}

let closing: (() => Promise<unknown>)[] = [];

/** After each test. What is closed already may be closed again. */
export async function closeWorlds(): Promise<void> {
  for (const close of closing.reverse()) await close();
  closing = [];
}
export function closeLater(close: () => Promise<unknown>): void {
  closing.push(close);
}

export async function aProvider(turnoutUrl: () => string = () => PUBLIC): Promise<IdentityProvider> {
  const idp = await anIdentityProvider(turnoutUrl);
  closeLater(() => idp.stop());
  return idp;
}

export const oidcSettings = (issuer: string): Record<string, string> => ({
  TURNOUT_AUTH: "oidc",
  TURNOUT_PUBLIC_URL: PUBLIC,
  TURNOUT_ADMIN_TOKEN: ADMIN,
  TURNOUT_OIDC_ISSUER: issuer,
  TURNOUT_OIDC_CLIENT_ID: CLIENT_ID,
  TURNOUT_OIDC_CLIENT_SECRET: CLIENT_SECRET,
  TURNOUT_OIDC_ROLES_CLAIM: "realm_access.roles",
  TURNOUT_OIDC_ADMIN_ROLES: "fleet-admins",
  TURNOUT_OIDC_OPERATOR_ROLES: "fleet-operators, release-team",
  TURNOUT_OIDC_VIEWER_ROLES: "fleet-viewers",
});

export async function aWorld(environment: Record<string, string> = {}, options: WorldOptions = {}): Promise<World> {
  const idp = options.idp ?? (await aProvider());
  if (options.isUp ?? options.idp === undefined) await idp.start();
  const log: Record<string, unknown>[] = [];
  const server = await aTurnout(
    { ...oidcSettings(idp.issuer), ...environment },
    {
      // The provider's tokens are of today.
      clock: options.clock ?? new VirtualClock(Date.now()),
      log: pino({ level: "info" }, { write: (line) => log.push(JSON.parse(line)) }),
      ...(options.dataDir === undefined ? {} : { dataDir: options.dataDir }),
    },
  );
  closeLater(() => server.close());
  const browser = () => new Browser({ [PUBLIC]: server.url });
  return {
    idp,
    server,
    log,
    admin: apiClient(server.url, ADMIN),
    browser,
    async loggedIn(user) {
      idp.user = user;
      const theirs = browser();
      const visited = await theirs.visit(`${PUBLIC}/auth/login?return_to=/api/whoami`);
      expect(last(visited)).toBe(`${PUBLIC}/api/whoami`);
      return theirs;
    },
  };
}

// biome-ignore lint/suspicious/noExplicitAny: a test knows what it asked for
export async function get(browser: Browser, path: string): Promise<{ status: number; body: any }> {
  const response = await browser.request(`${PUBLIC}${path}`, { headers: { Accept: "application/json" } });
  return { status: response.status, body: await response.json() };
}

/** Something that only administrators may do. */
export function change(browser: Browser, headers: Record<string, string>, name = "Lab") {
  return browser.request(`${PUBLIC}/api/apps`, { method: "POST", headers, body: JSON.stringify({ name }) });
}

export async function detailOf(response: Response): Promise<string> {
  return ((await response.json()) as { detail: string }).detail; // a problem has one
}

/** Where a visit has come to. */
export const last = ({ way }: Visited): string => way.at(-1) ?? "";
