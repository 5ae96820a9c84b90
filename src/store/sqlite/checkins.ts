/** The hot path on SQLite: prepared statements, one a place. */
import { randomUUID } from "node:crypto";
import type Database from "better-sqlite3";
import type { Kysely } from "kysely";
import { TALLY_KEYS } from "../../rollout/counters.ts";
import type { Activity, Changes, Counters, Fleet, GroupCounters, Node, RolloutCounters } from "../../rollout/model.ts";
import { SLOT_MS } from "../census.ts";
import { type CountersRow, countersAsTexts, toGroupCounters, toRolloutCounters } from "../counters.ts";
import { loadFleet } from "../fleet.ts";
import { recordChange, SYSTEM } from "../rollouts.ts";
import type { CheckInStore, DueNode, Durability, NodeKey, NodeWrite } from "../store.ts";
import type { Tables } from "../tables.ts";
import { translatingFaults } from "./connection.ts";
import { describing, NODE_COLUMNS, type NodeRow, standing, toNode } from "./node-rows.ts";

const DAY_MS = 86_400_000;

/** `db` and `kysely` are the same connection: what Kysely reads, it reads inside the open transaction. */
export function sqliteCheckIns(db: Database.Database, kysely: Kysely<Tables>): CheckInStore {
  const sql = prepareAll(db);
  const nodeCounts = new NodeCounts();
  const statusSlots = new StatusSlots();
  let sync: Durability = "durable";

  /** FULL waits for the log to be on disk with each commit; NORMAL leaves it to the next one that does. */
  function setSync(durability: Durability): void {
    if (durability === sync) return;
    db.pragma(durability === "durable" ? "synchronous = FULL" : "synchronous = NORMAL");
    sync = durability;
  }

  function insertNode(node: Node): number {
    const { lastInsertRowid } = sql.insertNode.run(
      node.id,
      node.applicationNo,
      node.groupNo,
      node.version,
      node.createdAt,
      node.machineAlias,
      node.ip,
      ...describing(node),
      ...standing(node),
    );
    nodeCounts.add(node, 1);
    return Number(lastInsertRowid);
  }

  /** An index is touched when a column of it is set, to whatever: so only what differs is set. */
  function updateNode(no: number, before: Node, node: Node): void {
    if (!describedAlike(before, node)) sql.describeNode.run(...describing(node), no);
    if (before.machineAlias !== node.machineAlias) sql.renameNode.run(node.machineAlias, no);
    if (before.ip !== node.ip) sql.readdressNode.run(node.ip, no);
    if (before.groupNo !== node.groupNo) sql.regroupNode.run(node.groupNo, no);
    if (standsAlike(before, node)) {
      if (before.grant?.bootId !== node.grant?.bootId) sql.rebootNode.run(node.grant?.bootId ?? null, no);
      return;
    }
    sql.moveNode.run(node.version, ...standing(node), no);
    nodeCounts.add(before, -1);
    nodeCounts.add(node, 1);
  }

  function appendLogs(no: number, changes: Changes): void {
    for (const event of changes.events) {
      sql.insertEvent.run(
        no,
        event.at,
        event.type,
        event.result,
        event.errorCode,
        event.version,
        event.previousVersion,
      );
    }
    for (const step of changes.transitions) {
      statusSlots.add(step);
      sql.insertHistory.run(no, step.at, step.to, step.version, step.groupNo, step.rolloutNo, step.errorCode);
    }
    for (const { grant, status, endedAt } of changes.pastGrants) {
      sql.insertPastGrant.run(
        grant.rolloutNo,
        no,
        status,
        grant.version,
        grant.grantedAt,
        endedAt,
        grant.attempt,
        grant.errorCode,
        grant.failure,
        grant.cell,
      );
    }
  }

  return {
    async begin(durability) {
      setSync(durability);
      translatingFaults(() => sql.begin.run());
    },
    async commit() {
      translatingFaults(() => sql.commit.run());
      setSync("durable");
    },
    async rollback() {
      nodeCounts.clear();
      statusSlots.clear();
      if (db.inTransaction) db.exec("ROLLBACK");
      setSync("durable");
    },

    async revision() {
      return translatingFaults(() => sql.revision.get() ?? 0);
    },
    fleet(): Promise<Fleet> {
      return loadFleet(kysely);
    },

    async nodes(keys: readonly NodeKey[]) {
      return translatingFaults(() =>
        keys.map((key) => {
          const row = sql.node.get(key.id, key.applicationNo);
          return row === undefined ? null : toNode(row);
        }),
      );
    },

    async counters(rolloutNos, groupNos): Promise<Counters> {
      return translatingFaults(() => {
        const rollouts = new Map<number, RolloutCounters>();
        for (const no of rolloutNos) {
          const row = sql.rolloutCounters.get(no);
          if (row !== undefined) rollouts.set(no, toRolloutCounters(row));
        }
        const groups = new Map<number, GroupCounters>();
        for (const no of groupNos) {
          groups.set(no, toGroupCounters(sql.groupCounters.get(no)));
        }
        return { rollouts, groups };
      });
    },

    async writeNodes(writes: readonly NodeWrite[]) {
      return translatingFaults(() => {
        const made = new Map<string, number>();
        const numbers = writes.map(({ before, changes }) => {
          const node = changes.node;
          if (node === null) return 0;
          const key = `${node.applicationNo} ${node.id}`;
          const no = node.no || before?.no || made.get(key) || insertNode(node);
          if (before === null) made.set(key, no);
          else if (before !== node) updateNode(no, before, node);
          appendLogs(no, changes);
          return no;
        });
        nodeCounts.flush((groupNo, version, status, delta) => {
          sql.moveNodeCount.run(groupNo, version, status, delta);
          if (delta < 0) sql.dropEmptyNodeCount.run(groupNo, version, status);
        });
        statusSlots.flush((slot) => sql.addStatusSlot.run(...slot));
        return numbers;
      });
    },

    async writeCounters(counters: Counters) {
      translatingFaults(() => {
        for (const [no, rollout] of counters.rollouts) {
          const { cells, causes } = countersAsTexts(rollout);
          sql.writeRolloutCounters.run(...TALLY_KEYS.map((key) => rollout.total[key]), cells, causes, no);
        }
        for (const [no, { inFlight, slices }] of counters.groups) {
          sql.writeGroupCounters.run(
            no,
            inFlight,
            JSON.stringify(slices.map((slice) => [slice.startsAt, slice.count])),
          );
        }
      });
    },

    async writeSeen(seen) {
      translatingFaults(() => {
        for (const [no, at] of seen) {
          if (sql.updateSeen.run(at, no).changes === 0) sql.insertSeen.run(at, no);
        }
      });
    },

    async changeRollout(rollout, change, counters, now) {
      await recordChange(kysely, rollout, change, counters, SYSTEM, now);
    },

    async disableUpdates(groupNo) {
      translatingFaults(() => {
        sql.disableUpdates.run(groupNo);
        sql.moveRevision.run();
      });
    },

    async writeActivity(activity: Activity, instanceId: string | null) {
      translatingFaults(() => {
        const { at, class: kind, severity, applicationNo, groupNo, channelNo, version } = activity;
        if (activity.oncePerDay && sql.recentActivity.get(groupNo, kind, version, at - DAY_MS) !== undefined) return;
        sql.insertActivity.run(
          randomUUID(),
          at,
          kind,
          severity,
          applicationNo,
          groupNo,
          channelNo,
          instanceId,
          version,
        );
      });
    },

    async dueNodes(now, limit): Promise<DueNode[]> {
      return translatingFaults(() =>
        sql.dueNodes.all(now, limit).map((row) => {
          const lastSeenAt = Number(row.pop());
          return { node: toNode(row as unknown as NodeRow), lastSeenAt };
        }),
      );
    },

    async deleteHistory(before, limit) {
      return translatingFaults(
        () =>
          sql.deleteOld.reduce((deleted, statement) => deleted + statement.run(before, limit).changes, 0) +
          sql.deleteOldSlots.reduce(
            (deleted, statement) => deleted + statement.run(before / SLOT_MS, limit).changes,
            0,
          ),
      );
    },

    async forgetSeenOnce(before, afterNo, limit) {
      return translatingFaults(() => {
        const numbers = sql.nodeNumbers.all(afterNo, before, limit);
        for (const no of numbers) {
          const row = sql.seenOnce.get(no);
          if (row === undefined) continue;
          const node = toNode(row);
          for (const statement of sql.forgetNode) statement.run(no);
          nodeCounts.add(node, -1);
        }
        nodeCounts.flush((groupNo, version, status, delta) => {
          sql.moveNodeCount.run(groupNo, version, status, delta);
          sql.dropEmptyNodeCount.run(groupNo, version, status);
        });
        return numbers.length < limit ? null : (numbers.at(-1) ?? null);
      });
    },

    async close() {
      db.close();
    },
  };
}

function describedAlike(before: Node, node: Node): boolean {
  return (
    before.arch === node.arch &&
    before.oem === node.oem &&
    before.oemVersion === node.oemVersion &&
    before.alephVersion === node.alephVersion &&
    before.bootId === node.bootId &&
    before.brokenQuotes === node.brokenQuotes
  );
}

/** Whether a node stands where it stood; the boot that its grant was given in may be another. */
function standsAlike(before: Node, node: Node): boolean {
  return (
    before.version === node.version &&
    before.groupNo === node.groupNo &&
    before.status === node.status &&
    (before.grant === node.grant ||
      (before.grant !== null &&
        node.grant !== null &&
        before.grant.deadline === node.grant.deadline &&
        before.grant.grantedAt === node.grant.grantedAt &&
        before.grant.rolloutNo === node.grant.rolloutNo &&
        before.grant.attempt === node.grant.attempt &&
        before.grant.errorCode === node.grant.errorCode))
  );
}

/** What a batch does to `node_counts`, summed up so that each row is written once. */
class NodeCounts {
  readonly #deltas = new Map<string, { groupNo: number; version: string; status: string; delta: number }>();

  add({ groupNo, version, status }: Node, delta: number): void {
    const key = `${groupNo} ${status} ${version}`;
    const entry = this.#deltas.get(key);
    if (entry === undefined) this.#deltas.set(key, { groupNo, version, status, delta });
    else entry.delta += delta;
  }

  flush(write: (groupNo: number, version: string, status: string, delta: number) => void): void {
    for (const { groupNo, version, status, delta } of this.#deltas.values()) {
      if (delta !== 0) write(groupNo, version, status, delta);
    }
    this.#deltas.clear();
  }

  clear(): void {
    this.#deltas.clear();
  }
}

/** How many nodes of a batch came to which status, summed up so that each row is written once. */
class StatusSlots {
  readonly #entries = new Map<string, { slot: readonly [number, number, string, string]; entries: number }>();

  add({ groupNo, at, to, version }: Changes["transitions"][number]): void {
    const slot = [groupNo, Math.floor(at / SLOT_MS), to, version] as const;
    const key = slot.join(" ");
    const entry = this.#entries.get(key);
    if (entry === undefined) this.#entries.set(key, { slot, entries: 1 });
    else entry.entries += 1;
  }

  flush(write: (row: readonly [number, number, string, string, number]) => void): void {
    for (const { slot, entries } of this.#entries.values()) write([...slot, entries]);
    this.#entries.clear();
  }

  clear(): void {
    this.#entries.clear();
  }
}

function prepareAll(db: Database.Database) {
  const columns = NODE_COLUMNS.map((column) => `nodes.${column}`).join(", ");
  return {
    begin: db.prepare("BEGIN"),
    commit: db.prepare("COMMIT"),
    revision: db.prepare<[], number>("SELECT revision FROM meta").pluck(),
    moveRevision: db.prepare<[]>("UPDATE meta SET revision = revision + 1"),
    node: db
      .prepare<[string, number], NodeRow>(`SELECT ${columns} FROM nodes WHERE id = ? AND application_no = ?`)
      .raw(),
    insertNode: db.prepare<unknown[]>(`
      INSERT INTO nodes (
        id, application_no, group_no, version, created_at, machine_alias, ip,
        arch, oem, oem_version, aleph_version, boot_id, broken_quotes,
        status, status_at,
        rollout_no, grant_group_no, grant_version, from_version, needs_reboot, granted_at, attempt, grant_boot_id, deadline, error_code,
        failure, cell
      ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    describeNode: db.prepare<unknown[]>(`
      UPDATE nodes
      SET arch = ?, oem = ?, oem_version = ?, aleph_version = ?, boot_id = ?, broken_quotes = ?
      WHERE no = ?`),
    renameNode: db.prepare<[string, number]>("UPDATE nodes SET machine_alias = ? WHERE no = ?"),
    readdressNode: db.prepare<[string, number]>("UPDATE nodes SET ip = ? WHERE no = ?"),
    regroupNode: db.prepare<[number, number]>("UPDATE nodes SET group_no = ? WHERE no = ?"),
    rebootNode: db.prepare<[string | null, number]>("UPDATE nodes SET grant_boot_id = ? WHERE no = ?"),
    moveNode: db.prepare<unknown[]>(`
      UPDATE nodes
      SET version = ?, status = ?, status_at = ?,
          rollout_no = ?, grant_group_no = ?, grant_version = ?, from_version = ?, needs_reboot = ?, granted_at = ?, attempt = ?,
          grant_boot_id = ?, deadline = ?, error_code = ?, failure = ?, cell = ?
      WHERE no = ?`),
    insertEvent: db.prepare<unknown[]>(`
      INSERT INTO events (node_no, at, type, result, error_code, version, previous_version)
      VALUES (?, ?, ?, ?, ?, ?, ?)`),
    insertHistory: db.prepare<unknown[]>(`
      INSERT INTO status_history (node_no, at, status, version, group_no, rollout_no, error_code)
      VALUES (?, ?, ?, ?, ?, ?, ?)`),
    insertPastGrant: db.prepare<unknown[]>(`
      INSERT INTO past_grants (rollout_no, node_no, status, version, granted_at, ended_at, attempt, error_code, failure, cell)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    rolloutCounters: db.prepare<[number], CountersRow>(`
      SELECT granted, downloading, downloaded, installed, complete, failed, timed_out, rolled_back, lost, withdrawn, retrying,
             cells, causes
      FROM rollout_counters
      WHERE rollout_no = ?`),
    writeRolloutCounters: db.prepare<unknown[]>(`
      UPDATE rollout_counters
      SET granted = ?, downloading = ?, downloaded = ?, installed = ?, complete = ?, failed = ?,
          timed_out = ?, rolled_back = ?, lost = ?, withdrawn = ?, retrying = ?, cells = ?, causes = ?
      WHERE rollout_no = ?`),
    groupCounters: db.prepare<[number], { in_flight: number; slices: string }>(`
      SELECT in_flight, slices
      FROM group_counters
      WHERE group_no = ?`),
    writeGroupCounters: db.prepare<unknown[]>(`
      INSERT INTO group_counters (group_no, in_flight, slices)
      VALUES (?, ?, ?)
      ON CONFLICT (group_no) DO UPDATE SET in_flight = excluded.in_flight, slices = excluded.slices`),
    moveNodeCount: db.prepare<unknown[]>(`
      INSERT INTO node_counts (group_no, version, status, count)
      VALUES (?, ?, ?, ?)
      ON CONFLICT (group_no, version, status) DO UPDATE SET count = count + excluded.count`),
    dropEmptyNodeCount: db.prepare<unknown[]>(`
      DELETE FROM node_counts
      WHERE group_no = ? AND version = ? AND status = ? AND count <= 0`),
    addStatusSlot: db.prepare<unknown[]>(`
      INSERT INTO status_slots (group_no, slot, status, version, entries)
      VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (group_no, slot, status, version) DO UPDATE SET entries = entries + excluded.entries`),
    updateSeen: db.prepare<[number, number]>("UPDATE seen SET at = ? WHERE node_no = ?"),
    // A mark may have waited while somebody deleted its node.
    insertSeen: db.prepare<[number, number]>(`
      INSERT INTO seen (node_no, at)
      SELECT no, ? FROM nodes
      WHERE no = ?`),
    disableUpdates: db.prepare<[number]>("UPDATE groups SET policy_updates_enabled = 0 WHERE no = ?"),
    recentActivity: db
      .prepare<[number | null, number, string, number], number>(`
      SELECT no FROM activity
      WHERE group_no IS ? AND class = ? AND version = ? AND at > ?
      LIMIT 1`)
      .pluck(),
    insertActivity: db.prepare<unknown[]>(`
      INSERT INTO activity (id, at, class, severity, application_no, group_no, channel_no, instance_id, version)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    dueNodes: db
      .prepare<[number, number], unknown[]>(`
      SELECT ${columns}, COALESCE(seen.at, nodes.created_at)
      FROM nodes
      LEFT JOIN seen ON seen.node_no = nodes.no
      WHERE nodes.deadline <= ?
      ORDER BY nodes.deadline
      LIMIT ?`)
      .raw(),
    // The oldest rows come first in each of these tables, so the search ends with the first row that is young enough.
    deleteOld: ["events", "status_history", "activity"]
      .map((table) =>
        db.prepare<[number, number]>(`
        DELETE FROM ${table}
        WHERE at < ? AND no <= (SELECT min(no) FROM ${table}) + ?`),
      )
      .concat(
        // Of the rollouts that still stand, they are what the counters can be counted from again.
        db.prepare<[number, number]>(`
        DELETE FROM past_grants
        WHERE no IN (
          SELECT no FROM past_grants
          WHERE ended_at < ? AND rollout_no NOT IN (SELECT no FROM rollouts WHERE present = 1)
          ORDER BY no
          LIMIT ?)`),
        // Deliveries that still wait are none of the history yet.
        db.prepare<[number, number]>(`
        DELETE FROM webhook_deliveries
        WHERE at < ? AND due_at IS NULL AND no <= (SELECT min(no) FROM webhook_deliveries) + ?`),
      ),
    deleteOldSlots: ["status_slots", "census"].map((table) =>
      db.prepare<[number, number]>(`
        DELETE FROM ${table}
        WHERE slot < ? AND slot < (SELECT min(slot) FROM ${table}) + ?`),
    ),
    nodeNumbers: db
      .prepare<[number, number, number], number>(`
      SELECT no FROM nodes
      WHERE no > ? AND created_at < ?
      ORDER BY no
      LIMIT ?`)
      .pluck(),
    seenOnce: db
      .prepare<[number], NodeRow>(`
      SELECT ${columns} FROM nodes
      JOIN seen ON seen.node_no = nodes.no
      WHERE nodes.no = ? AND seen.at <= nodes.created_at AND nodes.rollout_no IS NULL
        AND nodes.alias = '' AND nodes.held IS NULL AND nodes.own_group IS NULL AND nodes.labels IS NULL`)
      .raw(),
    forgetNode: [
      "DELETE FROM nodes WHERE no = ?",
      "DELETE FROM seen WHERE node_no = ?",
      "DELETE FROM events WHERE node_no = ?",
      "DELETE FROM status_history WHERE node_no = ?",
      // They stay counted in their rollouts; the number may be another node's one day.
      "UPDATE past_grants SET node_no = 0 WHERE node_no = ?",
    ].map((statement) => db.prepare<[number]>(statement)),
  };
}
