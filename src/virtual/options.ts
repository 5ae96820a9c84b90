/** What a fleet is told to be. */
import type { Rule } from "./behaviour.ts";
import type { Progress } from "./statistics.ts";
import type { Timing } from "./timing.ts";

export const FLATCAR_APP_ID = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";

export interface FleetOptions {
  /** The whole address, e.g. http://127.0.0.1:8000/v1/update/ */
  readonly server: string;
  readonly nodes: number;
  /** What the nodes run at first. */
  readonly version: string;
  readonly appId?: string;
  readonly track?: string;
  /** Spread evenly over the nodes. */
  readonly oems?: readonly string[];
  readonly board?: string;
  readonly timing?: Partial<Timing>;
  /** Virtual seconds for a real one; infinity: as fast as answers come, idle time skipped. */
  readonly speed?: number;
  /** Files are really fetched, and their hashes checked; otherwise a download only takes its time. */
  readonly fetch?: boolean;
  readonly rules?: readonly Rule[];
  readonly connections?: number;
  /** The same seed makes the same machines, which behave the same; only their boot ids are new ones each time. */
  readonly seed?: string;
  /** Ends only when every node that can has this version; else: the newest that was offered. */
  readonly untilVersion?: string | null;
  /** Virtual milliseconds after which it ends in any case. */
  readonly forMs?: number;
  /** Real milliseconds after which it ends in any case. */
  readonly realLimitMs?: number;
  readonly signal?: AbortSignal;
  /** Called a few times a second. */
  readonly onProgress?: (progress: Progress) => void;
}
