/** What the server that answers knows of itself. Plain data. */

/** How much it can send of the files that it keeps. */
export interface DownloadLimits {
  /** At the same time; 0: no limit. */
  readonly downloads: number;
  /** Bytes a second, of all of them together; null: no limit. */
  readonly downloadRate: number | null;
}

/** A download that it has refused, or cut off: a node there may report it as a failure of its own. */
export interface CutDownload {
  /** UUID, lower case. */
  readonly applicationId: string;
  readonly version: string;
  /** What update_engine reports when it could not have the file: 9 the payload, 5 one that belongs to it. */
  readonly errorCode: 5 | 9;
}

export interface ServerFacts extends DownloadLimits {
  /** When it was started: what was under way then was cut off. Null: nobody knows. */
  readonly startedAt: number | null;
  /** Lately, and from the address that the check-in comes from. */
  readonly cut: readonly CutDownload[];
}

/** Of a server that has no limits, and has cut nothing off. */
export const NO_LIMITS: ServerFacts = { downloads: 0, downloadRate: null, startedAt: null, cut: [] };
