/** What a node has just said. */
import type { Arch } from "./arch.ts";

export interface OmahaEvent {
  readonly type: number;
  readonly result: number;
  /** As sent, unsigned 32 bits, flags included; null when absent. */
  readonly errorCode: number | null;
  readonly previousVersion: string;
}

/** One `app` of a request, normalised. Absent attributes are "", but for the alias. */
export interface CheckIn {
  /** As sent, braces and all. */
  readonly appId: string;
  readonly version: string;
  readonly track: string;
  readonly machineId: string;
  /** Null: not sent, as by clients that have none; "": its owner has taken it away. */
  readonly machineAlias: string | null;
  readonly bootId: string;
  readonly oem: string;
  readonly oemVersion: string;
  readonly alephVersion: string;
  readonly arch: Arch;
  readonly ping: boolean;
  readonly updateCheck: boolean;
  /** Component-wise prefix that the offered version must have ("" = any). */
  readonly targetVersionPrefix: string;
  readonly events: readonly OmahaEvent[];
  /** A person at the node asked for it. */
  readonly onDemand: boolean;
  /** Another update server mirroring this one. */
  readonly syncer: boolean;
  readonly multiManifest: boolean;
  /** The client is update_engine: with it a request of nothing but a ping means "installed, waiting for the reboot". */
  readonly updateEngine: boolean;
  /** The request had unescaped quotes that were repaired. */
  readonly brokenQuotes: boolean;
}
