/** What the server's thread and the writer's thread say to each other. */
import type { MirrorRule } from "../networks.ts";
import type { DownloadLimits } from "../rollout/model/server.ts";
import type { Recorded, SqlResult } from "../store/store.ts";
import type { CheckInRequest, Decision } from "./decisions.ts";
import type { PollingOptions } from "./polling.ts";

export interface WriterData {
  readonly databasePath: string;
  readonly newNodesPerMinute: number;
  /** Everyone, if it is not said. */
  readonly mirrors?: MirrorRule;
  /** Left out: it has none. */
  readonly downloads?: DownloadLimits;
  readonly polling?: PollingOptions;
  readonly now: number;
}

/** Each message gets one reply with its id. Jobs are done one after another; a held session keeps the others waiting. */
export type WriterMessage = { readonly id: number } & WriterJob;

export type WriterJob =
  | { readonly kind: "batch"; readonly requests: readonly CheckInRequest[] }
  | { readonly kind: "expire-due"; readonly now: number }
  | { readonly kind: "flush-seen" }
  | { readonly kind: "delete-history"; readonly before: number }
  | { readonly kind: "forget-seen-once"; readonly before: number; readonly afterNo: number }
  | { readonly kind: "replay"; readonly statements: readonly Recorded[] }
  | { readonly kind: "acquire" }
  | { readonly kind: "query"; readonly sql: string; readonly parameters: readonly unknown[] }
  | { readonly kind: "release" }
  | { readonly kind: "close" };

/** What each kind of job answers. */
export interface WriterAnswers {
  batch: readonly (readonly Decision[])[];
  "expire-due": boolean;
  "flush-seen": boolean;
  "delete-history": boolean;
  "forget-seen-once": number | null;
  replay: boolean;
  acquire: null;
  query: SqlResult;
  release: null;
  close: null;
}

export type WriterReply =
  | { readonly kind: "ready" }
  | { readonly kind: "fault"; readonly message: string; readonly machineId: string }
  | { readonly kind: "answer"; readonly id: number; readonly answer: WriterAnswers[WriterJob["kind"]] }
  | { readonly kind: "error"; readonly id: number; readonly name: string; readonly message: string };
