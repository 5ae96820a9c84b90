/** Our words for where a node stands, and the older API's numbers for it. */
import { NODE_STATUSES, type NodeStatus } from "../rollout/model/node.ts";

const NUMBERS: Readonly<Record<NodeStatus, number>> = {
  unknown: 1,
  granted: 2,
  failed: 3,
  "timed-out": 3,
  "rolled-back": 3,
  lost: 3,
  complete: 4,
  installed: 5,
  downloaded: 6,
  downloading: 7,
  "on-hold": 8,
};

/** @param status as it stands in the database. */
export function statusNumber(status: string): number {
  return NUMBERS[status as NodeStatus] ?? 1; // the store writes no other
}

/** Every status that the number stands for. */
export function statusesOf(number: number): NodeStatus[] {
  return NODE_STATUSES.filter((status) => NUMBERS[status] === number);
}
