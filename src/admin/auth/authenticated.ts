/** Lets through whom we know, and makes those wait who guess. */
import type { RequestHandler } from "express";
import { clientAddress } from "../../address.ts";
import type { Clock } from "../../clock.ts";
import { setPrincipal } from "../context.ts";
import { Problem } from "../problem.ts";
import { Attempts } from "./attempts.ts";
import type { Authenticate } from "./tokens.ts";

export interface AuthenticatedOptions {
  readonly authenticate: Authenticate;
  readonly clock: Clock;
  readonly onFailedLogin: (address: string, why: string) => void;
}

export function authenticated({ authenticate, clock, onFailedLogin }: AuthenticatedOptions): RequestHandler {
  const attempts = new Attempts();
  return async (request, response, next) => {
    const address = clientAddress(request);
    attempts.check(address, clock.now());
    const principal = await authenticate(request);
    if (principal === null) {
      // Who brings nothing has not guessed.
      if (request.headers.authorization !== undefined) {
        attempts.failed(address, clock.now());
        onFailedLogin(address, "no such token, or it has expired or been revoked");
      }
      throw new Problem(401, "a valid token is needed: Authorization: Bearer …", {
        headers: { "WWW-Authenticate": "Bearer" },
      });
    }
    setPrincipal(response, principal);
    next();
  };
}
