/** The node's record, as its check-ins shape it. */
import type { CheckIn } from "./model/check-in.ts";
import type { Group, VersionOrder } from "./model/configuration.ts";
import type { Labels, Node } from "./model/node.ts";
import { isVersion } from "./version.ts";

const MAX_ID_LENGTH = 128;

/** Whether a check-in names a machine and a version that its application can have. */
export function isValidNode({ machineId, version }: CheckIn, order: VersionOrder): boolean {
  return (
    machineId !== "" &&
    machineId.length <= MAX_ID_LENGTH &&
    !hasControlCharacters(machineId) &&
    isVersion(version, order)
  );
}

function hasControlCharacters(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code < 32 || code === 127) return true;
  }
  return false;
}

export const NO_LABELS: Labels = {};

export function newNode(checkIn: CheckIn, group: Group, ip: string, now: number): Node {
  return {
    no: 0,
    applicationNo: group.applicationNo,
    id: checkIn.machineId,
    groupNo: group.no,
    version: checkIn.version,
    arch: checkIn.arch,
    machineAlias: checkIn.machineAlias ?? "",
    alias: "",
    ip,
    oem: checkIn.oem,
    oemVersion: checkIn.oemVersion,
    alephVersion: checkIn.alephVersion,
    bootId: checkIn.bootId,
    brokenQuotes: checkIn.brokenQuotes,
    createdAt: now,
    held: null,
    ownGroup: null,
    labels: NO_LABELS,
    status: "unknown",
    statusAt: now,
    grant: null,
    formerBoots: "",
    shared: null,
  };
}

/**
 * The record with what the node says of itself now; what it leaves empty stays, but for the alias, which people take out of its
 * update.conf. The very same object if nothing moved.
 */
export function updated(node: Node, checkIn: CheckIn, group: Group, ip: string): Node {
  const machineAlias = checkIn.machineAlias ?? node.machineAlias;
  const oem = checkIn.oem || node.oem;
  const oemVersion = checkIn.oemVersion || node.oemVersion;
  const alephVersion = checkIn.alephVersion || node.alephVersion;
  const bootId = checkIn.bootId || node.bootId;
  const same =
    node.version === checkIn.version &&
    node.bootId === bootId &&
    node.groupNo === group.no &&
    node.ip === ip &&
    node.arch === checkIn.arch &&
    node.machineAlias === machineAlias &&
    node.oem === oem &&
    node.oemVersion === oemVersion &&
    node.alephVersion === alephVersion &&
    node.brokenQuotes === checkIn.brokenQuotes;
  if (same) return node;
  return {
    ...node,
    version: checkIn.version,
    bootId,
    groupNo: group.no,
    ip,
    arch: checkIn.arch,
    machineAlias,
    oem,
    oemVersion,
    alephVersion,
    brokenQuotes: checkIn.brokenQuotes,
  };
}
