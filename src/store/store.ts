/**
 * What Turnout asks of a database. Nothing outside `store/` knows which one it is.
 *
 * Two sides. `CheckInStore` is the hot path: one transaction for a batch of check-ins, hand-written for each engine.
 * `Store` is everything else, through Kysely: `read` never delays a check-in; `write` takes its turn between batches.
 */
import type { Kysely, Transaction } from "kysely";
import type { FetchingRollout } from "../rollout/downloads.ts";
import type { Activity } from "../rollout/model/activity.ts";
import type { UpdatesStop } from "../rollout/model/configuration.ts";
import type { Counters, RolloutCounters } from "../rollout/model/counters.ts";
import type { Fleet } from "../rollout/model/fleet.ts";
import type { Node } from "../rollout/model/node.ts";
import type { Changes } from "../rollout/model/outcome.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import type { Change } from "../rollout/run.ts";
import type { MirrorAsked } from "./mirroring.ts";
import type { Tables } from "./tables.ts";

export interface NodeKey {
  readonly applicationNo: number;
  readonly id: string;
}

/** What one check-in changes, and the record it started from (null: a new node). */
export interface NodeWrite {
  readonly before: Node | null;
  readonly changes: Changes;
}

/** A node whose deadline has passed, with the last time it was seen as far as the store knows. */
export interface DueNode {
  readonly node: Node;
  readonly lastSeenAt: number;
}

/** When a node was last seen, and by when it is due if that is later than usual. */
export type SeenMark = readonly [nodeNo: number, at: number, dueAt: number | null];

/** What a node's silence is, which it has come back from. */
export interface Silences {
  /** So long after a node was due. */
  readonly afterMs: number;
  /** Nodes have been heard without a break since then: what began before is no doing of theirs. */
  readonly heardSince: number;
}

export type Durability = "durable" | "lazy";

/** One writer, one transaction at a time: `begin`, any of the others, then `commit` or `rollback`. */
export interface CheckInStore {
  /** @param durability `lazy`: its commit need not wait for the disk; the next durable one carries it along. */
  begin(durability: Durability): Promise<void>;
  /** A durable transaction is on disk when it resolves. */
  commit(): Promise<void>;
  rollback(): Promise<void>;

  /** Moves with every change of the configuration. */
  revision(): Promise<number>;
  /** The configuration as of now, inside the transaction. */
  fleet(): Promise<Fleet>;

  /** In the order of the keys. */
  nodes(keys: readonly NodeKey[]): Promise<(Node | null)[]>;
  counters(rolloutNos: readonly number[], groupNos: readonly number[]): Promise<Counters>;
  /** Of all rollouts, those with nodes that are granted or downloading. */
  fetching(): Promise<readonly FetchingRollout[]>;
  /** In order: a later write of the same node builds on an earlier one, and finds its number. Answers the numbers. */
  writeNodes(writes: readonly NodeWrite[]): Promise<number[]>;
  writeCounters(counters: Pick<Counters, "rollouts" | "groups">): Promise<void>;
  /** "Last seen" of many nodes, and of those that come back from a silence how long it was. */
  writeSeen(seen: readonly SeenMark[], silences: Silences): Promise<void>;
  /** When any node was last seen; null: none ever was. */
  lastSeenAt(): Promise<number | null>;
  /** Mirrors that asked; of all there are, so many are kept. */
  writeMirrors(asked: readonly MirrorAsked[]): Promise<void>;
  /** Safe mode's brake: stops the group's updates, if nothing has stopped them yet, and moves the revision. */
  stopUpdates(groupNo: number, stop: UpdatesStop): Promise<void>;
  /** The gate's move: writes what becomes of the rollout, its history and its activity, and moves the revision. */
  changeRollout(rollout: Rollout, change: Change, counters: RolloutCounters, now: number): Promise<void>;
  writeActivity(activity: Activity, instanceId: string | null): Promise<void>;

  /** Nodes whose deadline has passed, the oldest deadline first. */
  dueNodes(now: number, limit: number): Promise<DueNode[]>;
  /** Deletes events, history, activity, past grants, webhooks' deliveries and mirrors of before then; answers how many rows (≤ limit each). */
  deleteHistory(before: number, limit: number): Promise<number>;
  /**
   * Forgets nodes first seen before `before` and never again, numbers above `afterNo`; answers where to go on, or null.
   * @param waits whether a node has been seen again, and that is still to be written
   */
  forgetSeenOnce(
    before: number,
    afterNo: number,
    limit: number,
    waits: (nodeNo: number) => boolean,
  ): Promise<number | null>;

  close(): Promise<void>;
}

export interface Store {
  /** Reads of the admin side. Sees committed data only. */
  readonly read: Kysely<Tables>;
  /** Reads that all see the same moment. Keeps a session to itself meanwhile. */
  snapshot<T>(work: (db: Kysely<Tables>) => Promise<T>): Promise<T>;
  /** One transaction between two batches. Durable when it resolves; nothing is kept when `work` throws. */
  write<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<T>;
  /**
   * What `work` answers on a copy of the configuration, and nothing of it is kept. Nodes are not in the copy, nor what is
   * written down of them, nor the audit log's lines: statements that change them may run, what they answer may not count.
   */
  rehearse<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<T>;
  /**
   * `write` for much of the configuration at once: `work` runs on such a copy, maybe more than once, and what it has written
   * is then written here, if all is as it was there. Check-ins wait for the statements, not for what is read and thought.
   */
  writeRehearsed<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** One SQL session: what an engine's Kysely talks to. */
export interface SqlSession {
  query(sql: string, parameters: readonly unknown[]): Promise<SqlResult>;
}

export interface SqlResult {
  readonly rows: unknown[];
  readonly changes: number;
}

/** A statement, and the rows that it has answered before. */
export interface Recorded {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly rows: readonly unknown[];
}

/** Hands out sessions, one user at a time each. */
export interface SqlSessions {
  acquire(): Promise<SqlSession>;
  release(session: SqlSession): Promise<void>;
}

/** The database can't take it now (locked, full, unreachable): come back later; nothing was written. */
export class StoreUnavailable extends Error {
  override readonly name = "StoreUnavailable";
}
