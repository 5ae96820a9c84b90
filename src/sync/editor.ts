/**
 * How the configuration is changed from here: by the very functions that the admin API uses, so that all its rules hold. They
 * are handed in, since the admin API knows `sync` and not the other way round.
 */
import type { Selectable, Transaction } from "kysely";
import type { Tables } from "../store/tables.ts";
import type { Release } from "./release.ts";

export type Tx = Transaction<Tables>;
export type PackageRow = Selectable<Tables["packages"]>;
export type ApplicationRow = Selectable<Tables["applications"]>;

export interface Editor {
  /**
   * One transaction: the change, its lines in the audit log, and the rollouts that follow from it; or nothing at all.
   * @param action what the audit log calls it
   * @throws NotTaken when a rule of the configuration is against it
   */
  change<T>(action: string, work: (desk: Desk) => Promise<T>): Promise<T>;
}

/** What may be done within one change. */
export interface Desk {
  readonly tx: Tx;
  readonly now: number;
  createPackage(application: ApplicationRow, release: Release): Promise<void>;
  /** Adds what the package lacks of the release's files and hashes; what it has stays. */
  completePackage(application: ApplicationRow, row: PackageRow, release: Release): Promise<void>;
  pointChannel(application: ApplicationRow, channelNo: number, packageId: string): Promise<void>;
  setFloor(channelNo: number, packageNo: number, reason: string | null): Promise<void>;
  audit(changed: {
    readonly subject: string;
    readonly id: string;
    readonly applicationId?: string | null;
    readonly before: object | null;
    readonly after: object | null;
  }): Promise<void>;
}

/** A rule of the configuration is against it: trying again won't help before somebody has changed something. */
export class NotTaken extends Error {
  override readonly name = "NotTaken";
}
