/**
 * Whether a node has got where its grant leads, and whether it has fallen back from there: at once, or after it had completed.
 * Source: ROLLOUTS.md, "A node's lifecycle" and "After success".
 */
import type { CheckIn } from "./model/check-in.ts";
import type { VersionOrder } from "./model/configuration.ts";
import type { Grant, Node } from "./model/node.ts";
import { compareVersions } from "./version.ts";

/** It runs the granted version, or one beyond; a rollback goes the other way. */
export function hasReached(version: string, grant: Grant, order: VersionOrder): boolean {
  const distance = compareVersions(version, grant.version, order);
  return isRollback(grant, order) ? distance <= 0 : distance >= 0;
}

export function isRollback({ version, fromVersion }: Grant, order: VersionOrder): boolean {
  return compareVersions(version, fromVersion, order) < 0;
}

/** Whether the node has rebooted since, as far as both boot ids are known. */
export function isOtherBoot(grant: Grant, { bootId }: CheckIn): boolean {
  return bootId !== "" && grant.bootId !== "" && bootId !== grant.bootId;
}

/**
 * Installed, rebooted (the boot id is another) and still on the old version: the machine took its other partition. It may
 * have been given up for lost before it was back.
 */
export function fellBack({ status }: Node, grant: Grant, checkIn: CheckIn): boolean {
  return (status === "installed" || status === "lost") && isOtherBoot(grant, checkIn);
}

/**
 * Whether that a node which had completed runs an older version now can be the release's fault: for as long as it is watched,
 * and if there is another partition to fall back to. A way back has failed when the node is on the very version again that was
 * taken back.
 */
export function isTheRelease(grant: Grant, { version }: CheckIn, order: VersionOrder, now: number): boolean {
  if (grant.watchedUntil === null || now > grant.watchedUntil || !grant.needsReboot) return false;
  return !isRollback(grant, order) || version === grant.fromVersion;
}

/**
 * Whether a person has brought the node to an older version. It was moved to another group by hand; or it says that it has come
 * up after an update, and that was none of ours; or that it never had one: so it was installed anew, as it also was if the
 * first version that it ever ran is another now. A track that its owner has changed is no reason: nobody goes down by an
 * ordinary offer, and a way back has a grant of its own.
 * @param before the node's record before this check-in.
 */
export function wasSentThere(
  node: Node,
  grant: Grant,
  { events, alephVersion }: CheckIn,
  before: Node | null,
): boolean {
  const isMoved = node.ownGroup !== null && node.groupNo !== grant.groupNo;
  // 3/2 with a previous version; "0.0.0.0" stands for none.
  const cameUp = events.some(
    ({ type, result, previousVersion }) => type === 3 && result === 2 && previousVersion !== "",
  );
  const first = before?.alephVersion ?? "";
  return isMoved || cameUp || (first !== "" && alephVersion !== "" && alephVersion !== first);
}
