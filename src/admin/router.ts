/** The admin API: who asks, then the operation that is asked for. */
import { Router } from "express";
import type { DownloadLimits } from "../rollout/model/server.ts";
import type { Syncing } from "../sync/syncing.ts";
import { activityOperations } from "./activity.ts";
import { appOperations } from "./apps.ts";
import { auditOperations } from "./audit.ts";
import { authenticated } from "./auth/authenticated.ts";
import type { Authenticate } from "./auth/tokens.ts";
import { centralOperations } from "./central.ts";
import { channelOperations } from "./channels.ts";
import type { AdminContext } from "./context.ts";
import { counterOperations } from "./counters.ts";
import { documentation } from "./documentation.ts";
import { explainOperations } from "./explain.ts";
import { fileOperations } from "./files.ts";
import { fleetOperations } from "./fleet.ts";
import { floorOperations } from "./floors.ts";
import { forecastOperations } from "./forecast.ts";
import { groupOperations } from "./groups.ts";
import { instanceOperations } from "./instances.ts";
import { readableUrl } from "./json.ts";
import { mirroringServerOperations } from "./mirroring-servers.ts";
import { mirrorOperations } from "./mirrors.ts";
import { mount } from "./mount.ts";
import { nodeBulkOperations } from "./node-bulk.ts";
import { nodeCareOperations } from "./node-care.ts";
import { numbered } from "./numbered.ts";
import type { Operation } from "./operation.ts";
import { packageOperations } from "./packages.ts";
import { payloadOperations } from "./payloads.ts";
import { problems, unknownPath } from "./problem.ts";
import { rolloutOperations } from "./rollouts.ts";
import { sessionOperations } from "./sessions.ts";
import type { DownloadAccess } from "./site-documents.ts";
import { siteOperations } from "./sites.ts";
import { statisticsOperations } from "./statistics.ts";
import { upstreamOperations } from "./sync.ts";
import { tokenOperations } from "./tokens.ts";
import { webhookDeliveryOperations } from "./webhook-deliveries.ts";
import { webhookOperations } from "./webhooks.ts";

export interface AdminOptions extends AdminContext {
  /** Turnout's own. */
  readonly version: string;
  readonly authenticate: Authenticate;
  /** Whether webhooks may lead to private addresses. */
  readonly privateTargets: boolean;
  /** What downloads of files kept here need, and how many there may be. */
  readonly downloads: DownloadAccess & DownloadLimits;
  readonly syncing: Pick<Syncing, "begin" | "drop" | "progressOf">;
  /** Directories of this machine that upstreams may be in. */
  readonly syncDirs: readonly string[];
  readonly onFault: (error: unknown) => void;
  readonly onFailedLogin: (address: string, why: string) => void;
}

/** All that the API can do. */
function allOperations(options: AdminOptions): readonly Operation[] {
  return [
    ...appOperations,
    ...groupOperations,
    ...channelOperations,
    ...floorOperations,
    ...packageOperations,
    ...fileOperations,
    ...payloadOperations,
    ...mirrorOperations,
    ...upstreamOperations(options),
    ...rolloutOperations,
    ...forecastOperations(options),
    ...instanceOperations,
    ...nodeCareOperations,
    ...nodeBulkOperations,
    ...explainOperations(options),
    ...statisticsOperations,
    ...fleetOperations,
    ...activityOperations,
    ...webhookOperations(options),
    ...webhookDeliveryOperations,
    ...siteOperations(options),
    ...centralOperations,
    ...mirroringServerOperations,
    ...tokenOperations,
    ...sessionOperations,
    ...auditOperations,
    ...counterOperations,
  ];
}

/** To be mounted at `/api`. */
export function adminRouter(options: AdminOptions): Router {
  const router = Router();
  const operations = allOperations(options);
  router.use(numbered);
  router.use(documentation(operations, options.version));
  router.use(authenticated(options));
  router.use(readableUrl);
  mount(router, options, operations);
  router.use(unknownPath);
  router.use(problems(options.onFault));
  return router;
}
