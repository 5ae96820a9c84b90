/** Who may come in, and how: by token always, and with `TURNOUT_AUTH=oidc` by the identity provider, too. */
import { type RequestHandler, Router } from "express";
import type { Clock } from "../../clock.ts";
import type { Store } from "../../store/store.ts";
import { configuration } from "../configuration.ts";
import { numbered } from "../numbered.ts";
import { Problem, problems } from "../problem.ts";
import { authenticated } from "./authenticated.ts";
import { Cookies } from "./cookies.ts";
import { isFromOurPages } from "./csrf.ts";
import { loginRoutes } from "./login.ts";
import { ANONYMOUS } from "./principal.ts";
import type { Provider, ProviderSettings } from "./provider.ts";
import { principalFrom } from "./roles.ts";
import { Sessions } from "./sessions.ts";
import { type Authenticate, bearerAuthentication, bearerOf } from "./tokens.ts";

export interface AccessOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Turnout's own. */
  readonly version: string;
  readonly mode: "token" | "oidc" | "none";
  /** Not null when the mode is `oidc`. */
  readonly oidc: OidcSettings | null;
  /** Where browsers reach us, without a slash at its end. */
  readonly publicUrl: () => string;
  readonly onFault: (error: unknown) => void;
  readonly onFailedLogin: (address: string, why: string) => void;
  /** The identity provider does not answer. Told once, until it does again. */
  readonly onTrouble: (why: string) => void;
}

export interface OidcSettings extends ProviderSettings {
  readonly sessionLifetimeMs: number;
  readonly sessionIdleMs: number;
}

export interface Access {
  readonly authenticate: Authenticate;
  /** `/config`, and the pages of the login if there is one. To be mounted at the root. */
  readonly routes: RequestHandler;
}

export async function openAccess(options: AccessOptions): Promise<Access> {
  const { store, clock, mode, oidc, publicUrl } = options;
  const router = Router();
  router.use(["/config", "/auth", "/login"], numbered);
  router.get("/config", configuration({ ...options, provider: oidc }));

  let authenticate: Authenticate = mode === "none" ? async () => ANONYMOUS : bearerAuthentication(store, clock);
  if (oidc !== null) {
    // Only here: most servers do without the libraries that it takes.
    const { Provider } = await import("./provider.ts");
    const provider = new Provider(oidc, clock, options.onTrouble);
    const sessions = new Sessions(store, clock, {
      issuer: oidc.issuer,
      lifetimeMs: oidc.sessionLifetimeMs,
      idleMs: oidc.sessionIdleMs,
    });
    const cookies = new Cookies(publicUrl);
    authenticate = oidcAuthentication({ tokens: authenticate, provider, sessions, cookies, oidc, publicUrl });
    router.use("/auth", loginRoutes({ ...options, provider, sessions, cookies, roles: oidc.roles }));
    // Whoever watches the log should not have to wait for the first login to fail.
    provider.discover().catch(() => undefined);
  }
  router.get("/login/validate_token", authenticated({ ...options, authenticate }), (_request, response) => {
    response.json({ valid: true });
  });
  router.use(problems(options.onFault));
  return { authenticate, routes: router };
}

interface Ways {
  readonly tokens: Authenticate;
  readonly provider: Provider;
  readonly sessions: Sessions;
  readonly cookies: Cookies;
  readonly oidc: OidcSettings;
  readonly publicUrl: () => string;
}

/** A token of ours, a token of the provider's, or a session: what the request brings, and nothing else. */
function oidcAuthentication({ tokens, provider, sessions, cookies, oidc, publicUrl }: Ways): Authenticate {
  return async (request) => {
    if (request.headers.authorization !== undefined) {
      const ours = await tokens(request);
      const token = bearerOf(request);
      if (ours !== null || token === null) return ours;
      const claims = await provider.verify(token);
      return claims === null ? null : principalFrom(claims, oidc.roles);
    }
    const secret = cookies.session(request);
    const who = secret === null ? null : await sessions.find(secret);
    if (who === null) {
      throw new Problem(401, `log in at ${publicUrl()}/auth/login, or send a valid token: Authorization: Bearer …`, {
        headers: { "WWW-Authenticate": "Bearer" },
      });
    }
    if (isFromOurPages(request, publicUrl())) return who;
    throw new Problem(
      403,
      `a change that comes with a cookie must come from ${new URL(publicUrl()).origin} itself; scripts use a token`,
    );
  };
}
