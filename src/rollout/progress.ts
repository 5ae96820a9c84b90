/** What a check-in has changed so far: the node's working record, and everything that will be written with it. */
import { archived, rolloutCounters, standingOf } from "./counters.ts";
import { ACTIVITY, type Activity, SEVERITY } from "./model/activity.ts";
import type { OmahaEvent } from "./model/check-in.ts";
import type { Counters } from "./model/counters.ts";
import type { Grant, Node, NodeStatus } from "./model/node.ts";
import type { Changes, LoggedEvent, PastGrant, StopUpdates, Transition } from "./model/outcome.ts";

/** Most check-ins change nothing: until something does, these stand for all the lists. */
const NOTHING: readonly never[] = [];

export class Progress {
  readonly now: number;
  readonly #counters: Counters;
  node: Node;
  #transitions: Transition[] | null = null;
  #pastGrants: PastGrant[] | null = null;
  #events: LoggedEvent[] | null = null;
  #activities: Activity[] | null = null;
  #stopUpdates: StopUpdates | null = null;

  constructor(node: Node, counters: Counters, now: number) {
    this.node = node;
    this.#counters = counters;
    this.now = now;
  }

  /**
   * Moves the node to another status, under this grant (null: none). A grant that is left behind is archived. On hold, a node
   * waits for something else than the grant that it may still have.
   */
  move(to: NodeStatus, grant: Grant | null, { grants }: { grants: boolean }): void {
    const { node, now } = this;
    const before = node.grant;
    const left = standingOf(node.status, before);
    const of = to === "on-hold" ? null : grant;
    if (before !== null && left !== null && before.rolloutNo !== grant?.rolloutNo) {
      this.#pastGrants ??= [];
      this.#pastGrants.push({ grant: { ...before, deadline: null }, status: archived(left).status, endedAt: now });
    }
    this.#transitions ??= [];
    this.#transitions.push({
      at: now,
      to,
      groupNo: of?.groupNo ?? node.groupNo,
      rolloutNo: of?.rolloutNo ?? null,
      version: of?.version ?? node.version,
      errorCode: to === "failed" || to === "rolled-back" ? (grant?.errorCode ?? null) : null,
      left,
      entered: standingOf(to, grant),
      grants,
    });
    this.node = { ...node, status: to, statusAt: now, grant };
  }

  /** The node leaves its rollout, where it is counted as this from then on, however it had ended. */
  leaveAs(status: "complete" | "withdrawn"): void {
    const { node, now } = this;
    const left = standingOf(node.status, node.grant);
    if (node.grant === null || left === null) return;
    const good = { failure: null, errorCode: null };
    this.#pastGrants ??= [];
    this.#pastGrants.push({ grant: { ...node.grant, deadline: null, ...good }, status, endedAt: now });
    this.#transitions ??= [];
    this.#transitions.push({
      at: now,
      to: "on-hold",
      groupNo: node.groupNo,
      rolloutNo: null,
      version: node.version,
      errorCode: null,
      left,
      entered: { ...left, status, ...good, relapsed: false },
      grants: false,
    });
    this.node = { ...node, status: "on-hold", statusAt: now, grant: null };
  }

  log({ type, result, errorCode, previousVersion }: OmahaEvent, version: string): void {
    this.#events ??= [];
    this.#events.push({ at: this.now, type, result, errorCode, version, previousVersion });
  }

  note(activity: Omit<Activity, "at" | "applicationNo" | "channelNo" | "oncePerDay"> & { oncePerDay?: boolean }): void {
    this.#activities ??= [];
    this.#activities.push({
      at: this.now,
      applicationNo: this.node.applicationNo,
      channelNo: null,
      oncePerDay: false,
      ...activity,
    });
  }

  /**
   * Safe mode's brake: while no other node has completed the rollout, a failure stops the group's updates.
   * @param hadCompleted the node that failed is still counted as complete.
   */
  brake({ rolloutNo, groupNo, version }: Grant, why: string, hadCompleted: boolean): void {
    if (rolloutCounters(this.#counters, rolloutNo).total.complete > Number(hadCompleted)) return;
    this.#stopUpdates = { groupNo, rolloutNo, version, nodeId: this.node.id, why };
    this.note({ class: ACTIVITY.rolloutFailed, severity: SEVERITY.error, groupNo, version, ofNode: false });
  }

  get changes(): Changes {
    return {
      node: this.node,
      transitions: this.#transitions ?? NOTHING,
      pastGrants: this.#pastGrants ?? NOTHING,
      events: this.#events ?? NOTHING,
      activities: this.#activities ?? NOTHING,
      stopUpdates: this.#stopUpdates,
    };
  }
}
