/** The admin API: who asks, then the resource that is asked for. */
import express, { type RequestHandler, Router } from "express";
import { activityRoutes } from "./activity.ts";
import { appRoutes } from "./apps.ts";
import type { Authenticate } from "./auth/tokens.ts";
import { channelRoutes, floorRoutes } from "./channels.ts";
import { type AdminContext, setActor } from "./context.ts";
import { counterRoutes } from "./counters.ts";
import { explainRoutes } from "./explain.ts";
import { forecastRoutes } from "./forecast.ts";
import { groupRoutes } from "./groups.ts";
import { instanceRoutes } from "./instances.ts";
import { packageRoutes } from "./packages.ts";
import { Problem, problems, unknownPath } from "./problem.ts";
import { rolloutRoutes } from "./rollouts.ts";

export interface AdminOptions extends AdminContext {
  readonly authenticate: Authenticate;
  readonly onFault: (error: unknown) => void;
}

/** To be mounted at `/api`. */
export function adminRouter(options: AdminOptions): Router {
  const router = Router();
  router.use(authenticated(options.authenticate));
  router.use(onlyJson);
  router.use(express.json({ limit: "1mb", strict: false }));
  appRoutes(router, options);
  groupRoutes(router, options);
  channelRoutes(router, options);
  floorRoutes(router, options);
  packageRoutes(router, options);
  instanceRoutes(router, options);
  forecastRoutes(router, options); // before the rollouts: to them its name would be an id
  rolloutRoutes(router, options);
  explainRoutes(router, options);
  activityRoutes(router, options);
  counterRoutes(router, options);
  router.use(unknownPath);
  router.use(problems(options.onFault));
  return router;
}

function authenticated(authenticate: Authenticate): RequestHandler {
  return async (request, response, next) => {
    const actor = await authenticate(request);
    if (actor === null) {
      throw new Problem(401, "a valid token is needed: Authorization: Bearer …", {
        headers: { "WWW-Authenticate": "Bearer" },
      });
    }
    setActor(response, actor);
    next();
  };
}

const onlyJson: RequestHandler = (request, _response, next) => {
  const hasBody =
    request.headers["transfer-encoding"] !== undefined || Number(request.headers["content-length"] ?? 0) > 0;
  if (hasBody && !request.is("json")) throw new Problem(415, "send the body as Content-Type: application/json");
  next();
};
