/** What is kept of a mirror: who asked for what, and what it was answered last. */
import type { LeftOut, Reason } from "../rollout/model/outcome.ts";

export interface MirrorAsked {
  readonly address: string;
  /** UUID of the group that it was answered from; null: there is none. */
  readonly groupId: string | null;
  readonly arch: number;
  readonly application: string;
  readonly track: string;
  readonly version: string;
  readonly multiManifest: boolean;
  readonly reason: Reason | "fault";
  readonly leftOut: readonly LeftOut[];
  readonly firstAt: number;
  readonly lastAt: number;
  /** How often. */
  readonly asked: number;
}

/** So many are kept: those that asked more than once first, of these the ones that asked last. */
export const MIRRORS_KEPT = 500;
