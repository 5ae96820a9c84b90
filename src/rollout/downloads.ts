/**
 * Downloads of files that are kept here. Updates are offered only as far as these can be served; what goes wrong since they
 * were not is no failure of a node. Source: ROLLOUTS.md, "An empty group": "what we refuse ourselves is nobody's failure".
 */

import type { OmahaEvent } from "./model/check-in.ts";
import type { Package, Policy } from "./model/configuration.ts";
import type { CountedStatus, DownloadCounters } from "./model/counters.ts";
import type { Fleet } from "./model/fleet.ts";
import type { Grant, Node, NodeStatus } from "./model/node.ts";
import type { CutDownload, DownloadLimits, ServerFacts } from "./model/server.ts";

/** A node reports a download that was cut off when it has tried to go on with it: 20 times, every 20 seconds and more. */
export const REMEMBERED_MS = 30 * 60_000;
/** Of its time-out, so much may pass until a node has what it downloads: it has to install it, too. */
const SHARE_OF_TIMEOUT = 0.5;

/** Whether nodes are sent here for its files. */
export function isHosted({ urls }: Package): boolean {
  return urls.some((url) => url.startsWith("/"));
}

/** Whether a node of this status has still to fetch what it was offered, or is at it. */
export function isFetching(status: CountedStatus | NodeStatus): boolean {
  return status === "granted" || status === "downloading";
}

export function isLimited({ downloads, downloadRate }: DownloadLimits): boolean {
  return downloads > 0 || downloadRate !== null;
}

/** How many may be fetching files from here for this package to be offered to one more; null: any number. */
export function mostDownloads(
  { downloads, downloadRate }: DownloadLimits,
  { files }: Package,
  { updateTimeoutMs }: Policy,
): number | null {
  const most = downloads > 0 ? downloads : null;
  if (downloadRate === null) return most;
  // All share the rate: with more of them, each would take longer than an update may.
  const bytes = files[0]?.sizeBytes ?? 0;
  const inTime = (downloadRate * updateTimeoutMs * SHARE_OF_TIMEOUT) / 1000 / Math.max(1, bytes);
  return Math.min(most ?? Number.POSITIVE_INFINITY, Math.max(1, Math.floor(inTime)));
}

/** A rollout with nodes that are granted or downloading. */
export interface FetchingRollout {
  readonly rolloutNo: number;
  readonly packageNo: number;
  readonly nodes: number;
}

const NO_ROLLOUTS: ReadonlySet<number> = new Set();

/** For whoever holds nothing against them. */
export function noDownloads(): DownloadCounters {
  return { rollouts: NO_ROLLOUTS, fetching: 0 };
}

/** @param all of the fleet's rollouts, also those that others have taken the place of */
export function downloadCounters(
  { hostedPackages, hostedRollouts }: Fleet,
  all: readonly FetchingRollout[],
): DownloadCounters {
  const hosted = all.filter(({ packageNo }) => hostedPackages.has(packageNo));
  const fetching = hosted.reduce((sum, { nodes }) => sum + nodes, 0);
  const past = hosted.filter(({ rolloutNo }) => !hostedRollouts.has(rolloutNo));
  if (past.length === 0) return { rollouts: hostedRollouts, fetching };
  return { rollouts: new Set([...hostedRollouts, ...past.map(({ rolloutNo }) => rolloutNo)]), fetching };
}

/** How many others have files to fetch from here: a node that was offered another version has its place already. */
export function fetchingBeside({ status, grant }: Node, { rollouts, fetching }: DownloadCounters): number {
  const has = grant !== null && isFetching(status) && rollouts.has(grant.rolloutNo);
  return has ? fetching - 1 : fetching;
}

/** What a server remembers of a download: which of a package's files it was shows in what a node reports. */
export function cutDownload(applicationId: string, version: string, isPayload: boolean): CutDownload {
  return { applicationId, version, errorCode: isPayload ? 9 : 5 };
}

/** Whether an event may tell of a download that was refused or cut off. @param code without flags */
export function isOfDownload({ type, result }: OmahaEvent, code: number): boolean {
  return type === 3 && result === 0 && (code === 9 || code === 5);
}

/** What the server remembers that explains such a failure of a node with this grant. */
export function cutOff(
  { cut }: ServerFacts,
  { version }: Grant,
  applicationId: string,
  code: number,
): CutDownload | null {
  return (
    cut.find((one) => one.version === version && one.errorCode === code && one.applicationId === applicationId) ?? null
  );
}

/** Whether the server was started since the node was granted files that are kept here, and not long ago. */
export function cutByStart(
  { startedAt }: ServerFacts,
  { hostedRollouts }: Fleet,
  { grantedAt, rolloutNo }: Grant,
  now: number,
): boolean {
  if (startedAt === null || grantedAt >= startedAt || now - startedAt > REMEMBERED_MS) return false;
  return hostedRollouts.has(rolloutNo);
}
