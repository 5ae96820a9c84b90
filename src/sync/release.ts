/** A release as an upstream describes it, whatever kind of upstream that is. */
import type { FlatcarAction, PackageFile } from "../rollout/model/configuration.ts";

export interface Release {
  /** 1 is Flatcar's: `PACKAGE_TYPE`. */
  readonly type: number;
  readonly version: string;
  /** 0 all, 1 amd64, 2 aarch64, 3 x86. */
  readonly arch: number;
  /** Where nodes get the files when they are not kept here; ends with a slash. */
  readonly url: string;
  /** Nodes get the files from this server, and nothing before all of them are here: nobody else has them for sure. */
  readonly onlyHere?: true;
  readonly description: string;
  /** The payload, which every release of Flatcar has with its SHA-256; null: the package has no file of its own. */
  readonly payload: ReleaseFile | null;
  /** System extensions, OEM images. */
  readonly extraFiles: readonly ReleaseFile[];
  /** What the package's action says beyond its SHA-256, which is the payload's. */
  readonly action: Partial<Omit<FlatcarAction, "sha256">>;
}

export interface ReleaseFile extends PackageFile {
  /** In hexadecimal, lower case: looked at as the file comes. Packages have none, since no client asks for it. */
  readonly sha512?: string | null;
}

/** Where the bytes of a release are. */
export interface Bytes {
  /** Of one of its files, in the order to try. */
  sourcesOf(file: PackageFile): readonly Source[];
}

export interface Source {
  /** As people find it. */
  readonly place: string;
  /**
   * The file from an offset on; what comes may end early, and is gone on from the next time.
   * @throws SourceFailed, also while it comes
   */
  open(from: number, signal: AbortSignal): Promise<AsyncIterable<Buffer>>;
}

/** Bytes or an answer did not come, or not as they should: it may go better the next time. The message says why. */
export class SourceFailed extends Error {
  override readonly name = "SourceFailed";
}

/** The payload first. */
export function filesOf({ payload, extraFiles }: Release): readonly ReleaseFile[] {
  return payload === null ? extraFiles : [payload, ...extraFiles];
}
