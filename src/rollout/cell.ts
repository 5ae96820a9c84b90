/** Where in a rollout a node is counted: its stage, architecture and OEM, as one text. */
import type { Arch } from "./model.ts";

export interface Cell {
  readonly stage: number;
  readonly arch: Arch;
  readonly oem: string;
}

/** Nodes may name any OEM they like: beyond this many cells, new ones are counted under "other". */
const MAX_CELLS = 200;
const MAX_OEM_LENGTH = 64;

export function cellOf(stage: number, arch: Arch, oem: string): string {
  return `${stage} ${arch} ${oem}`;
}

/** The node's cell in a rollout that has these already. */
export function newCell(known: ReadonlyMap<string, unknown>, stage: number, arch: Arch, oem: string): string {
  const cell = cellOf(stage, arch, oem);
  if (known.has(cell) || (known.size < MAX_CELLS && oem.length <= MAX_OEM_LENGTH)) return cell;
  return cellOf(stage, arch, "other");
}

export function readCell(cell: string): Cell {
  const [stage = "0", arch = "0", ...oem] = cell.split(" ");
  // Made by `cellOf` alone.
  return { stage: Number(stage), arch: Number(arch) as Arch, oem: oem.join(" ") };
}
