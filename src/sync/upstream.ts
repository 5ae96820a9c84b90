/** Where releases come from: an Omaha server (`omaha-upstream.ts`), a signed mirror (`mirror-upstream.ts`), or a bare one (`plain-upstream.ts`). */
import type { PackageFile, VersionOrder } from "../rollout/model/configuration.ts";
import type { Bytes, Release } from "./release.ts";

export interface Question {
  /** UUID. */
  readonly applicationId: string;
  /** What clients call the application that have no UUID for it. */
  readonly productId: string | null;
  readonly track: string;
  /** 0 all, 1 amd64, 2 aarch64, 3 x86. */
  readonly arch: number;
  /** The newest version that the channel has; the lowest that there is: none. */
  readonly have: string;
  /** By what the application's versions are compared. */
  readonly order: VersionOrder;
}

/** A release that no node may skip on its way. */
export interface FloorRelease extends Release {
  readonly reason: string | null;
}

export interface Found {
  /** Where the channel leads to; null: to nothing newer than what it has. */
  readonly target: Release | null;
  /** On the way there, the lowest version first; the target is among them if it is one itself. */
  readonly floors: readonly FloorRelease[];
  /** What is there but can't be taken, and why: its files are not all described. */
  readonly incomplete: readonly { readonly version: string; readonly why: string }[];
}

export interface Upstream {
  /** @throws SourceFailed when there is no answer, or none that can be trusted */
  releases(question: Question, signal: AbortSignal): Promise<Found>;
  /**
   * Whether nodes can get a file of the release where they would be sent for it. Absent: there is no asking.
   * @throws SourceFailed when they can't
   */
  readonly probe?: (file: PackageFile, release: Release, signal: AbortSignal) => Promise<void>;
  /** Of one of the releases that it has named. */
  bytesOf(release: Release): Bytes;
}
