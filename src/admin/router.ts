/** The admin API: who asks, then the operation that is asked for. */
import { randomUUID } from "node:crypto";
import { type RequestHandler, Router } from "express";
import { activityOperations } from "./activity.ts";
import { appOperations } from "./apps.ts";
import { auditOperations } from "./audit.ts";
import { Attempts } from "./auth/attempts.ts";
import type { Authenticate } from "./auth/tokens.ts";
import { channelOperations } from "./channels.ts";
import { type AdminContext, setPrincipal } from "./context.ts";
import { counterOperations } from "./counters.ts";
import { documentation } from "./documentation.ts";
import { explainOperations } from "./explain.ts";
import { fileOperations } from "./files.ts";
import { fleetOperations } from "./fleet.ts";
import { floorOperations } from "./floors.ts";
import { forecastOperations } from "./forecast.ts";
import { groupOperations } from "./groups.ts";
import { instanceRoutes } from "./instances.ts";
import { json, mount, onlyJson } from "./mount.ts";
import type { Operation } from "./operation.ts";
import { packageOperations } from "./packages.ts";
import { payloadOperations } from "./payloads.ts";
import { Problem, problems, unknownPath } from "./problem.ts";
import { rolloutOperations } from "./rollouts.ts";
import { tokenOperations } from "./tokens.ts";

export interface AdminOptions extends AdminContext {
  /** Turnout's own. */
  readonly version: string;
  readonly authenticate: Authenticate;
  readonly onFault: (error: unknown) => void;
  readonly onFailedLogin: (address: string, why: string) => void;
}

/** All that the API can do. */
function allOperations(): readonly Operation[] {
  return [
    ...appOperations,
    ...groupOperations,
    ...channelOperations,
    ...floorOperations,
    ...packageOperations,
    ...fileOperations,
    ...payloadOperations,
    ...rolloutOperations,
    ...forecastOperations(),
    ...explainOperations,
    ...fleetOperations,
    ...activityOperations,
    ...tokenOperations,
    ...auditOperations,
    ...counterOperations,
  ];
}

/** To be mounted at `/api`. */
export function adminRouter(options: AdminOptions): Router {
  const router = Router();
  const operations = allOperations();
  router.use(numbered);
  router.use(documentation(operations, options.version));
  router.use(authenticated(options));
  mount(router, options, operations);
  router.use(onlyJson, json);
  instanceRoutes(router, options);
  router.use(unknownPath);
  router.use(problems(options.onFault));
  return router;
}

const REQUEST_ID = /^[\w.:-]{1,100}$/;

/** Each request has an id, of the caller's own if it is a sensible one: the audit log has it, too. */
const numbered: RequestHandler = (request, response, next) => {
  const given = request.headers["x-request-id"];
  response.set("X-Request-Id", typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID());
  next();
};

function authenticated({ authenticate, clock, onFailedLogin }: AdminOptions): RequestHandler {
  const attempts = new Attempts();
  return async (request, response, next) => {
    const address = request.ip ?? "";
    const waitMs = attempts.waitMs(address, clock.now());
    if (waitMs > 0) {
      throw new Problem(429, "too many failed logins from this address; try again later", {
        headers: { "Retry-After": String(Math.ceil(waitMs / 1000)) },
      });
    }
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
