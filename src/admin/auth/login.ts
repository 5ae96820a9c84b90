/** Login and logout in the browser, at the identity provider: `/auth/login`, `/auth/callback`, `/auth/logout`. */
import { randomBytes } from "node:crypto";
import { type ErrorRequestHandler, type Request, type Response, Router } from "express";
import { clientAddress } from "../../address.ts";
import type { Clock } from "../../clock.ts";
import { requestIdOf } from "../operation.ts";
import { onlyMethods, Problem } from "../problem.ts";
import { Attempts } from "./attempts.ts";
import type { Cookies } from "./cookies.ts";
import { isFromOurPages } from "./csrf.ts";
import { sendPage } from "./pages.ts";
import type { Provider } from "./provider.ts";
import { principalFrom, type RoleMapping } from "./roles.ts";
import type { Origin, Sessions } from "./sessions.ts";

/** Where a login leads when nobody has asked for anything else: the API's own pages. */
const HOME = "/api/docs/";
/** What a page of ours is made of. */
const PAGE_CONTENT = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
/** A cookie must hold it. */
const MAX_RETURN = 2_000;

export interface LoginOptions {
  readonly provider: Provider;
  readonly sessions: Sessions;
  readonly cookies: Cookies;
  readonly roles: RoleMapping;
  readonly clock: Clock;
  /** Where browsers reach us, without a slash at its end. */
  readonly publicUrl: () => string;
  readonly onFailedLogin: (address: string, why: string) => void;
}

/** To be mounted at `/auth`. */
export function loginRoutes(options: LoginOptions): Router {
  const router = Router();
  const attempts = new Attempts();
  router.use((_request, response, next) => {
    response.set("Cache-Control", "no-store");
    next();
  });
  router
    .route("/login")
    .get((request, response) => begin(options, request, response))
    .all(onlyMethods("GET"));
  router
    .route("/callback")
    .get((request, response) => counted(options, attempts, request, () => finish(options, request, response)))
    .all(onlyMethods("GET"));
  router
    .route("/logout")
    .get((request, response) => askToLeave(options, request, response))
    .post((request, response) => leave(options, request, response))
    .all(onlyMethods("GET", "POST"));
  router.use(asPages(options));
  return router;
}

async function begin(
  { provider, cookies, publicUrl }: LoginOptions,
  request: Request,
  response: Response,
): Promise<void> {
  const [state, nonce, verifier] = [random(), random(), random()];
  const { return_to: returnTo, prompt } = request.query;
  const url = await provider.loginUrl({ state, nonce, verifier }, callbackUrl(publicUrl()), prompt === "login");
  const isSensible = typeof returnTo === "string" && returnTo.length <= MAX_RETURN;
  cookies.keepLogin(request, response, state, { nonce, verifier, returnTo: isSensible ? returnTo : "" });
  response.redirect(302, url.href);
}

/** @throws Problem with what went wrong; there is no session then. */
async function finish(
  { provider, sessions, cookies, roles, publicUrl }: LoginOptions,
  request: Request,
  response: Response,
): Promise<void> {
  const { state } = request.query;
  const pending = cookies.takeLogin(request, response, state);
  if (pending === null) {
    throw new Problem(
      400,
      "this login was not begun in this browser, has been finished already, or took longer than 10 minutes",
    );
  }
  const callback = new URL(callbackUrl(publicUrl()));
  callback.search = new URL(request.originalUrl, callback).search;
  const { claims, idToken } = await provider.finishLogin(callback, { ...pending, state: String(state) });
  const who = principalFrom(claims, roles);
  const before = cookies.session(request);
  if (before !== null) await sessions.close(before, originOf(request, response));
  const { secret, lifetimeMs } = await sessions.open(who, idToken, originOf(request, response));
  cookies.keepSession(response, secret, lifetimeMs);
  response.redirect(303, localUrl(pending.returnTo, publicUrl()));
}

/** Failures are counted by address, and told. */
async function counted(
  { clock, onFailedLogin }: LoginOptions,
  attempts: Attempts,
  request: Request,
  work: () => Promise<void>,
): Promise<void> {
  const address = clientAddress(request);
  attempts.check(address, clock.now());
  try {
    await work();
  } catch (error) {
    if (error instanceof Problem && error.status < 500) {
      attempts.failed(address, clock.now());
      onFailedLogin(address, error.message);
    }
    throw error;
  }
}

/** Following a link must not log anybody out: there is a button. */
async function askToLeave(
  { provider, sessions, cookies, publicUrl }: LoginOptions,
  request: Request,
  response: Response,
): Promise<void> {
  const secret = cookies.session(request);
  const who = secret === null ? null : await sessions.find(secret);
  if (who === null) {
    const link = { url: `${publicUrl()}/auth/login`, text: "Log in" };
    return sendPage(response, { status: 200, title: "Logged out", text: "You are not logged in.", link });
  }
  // Else the browser would not say where the form is from, nor follow its answer to the provider.
  const there = (await provider.logoutEndpoint())?.origin ?? "";
  response.set("Referrer-Policy", "same-origin");
  response.set("Content-Security-Policy", `${PAGE_CONTENT}; form-action 'self' ${there}`.trim());
  sendPage(response, {
    status: 200,
    title: "Log out",
    text: `You are logged in as ${who.name} (${who.role}).`,
    button: "Log out",
  });
}

/** Scripts are told where to go on; forms are sent there. */
async function leave(
  { provider, sessions, cookies, publicUrl }: LoginOptions,
  request: Request,
  response: Response,
): Promise<void> {
  if (!isFromOurPages(request, publicUrl())) throw new Problem(403, "only Turnout's own pages may log somebody out");
  const secret = cookies.session(request);
  const idToken = secret === null ? null : await sessions.close(secret, originOf(request, response));
  cookies.dropSession(response);
  const here = `${publicUrl()}/auth/logout`;
  const location = (idToken === null ? null : await provider.logoutUrl(idToken, here))?.href ?? here;
  if (request.accepts(["html", "json"]) === "json") response.json({ location });
  else response.redirect(303, location);
}

/** For people a page, for scripts the problem. */
function asPages({ publicUrl }: LoginOptions): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    if (!(error instanceof Problem) || request.accepts(["html", "json"]) === "json") return next(error);
    const { status, message, headers } = error;
    response.set(headers);
    // Who has no role may have another account: the provider must ask anew, or it would send the same one again.
    const again = status === 403 && request.path === "/callback" ? "?prompt=login" : "";
    const text = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
    const link = { url: `${publicUrl()}/auth/login${again}`, text: again ? "Log in as somebody else" : "Try again" };
    sendPage(response, { status, title: "This did not work", text, link });
  };
}

/** Wherever it leads, it is on this server: anything else becomes `HOME`. */
function localUrl(returnTo: string, publicUrl: string): string {
  const here = new URL(publicUrl);
  const wanted = returnTo.startsWith("/") && URL.canParse(returnTo, publicUrl) ? new URL(returnTo, here) : null;
  // As a whole URL: a path alone may begin with two slashes, and then names another host.
  return wanted?.origin === here.origin ? wanted.href : `${publicUrl}${HOME}`;
}

function callbackUrl(publicUrl: string): string {
  return `${publicUrl}/auth/callback`;
}

function originOf(request: Request, response: Response): Origin {
  return { address: clientAddress(request), requestId: requestIdOf(response) };
}

function random(): string {
  return randomBytes(32).toString("base64url");
}
