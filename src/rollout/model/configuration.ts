/** What a fleet is configured to do: applications, packages, channels, groups and their policies. Plain data. */
import type { Arch } from "./arch.ts";

/** Flatcar Container Linux, everywhere. */
export const FLATCAR_ID = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";

/** Package types of the admin API. A Flatcar package is complete only after a reboot; any other when it is installed. */
export const PACKAGE_TYPE = { flatcar: 1, docker: 2, rkt: 3, other: 4 } as const;

/** At or above this many updates a period, a group has no limit. */
export const UNLIMITED_UPDATES = 900_000;

/** How an application's versions are read: MAJOR.MINOR.PATCH, or four numbers, as in Google's Omaha. */
export const VERSION_SCHEMES = ["semver", "four-part"] as const;
export type VersionScheme = (typeof VERSION_SCHEMES)[number];

/** Whether semantic versions that differ in build metadata alone count as the same one, or are ordered by the date in it. */
export const BUILD_METADATA = ["ignore", "order"] as const;
export type BuildMetadata = (typeof BUILD_METADATA)[number];

/** Both in one: by what an application's versions are compared. */
export type VersionOrder = "semver" | "semver-build" | "four-part";

/** Row numbers (`no`) are the store's own keys; `id` is the UUID that people and the API see. */
export interface Application {
  readonly no: number;
  readonly id: string;
  readonly productId: string | null;
  readonly name: string;
  readonly versionOrder: VersionOrder;
}

export interface PackageFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** base64 of SHA-1, or null where unknown. */
  readonly sha1: string | null;
  /** hexadecimal SHA-256, or null where unknown. */
  readonly sha256: string | null;
}

/** The `postinstall` action of a Flatcar package, in the API's words. `sha256` is base64. */
export interface FlatcarAction {
  readonly event: string;
  readonly chromeosVersion: string;
  readonly sha256: string;
  readonly needsAdmin: boolean;
  readonly isDelta: boolean;
  readonly disablePayloadBackoff: boolean;
  readonly metadataSignatureRsa: string;
  readonly metadataSize: string;
  readonly deadline: string;
}

/** What a Flatcar package can lack, in the API's words. */
export const MISSING_FIELDS = ["filename", "size", "flatcar_action.sha256"] as const;
export type MissingField = (typeof MISSING_FIELDS)[number];

export interface Package {
  readonly no: number;
  readonly id: string;
  readonly applicationNo: number;
  readonly type: number;
  readonly version: string;
  /** Its application's. */
  readonly versionOrder: VersionOrder;
  readonly arch: Arch;
  /**
   * Where the files are: every codebase, in order of preference. One that begins with `/` is below the address where this
   * server has its payloads. None: not all files are here, and nodes are to get them nowhere else.
   */
  readonly urls: readonly string[];
  /** The payload itself first, then OEM images and system extensions. Empty when the package has no file name. */
  readonly files: readonly PackageFile[];
  readonly action: FlatcarAction | null;
  /** What it lacks before it can be offered. */
  readonly missing: readonly MissingField[];
  /** Channels that must never offer this package. */
  readonly blacklistedChannelNos: readonly number[];
}

/** A version that no node of the channel may skip. */
export interface Floor {
  readonly package: Package;
  readonly reason: string | null;
}

export interface Channel {
  readonly no: number;
  readonly id: string;
  readonly applicationNo: number;
  readonly name: string;
  readonly arch: Arch;
  readonly package: Package | null;
  /** Ascending by version. */
  readonly floors: readonly Floor[];
}

export interface Policy {
  readonly updatesEnabled: boolean;
  readonly safeMode: boolean;
  readonly officeHours: boolean;
  readonly timezone: string;
  /** Weekly times in `timezone` when updates may start; empty: always. */
  readonly windows: readonly Window[];
  /** Ascending. Nothing starts in them. */
  readonly freezes: readonly Freeze[];
  readonly periodMs: number;
  readonly maxUpdatesPerPeriod: number;
  readonly updateTimeoutMs: number;
}

/** A weekly window on the wall clock of the group's time zone. */
export interface Window {
  /** On which it opens: 1 Monday to 7 Sunday. */
  readonly days: readonly number[];
  /** Minutes after midnight, 0 to 1439. */
  readonly from: number;
  /** 1 to 10,080: a whole week. */
  readonly lengthMinutes: number;
}

/** From `startsAt` up to, not including, `endsAt`. */
export interface Freeze {
  readonly startsAt: number;
  readonly endsAt: number;
  readonly reason: string;
}

/** Safe mode's brake: its first node did not come through, and nothing is granted until a person resumes updates. */
export interface UpdatesStop {
  readonly by: "safe-mode";
  readonly at: number;
  readonly why: string;
  /** What the node was granted, by which rollout; null: it is none of the present ones. */
  readonly version: string;
  readonly rolloutId: string | null;
  readonly nodeId: string;
}

export interface Group {
  readonly no: number;
  readonly id: string;
  readonly applicationNo: number;
  readonly name: string;
  readonly track: string;
  readonly channel: Channel | null;
  readonly policy: Policy;
  /** Apart from `policy.updatesEnabled`, which is a person's. Null: nothing has stopped them. */
  readonly updatesStopped: UpdatesStop | null;
}
