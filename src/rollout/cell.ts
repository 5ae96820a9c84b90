/** Where in a rollout a node is counted: its stage, architecture and OEM, as one text. */
import type { Arch } from "./model/arch.ts";

export interface Cell {
  readonly stage: number;
  readonly arch: Arch;
  readonly oem: string;
}

/** What OEMs are counted under that are one too many. No node can be told to be of it. */
export const OTHER_OEM = "other";
/** Nodes may name any OEM they like: beyond this many cells, only OEMs that are known have new ones, for other stages. */
const MANY_CELLS = 200;
const MAX_CELLS = 2_000;
const MAX_OEM_LENGTH = 64;

export function cellOf(stage: number, arch: Arch, oem: string): string {
  return `${stage} ${arch} ${oem}`;
}

/** The node's cell in a rollout that has these already. */
export function newCell(known: ReadonlyMap<string, unknown>, stage: number, arch: Arch, oem: string): string {
  const cell = cellOf(stage, arch, oem);
  if (known.has(cell)) return cell;
  const room = known.size < MANY_CELLS || (known.size < MAX_CELLS && isKnown(known, oem));
  return room && oem.length <= MAX_OEM_LENGTH ? cell : cellOf(stage, arch, OTHER_OEM);
}

function isKnown(known: ReadonlyMap<string, unknown>, oem: string): boolean {
  for (const cell of known.keys()) if (readCell(cell).oem === oem) return true;
  return false;
}

export function readCell(cell: string): Cell {
  const [stage = "0", arch = "0", ...oem] = cell.split(" ");
  // Made by `cellOf` alone.
  return { stage: Number(stage), arch: Number(arch) as Arch, oem: oem.join(" ") };
}
