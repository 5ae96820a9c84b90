/** The identity provider: OpenID Connect's authorization code flow with PKCE, and its tokens as bearer tokens. */
import { createRemoteJWKSet, decodeJwt, errors, type JWTVerifyGetKey, jwtVerify } from "jose";
import * as oidc from "openid-client";
import type { Clock } from "../../clock.ts";
import { Problem } from "../problem.ts";
import { type Claims, type RoleMapping, saysEnough } from "./roles.ts";

/** A provider that takes longer than this is as good as none. */
const TIMEOUT_MS = 5_000;
/** How far its clock and ours may be apart. */
const SKEW_SECONDS = 30;

export interface ProviderSettings {
  readonly issuer: string;
  readonly clientId: string;
  /** Null: a public client, which has PKCE alone. */
  readonly clientSecret: string | null;
  /** How the secret is sent; null: as the provider prefers. */
  readonly clientAuth: "basic" | "post" | null;
  /** Separated by spaces. */
  readonly scopes: string;
  /** Whom a bearer token of the provider must be meant for. */
  readonly audience: string;
  readonly roles: RoleMapping;
}

/** What the browser has to prove when it comes back. */
export interface LoginSecrets {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

export interface LoggedIn {
  readonly claims: Claims;
  readonly idToken: string;
}

interface Discovered {
  readonly configuration: oidc.Configuration;
  readonly keys: JWTVerifyGetKey;
}

export class Provider {
  readonly #settings: ProviderSettings;
  readonly #clock: Clock;
  readonly #onTrouble: (why: string) => void;
  #discovered: Discovered | null = null;
  #discovering: Promise<Discovered> | null = null;
  #isInTrouble = false;

  /** @param onTrouble is told once, until the provider answers again. */
  constructor(settings: ProviderSettings, clock: Clock, onTrouble: (why: string) => void) {
    this.#settings = settings;
    this.#clock = clock;
    this.#onTrouble = onTrouble;
  }

  /**
   * Asks the provider where its parts are, unless that is known. It may be down when we start: so whoever needs it asks.
   * @throws Problem 503 when it does not answer.
   */
  async discover(): Promise<Discovered> {
    if (this.#discovered !== null) return this.#discovered;
    this.#discovering ??= discovered(this.#settings).finally(() => {
      this.#discovering = null;
    });
    try {
      this.#discovered = await this.#discovering;
    } catch (error) {
      throw this.#trouble(error);
    }
    this.#isInTrouble = false;
    return this.#discovered;
  }

  /** Where the browser goes to log in. @throws Problem 503 */
  async loginUrl({ state, nonce, verifier }: LoginSecrets, redirectUri: string, again: boolean): Promise<URL> {
    const { configuration } = await this.discover();
    return oidc.buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: this.#settings.scopes,
      state,
      nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      ...(again ? { prompt: "login" } : {}),
    });
  }

  /**
   * Trades what the browser brought back for what the provider says of its user: in the ID token, and if that is not
   * enough, where it describes its users.
   * @param callback our redirect URI with the query that it was called with.
   * @throws Problem 401 when the provider says no, 503 when it does not answer.
   */
  async finishLogin(callback: URL, { state, nonce, verifier }: LoginSecrets): Promise<LoggedIn> {
    const { configuration } = await this.discover();
    const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier };
    try {
      const tokens = await oidc.authorizationCodeGrant(configuration, callback, checks);
      this.#isInTrouble = false;
      const claims = tokens.claims();
      // With a nonce to be checked, the library has insisted on both.
      if (claims === undefined || tokens.id_token === undefined) throw new Error("it sent no ID token");
      const known = { claims, idToken: tokens.id_token };
      const { userinfo_endpoint: userinfo } = configuration.serverMetadata();
      if (userinfo === undefined || saysEnough(claims, this.#settings.roles)) return known;
      const described = await oidc.fetchUserInfo(configuration, tokens.access_token, claims.sub);
      return { ...known, claims: { ...described, ...claims } };
    } catch (error) {
      if (isTrouble(error)) throw this.#trouble(error);
      throw new Problem(401, `the identity provider refused the login: ${reasonOf(error)}`);
    }
  }

  /**
   * What a token of the provider says, as its API clients send it.
   * @returns null when it is none, not meant for us, or over.
   * @throws Problem 503 when the provider's keys can't be had.
   */
  async verify(token: string): Promise<Claims | null> {
    if (!this.#looksLikeTheirs(token)) return null;
    const { configuration, keys } = await this.discover();
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: configuration.serverMetadata().issuer,
        audience: this.#settings.audience,
        requiredClaims: ["sub", "exp"],
        clockTolerance: SKEW_SECONDS,
        currentDate: new Date(this.#clock.now()),
      });
      this.#isInTrouble = false;
      return payload;
    } catch (error) {
      if (REFUSALS.some((kind) => error instanceof kind)) return null;
      throw this.#trouble(error);
    }
  }

  /** Where its users log out; null: there is no such place, or it does not answer. */
  async logoutEndpoint(): Promise<URL | null> {
    const endpoint = (await this.discover().catch(() => null))?.configuration.serverMetadata().end_session_endpoint;
    return endpoint === undefined ? null : new URL(endpoint);
  }

  /** The same, for the browser of one user. Source: OpenID Connect RP-Initiated Logout 1.0. */
  async logoutUrl(idToken: string, returnTo: string): Promise<URL | null> {
    if ((await this.logoutEndpoint()) === null) return null;
    const { configuration } = await this.discover();
    return oidc.buildEndSessionUrl(configuration, { id_token_hint: idToken, post_logout_redirect_uri: returnTo });
  }

  /** Garbage must not make us ask the provider for anything. */
  #looksLikeTheirs(token: string): boolean {
    try {
      return new URL(decodeJwt(token).iss ?? "").href === new URL(this.#settings.issuer).href;
    } catch {
      return false;
    }
  }

  #trouble(error: unknown): Problem {
    const why = `the identity provider ${this.#settings.issuer} does not answer as it should: ${reasonOf(error)}`;
    if (!this.#isInTrouble) this.#onTrouble(why);
    this.#isInTrouble = true;
    return new Problem(503, `${why}; try again later`, { headers: { "Retry-After": "10" } });
  }
}

async function discovered(settings: ProviderSettings): Promise<Discovered> {
  const issuer = new URL(settings.issuer);
  const configuration = await oidc.discovery(issuer, settings.clientId, undefined, clientAuthentication(settings), {
    timeout: TIMEOUT_MS / 1000,
    execute: [
      // The ID token's signature is checked as well, though it comes straight from the provider.
      oidc.enableNonRepudiationChecks,
      ...(issuer.protocol === "http:" ? [oidc.allowInsecureRequests] : []),
    ],
  });
  const { jwks_uri: uri } = configuration.serverMetadata();
  if (uri === undefined) throw new Error("its discovery document has no jwks_uri");
  return { configuration, keys: createRemoteJWKSet(new URL(uri), { timeoutDuration: TIMEOUT_MS }) };
}

/** Without a word of the settings' or the provider's it is HTTP Basic. Source: OpenID Connect Discovery 1.0, section 3. */
function clientAuthentication({ clientSecret, clientAuth }: ProviderSettings): oidc.ClientAuth {
  if (clientSecret === null) return oidc.None();
  const [basic, post] = [oidc.ClientSecretBasic(clientSecret), oidc.ClientSecretPost(clientSecret)];
  if (clientAuth !== null) return clientAuth === "basic" ? basic : post;
  return (server, ...rest) => {
    const offered = server.token_endpoint_auth_methods_supported ?? ["client_secret_basic"];
    return (offered.includes("client_secret_basic") ? basic : post)(server, ...rest);
  };
}

/** What is wrong with a token, and not with us or the provider. */
const REFUSALS = [
  errors.JWTExpired,
  errors.JWTClaimValidationFailed,
  errors.JWTInvalid,
  errors.JWSInvalid,
  errors.JWSSignatureVerificationFailed,
  errors.JWKSNoMatchingKey,
  errors.JWKSMultipleMatchingKeys,
  errors.JOSEAlgNotAllowed,
  errors.JOSENotSupported,
] as const;

/** What the library calls an answer that never came, or was no answer. */
const TROUBLES: ReadonlySet<unknown> = new Set([
  "OAUTH_TIMEOUT",
  "OAUTH_ABORT",
  "OAUTH_RESPONSE_IS_NOT_CONFORM",
  "OAUTH_RESPONSE_IS_NOT_JSON",
  "OAUTH_PARSE_ERROR",
]);

function isTrouble(error: unknown): boolean {
  // `fetch` says no more than this when it reaches nobody.
  if (error instanceof TypeError && error.cause !== undefined) return true;
  return error instanceof oidc.ClientError && TROUBLES.has(error.code);
}

function reasonOf(error: unknown): string {
  if (error instanceof oidc.ResponseBodyError || error instanceof oidc.AuthorizationResponseError) {
    return [error.error, error.error_description].filter(Boolean).join(": ");
  }
  if (error instanceof oidc.WWWAuthenticateChallengeError) {
    const [said] = error.cause.map(({ parameters }) => [parameters.error, parameters.error_description]);
    return said?.filter(Boolean).join(": ") || `it answers ${error.status}`;
  }
  if (!(error instanceof Error)) return String(error);
  const own = error.message || ("code" in error ? String(error.code) : error.name);
  return error.cause instanceof Error ? `${own}: ${reasonOf(error.cause)}` : own;
}
