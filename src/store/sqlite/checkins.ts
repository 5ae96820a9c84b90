/** The hot path on SQLite. */
import { randomUUID } from "node:crypto";
import type Database from "better-sqlite3";
import type { Kysely } from "kysely";
import { hasRelapsed, TALLY_KEYS } from "../../rollout/counters.ts";
import { noDownloads } from "../../rollout/downloads.ts";
import { withAbsence } from "../../rollout/habits.ts";
import type { Activity } from "../../rollout/model/activity.ts";
import type { Counters, GroupCounters, RolloutCounters } from "../../rollout/model/counters.ts";
import type { Fleet } from "../../rollout/model/fleet.ts";
import type { Node } from "../../rollout/model/node.ts";
import type { Changes } from "../../rollout/model/outcome.ts";
import { SLOT_MS } from "../census.ts";
import { countersAsTexts, toGroupCounters, toRolloutCounters } from "../counters.ts";
import { loadFleet } from "../fleet.ts";
import { keptFold } from "../folded.ts";
import { MIRRORS_KEPT } from "../mirroring.ts";
import { awayOf } from "../missed.ts";
import { recordChange, SYSTEM } from "../rollouts.ts";
import type { CheckInStore, DueNode, Durability, NodeKey, NodeWrite } from "../store.ts";
import type { Tables } from "../tables.ts";
import { NodeCounts, StatusSlots } from "./batch-sums.ts";
import { prepareCheckIns } from "./checkin-statements.ts";
import { translatingFaults } from "./connection.ts";
import { NodePlaces } from "./node-places.ts";
import { describing, type NodeRow, standing, toNode } from "./node-rows.ts";

const DAY_MS = 86_400_000;
const [NUMBER, APPLICATION, ID] = [0, 1, 2] as const; // of NODE_COLUMNS

/** `db` and `kysely` are the same connection: what Kysely reads, it reads inside the open transaction. */
export function sqliteCheckIns(db: Database.Database, kysely: Kysely<Tables>): CheckInStore {
  const sql = prepareCheckIns(db);
  const places = new NodePlaces();
  const nodeCounts = new NodeCounts();
  const statusSlots = new StatusSlots();
  let sync: Durability = "durable";

  /** FULL waits for the log to be on disk with each commit; NORMAL leaves it to the next one that does. */
  function setSync(durability: Durability): void {
    if (durability === sync) return;
    db.pragma(durability === "durable" ? "synchronous = FULL" : "synchronous = NORMAL");
    sync = durability;
  }

  function nodeRow({ id, applicationNo }: NodeKey): NodeRow | undefined {
    const known = places.find(id, applicationNo);
    const there = known === 0 ? undefined : sql.nodeByNumber.get(known);
    if (there !== undefined && there[ID] === id && there[APPLICATION] === applicationNo) return there;
    const row = sql.node.get(id, applicationNo);
    if (row !== undefined) places.remember(id, applicationNo, row[NUMBER]);
    return row;
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
      keptFold(node.id),
      keptFold(node.machineAlias),
    );
    nodeCounts.add(node, 1);
    return Number(lastInsertRowid);
  }

  /** An index is touched when a column of it is set, to whatever: so only what differs is set. */
  function updateNode(no: number, before: Node, node: Node): void {
    if (!describedAlike(before, node)) sql.describeNode.run(...describing(node), no);
    if (before.machineAlias !== node.machineAlias)
      sql.renameNode.run(node.machineAlias, keptFold(node.machineAlias), no);
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
        Number(hasRelapsed(grant)),
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
          const row = nodeRow(key);
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
        return { rollouts, groups, downloads: noDownloads() };
      });
    },

    async fetching() {
      return translatingFaults(() => sql.fetching.all());
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

    async writeCounters(counters) {
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

    async writeSeen(seen, { afterMs, heardSince }) {
      translatingFaults(() => {
        for (const [no, at, dueAt] of seen) {
          const before = sql.seen.get(no);
          if (before === undefined) {
            sql.insertSeen.run(at, dueAt, no);
            continue;
          }
          sql.updateSeen.run(at, dueAt, no);
          const [seenAt, wasDueAt, away] = before;
          const due = Math.max(seenAt, wasDueAt ?? 0);
          if (at - due <= afterMs || seenAt < heardSince) continue;
          sql.rememberAway.run(JSON.stringify(withAbsence(awayOf(away), due, at)), at, no);
        }
      });
    },
    async lastSeenAt() {
      return translatingFaults(() => sql.lastSeenAt.get() ?? null);
    },

    async writeMirrors(all) {
      translatingFaults(() => {
        for (const mirror of all) {
          const { address, groupId, arch, application, track, version, multiManifest, reason, leftOut } = mirror;
          sql.writeMirror.run(
            address,
            groupId ?? "",
            arch,
            application,
            track,
            version,
            multiManifest ? 1 : 0,
            reason,
            JSON.stringify(leftOut),
            mirror.firstAt,
            mirror.lastAt,
            mirror.asked,
          );
        }
        sql.dropMirrors.run(MIRRORS_KEPT);
      });
    },

    async changeRollout(rollout, change, counters, now) {
      await recordChange(kysely, rollout, change, counters, SYSTEM, now);
    },

    async stopUpdates(groupNo, stop) {
      translatingFaults(() => {
        sql.stopUpdates.run(JSON.stringify(stop), groupNo);
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

    async forgetSeenOnce(before, afterNo, limit, waits) {
      return translatingFaults(() => {
        const numbers = sql.nodeNumbers.all(afterNo, before, limit);
        for (const no of numbers) {
          const row = sql.seenOnce.get(no);
          if (row === undefined || waits(no)) continue;
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
    before.brokenQuotes === node.brokenQuotes &&
    before.formerBoots === node.formerBoots &&
    before.shared === node.shared
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
        before.grant.errorCode === node.grant.errorCode &&
        before.grant.watchedUntil === node.grant.watchedUntil))
  );
}
