/** A real identity provider on loopback: oidc-provider, with users of ours and nobody at the keyboard. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { Provider } from "oidc-provider";

export const CLIENT_ID = "turnout";
export const CLIENT_SECRET = "what the provider and Turnout know";

export type User = Readonly<Record<string, unknown>>;

export const USERS: Readonly<Record<string, User>> = {
  "u-1": { preferred_username: "ada", realm_access: { roles: ["fleet-admins", "staff"] } },
  "u-2": { preferred_username: "olga", realm_access: { roles: ["staff", "fleet-operators"] } },
  "u-3": { preferred_username: "vera", realm_access: { roles: ["fleet-viewers"] } },
  "u-4": { preferred_username: "<b>mallory</b>", realm_access: { roles: ["staff"] } },
  "u-5": { preferred_username: "nemo" },
};

export interface IdentityProvider {
  readonly issuer: string;
  /** Who is at the keyboard when it asks for a login; null: somebody who says no. */
  user: string | null;
  /** How often each path was asked for. */
  readonly asked: Map<string, number>;
  /** A token with this provider's signature. */
  sign(claims: JWTPayload): Promise<string>;
  /** @param terse whether ID tokens say no more than who it is. */
  start(terse?: boolean): Promise<void>;
  stop(): Promise<void>;
}

export const newKey = () => generateKeyPair("RS256", { extractable: true });
const KEY = newKey();

/**
 * It has a port and does not listen yet.
 * @param key its own, when it is not to be taken for the others'.
 */
export async function anIdentityProvider(turnoutUrl: () => string, key = KEY): Promise<IdentityProvider> {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const { privateKey } = await key;
  const jwk = { ...(await exportJWK(privateKey)), kid: "k1", alg: "RS256", use: "sig" };
  let server: Server | null = null;

  const self: IdentityProvider = {
    issuer,
    user: "u-1",
    asked: new Map(),
    sign: (claims) =>
      new SignJWT({ iss: issuer, ...claims }).setProtectedHeader({ alg: "RS256", kid: "k1" }).sign(privateKey),
    async start(terse = false) {
      const provider = quietly(() => new Provider(issuer, configuration(turnoutUrl(), jwk, terse)));
      const answer = provider.callback();
      server = createServer((request, response) => {
        const path = new URL(request.url ?? "/", issuer).pathname;
        self.asked.set(path, (self.asked.get(path) ?? 0) + 1);
        if (path.startsWith("/interaction/")) void decide(provider, self.user, request, response);
        else void answer(request, response);
      });
      await listening(server, port);
    },
    async stop() {
      const stopping = server;
      server = null;
      if (stopping === null) return;
      await new Promise((done) => {
        stopping.close(done);
        stopping.closeAllConnections();
      });
    },
  };
  return self;
}

/** That it forgets all when it ends, it says every time: just what a test wants. */
function quietly<T>(make: () => T): T {
  const { warn } = console;
  console.warn = () => undefined;
  try {
    return make();
  } finally {
    console.warn = warn;
  }
}

async function decide(
  provider: Provider,
  user: string | null,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const no = { error: "access_denied", error_description: "the user said no" };
  await provider.interactionFinished(request, response, user === null ? no : { login: { accountId: user } });
}

function configuration(turnoutUrl: string, jwk: object, terse: boolean): ConstructorParameters<typeof Provider>[1] {
  const resource = "urn:turnout";
  return {
    jwks: { keys: [jwk] },
    cookies: { keys: ["for tests only"] },
    clients: [
      {
        client_id: CLIENT_ID,
        client_secret: CLIENT_SECRET,
        redirect_uris: [`${turnoutUrl}/auth/callback`],
        post_logout_redirect_uris: [`${turnoutUrl}/auth/logout`],
        response_types: ["code"],
        grant_types: ["authorization_code"],
      },
      {
        client_id: "ci",
        client_secret: "of a script",
        redirect_uris: [],
        response_types: [],
        grant_types: ["client_credentials"],
      },
    ],
    ttl: {
      AccessToken: 600,
      AuthorizationCode: 60,
      ClientCredentials: 600,
      IdToken: 600,
      Interaction: 600,
      Grant: 600,
      Session: 600,
    },
    pkce: { required: () => true },
    claims: { openid: ["sub"], profile: ["preferred_username", "realm_access"], email: ["email"] },
    conformIdTokenClaims: terse,
    findAccount: (_context, id) => ({ accountId: id, claims: async () => ({ ...USERS[id], sub: id }) }),
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    /** Nobody is asked whether Turnout may know who they are. */
    async loadExistingGrant({ oidc }) {
      const known = oidc.session?.grantIdFor(oidc.client?.clientId ?? "");
      if (known !== undefined) return oidc.provider.Grant.find(known);
      const grant = new oidc.provider.Grant({ accountId: oidc.session?.accountId, clientId: oidc.client?.clientId });
      grant.addOIDCScope("openid profile email");
      await grant.save();
      return grant;
    },
    extraTokenClaims: () => ({ realm_access: { roles: ["fleet-operators"] } }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_context, client) => (client?.clientId === "ci" ? resource : []),
        getResourceServerInfo: () => ({ scope: "", audience: CLIENT_ID, accessTokenFormat: "jwt" }),
      },
      rpInitiatedLogout: {
        enabled: true,
        /** Its own page asks; whoever drives it says yes. */
        async logoutSource(context, form) {
          context.body = form;
        },
      },
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await listening(server, 0);
  const { port } = server.address() as AddressInfo; // it listens on a port
  await new Promise((done) => server.close(done));
  return port;
}

function listening(server: Server, port: number): Promise<void> {
  return new Promise((done, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", done);
  });
}
