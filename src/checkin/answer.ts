/** From the wire to a batch and back: what the Omaha handler calls for each request. */
import { Unavailable } from "../omaha/handler.ts";
import type { AppRequest, EventReport } from "../omaha/request.ts";
import type { AppAnswer } from "../omaha/response.ts";
import { isOfDownload } from "../rollout/downloads.ts";
import { baseErrorCode, isNoise } from "../rollout/lifecycle.ts";
import type { Offer } from "../rollout/model/outcome.ts";
import type { CutDownload } from "../rollout/model/server.ts";
import { StoreUnavailable } from "../store/store.ts";
import type { Batches } from "./batch.ts";
import type { CheckInRequest, Decision } from "./decisions.ts";
import { isOverloaded, type PollingOptions, pollIntervalSeconds } from "./polling.ts";

/** A node that is told to come back is kept off for this long; it asks again at its own pace anyway. */
const RETRY_AFTER_SECONDS = 5;

export type CheckInBatches = Batches<CheckInRequest, readonly Decision[]>;

export interface AnswerOptions {
  readonly batches: CheckInBatches;
  readonly now: () => number;
  readonly polling: PollingOptions;
  /** Where this server has its payloads: what goes in front of a package's URL that begins with `/`. */
  readonly payloadsAt: () => string;
  /** Downloads that this server has lately refused to an address, or cut off. */
  readonly cutDownloads: (ip: string) => readonly CutDownload[];
  readonly onDecision: (app: AppRequest, decision: Decision, ip: string) => void;
}

/** @throws Unavailable when nothing could be stored now; then nothing of the request was. */
export function answering(options: AnswerOptions): (apps: readonly AppRequest[], ip: string) => Promise<AppAnswer[]> {
  return async (apps, ip) => {
    if (apps.length === 0) return [];
    const now = options.now();
    turnAwayUnderLoad(options, apps);
    const cut = apps.some(({ events }) => events.some(mayBeCutOff)) ? options.cutDownloads(ip) : [];
    const decisions = await submit(options.batches, { apps, ip, now, ...(cut.length > 0 && { cut }) });
    return apps.map((app, index) => {
      const decision = decisions[index];
      if (decision === undefined) throw new Error("a batch came back with fewer decisions than apps");
      options.onDecision(app, decision, ip);
      const wait = options.batches.expectedWaitMs;
      const offer = decision.offer && reachable(decision.offer, options.payloadsAt());
      const pollInterval = pollIntervalSeconds(options.polling, decision.notBefore, now, wait);
      return toAnswer(app, decision, offer, pollInterval);
    });
  };
}

/** Checks come again by themselves; what a node reports comes only once, and is taken for as long as there is room. */
function turnAwayUnderLoad({ batches, polling }: AnswerOptions, apps: readonly AppRequest[]): void {
  if (!isOverloaded(polling, batches.expectedWaitMs)) return;
  // A check may report as well: that the node is back from its reboot, or has fallen back.
  if (!apps.every(({ updateCheck, events }) => updateCheck && events.every(isNoise))) return;
  throw new Unavailable("too many check-ins are waiting", RETRY_AFTER_SECONDS);
}

function mayBeCutOff(event: EventReport): boolean {
  return isOfDownload(event, baseErrorCode(event.errorCode ?? 0));
}

async function submit(batches: CheckInBatches, request: CheckInRequest): Promise<readonly Decision[]> {
  try {
    return await batches.submit(request);
  } catch (error) {
    if (error instanceof StoreUnavailable) throw new Unavailable(error.message, RETRY_AFTER_SECONDS);
    throw error;
  }
}

function reachable(offer: Offer, payloadsAt: string): Offer {
  return { ...offer, urls: offer.urls.map((url) => (url.startsWith("/") ? payloadsAt + url : url)) };
}

function toAnswer(app: AppRequest, decision: Decision, offer: Offer | null, pollInterval: number | null): AppAnswer {
  return {
    appId: app.appId,
    // update_engine reads only the updatecheck, and stays quiet; Go clients read this and report it.
    status: decision.reason === "fault" ? "error-internal" : decision.status,
    ping: app.ping,
    updateCheck: app.updateCheck ? { offer, pollIntervalSeconds: pollInterval } : null,
    events: app.events.length,
  };
}
