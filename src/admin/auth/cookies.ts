/** Two kinds of cookies: who is logged in, and one for each login that is under way. No script can read them. */
import type { CookieOptions, Request, Response } from "express";
import { z } from "zod";

/** 32 random bytes in base64url, as a session's secret and a login's state are. */
const SECRET = /^[\w-]{43}$/;
const LOGIN_MS = 10 * 60_000;
/** Logins that are begun and never finished: beyond that many, the browser is told to forget them. */
const MAX_LOGINS = 8;

const login = z.object({ nonce: z.string(), verifier: z.string(), returnTo: z.string() });

/** What a browser keeps while its user is at the provider. It is theirs alone: nothing in it is a secret to them. */
export type PendingLogin = z.infer<typeof login>;

export class Cookies {
  readonly #publicUrl: () => string;

  constructor(publicUrl: () => string) {
    this.#publicUrl = publicUrl;
  }

  session(request: Request): string | null {
    const secret = all(request).get(this.#name("session"));
    return secret !== undefined && SECRET.test(secret) ? secret : null;
  }

  keepSession(response: Response, secret: string, maxAgeMs: number): void {
    response.cookie(this.#name("session"), secret, { ...this.#options(), maxAge: maxAgeMs });
  }

  dropSession(response: Response): void {
    response.clearCookie(this.#name("session"), this.#options());
  }

  /** Each login has a cookie of its own, named by its state: several may be under way in one browser. */
  keepLogin(request: Request, response: Response, state: string, pending: PendingLogin): void {
    const others = [...all(request).keys()].filter((name) => name.startsWith(this.#name("login_")));
    if (others.length >= MAX_LOGINS) for (const name of others) response.clearCookie(name, this.#options());
    const value = Buffer.from(JSON.stringify(pending)).toString("base64url");
    response.cookie(this.#name(`login_${state}`), value, { ...this.#options(), maxAge: LOGIN_MS });
  }

  /** The login that has this state, which then is none any more; null: this browser has not begun it. */
  takeLogin(request: Request, response: Response, state: unknown): PendingLogin | null {
    if (typeof state !== "string" || !SECRET.test(state)) return null;
    const name = this.#name(`login_${state}`);
    const value = all(request).get(name);
    if (value === undefined) return null;
    response.clearCookie(name, this.#options());
    try {
      return login.parse(JSON.parse(Buffer.from(value, "base64url").toString()));
    } catch {
      return null;
    }
  }

  get #isSecure(): boolean {
    return this.#publicUrl().startsWith("https:");
  }

  /** `__Host-` cookies are taken over https only, and never from a neighbour in the domain. */
  #name(kind: string): string {
    return `${this.#isSecure ? "__Host-" : ""}turnout_${kind}`;
  }

  #options(): CookieOptions {
    return { httpOnly: true, sameSite: "lax", secure: this.#isSecure, path: "/" };
  }
}

function all(request: Request): ReadonlyMap<string, string> {
  const pairs = (request.headers.cookie ?? "").split(";").map((pair): [string, string] => {
    const [name = "", ...value] = pair.split("=");
    return [name.trim(), value.join("=").trim()];
  });
  return new Map(pairs);
}
