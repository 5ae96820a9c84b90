/**
 * What is halted or aborted at the central server is so here, for as long as it is there. A rollout that has not begun, or that is
 * paused here, is left so, and halted when it would run: also without a link, and also when somebody here resumes it.
 */
import type { Db, Tx } from "../admin/context.ts";
import { CENTRAL } from "../admin/editor.ts";
import { appliedDocument, type SiteDocument } from "../admin/site-document.ts";
import type { Clock } from "../clock.ts";
import { archName } from "../fleet/document.ts";
import { emptyRolloutCounters } from "../rollout/counters.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { abort, type Change, goOn, halt } from "../rollout/run.ts";
import { loadCounters } from "../store/counters.ts";
import { loadParts } from "../store/fleet.ts";
import { recordChange } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";

type Stop = SiteDocument["stopped"][number];

/** How its reason begins, in the history here. */
const THERE = { halted: "halted at the central server", aborted: "aborted at the central server" } as const;

interface Move {
  readonly rollout: Rollout;
  readonly change: Change;
}

export class Stops {
  readonly #store: Store;
  readonly #clock: Clock;
  /** The configuration's, when it was last looked at: rollouts do not move without it. */
  #revision: number | null = null;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Costs next to nothing while nothing moves here. @throws RolloutMoved: somebody else was at it; look again. */
  async keep(): Promise<void> {
    const { revision } = await this.#store.read.selectFrom("meta").select("revision").executeTakeFirstOrThrow();
    if (revision === this.#revision) return;
    const now = this.#clock.now();
    if ((await this.#store.snapshot((db) => movesDue(db, now))).length > 0) {
      await this.#store.write(async (tx) => record(tx, await movesDue(tx, now), now));
    }
    this.#revision = revision;
  }
}

export async function followStops(tx: Tx, document: SiteDocument, now: number): Promise<void> {
  await record(tx, await movesFor(tx, document, now), now);
}

async function record(tx: Tx, moves: readonly Move[], now: number): Promise<void> {
  const { rollouts } = await loadCounters(
    tx,
    moves.map(({ rollout }) => rollout.no),
  );
  for (const { rollout, change } of moves) {
    const counters = rollouts.get(rollout.no) ?? emptyRolloutCounters();
    await recordChange(tx, rollout, change, counters, CENTRAL, now);
  }
}

/** By what was applied last. */
async function movesDue(db: Db, now: number): Promise<Move[]> {
  const document = await appliedDocument(db);
  return document === null ? [] : movesFor(db, document, now);
}

async function movesFor(db: Db, { stopped, fleet }: SiteDocument, now: number): Promise<Move[]> {
  const { groups, rollouts } = await loadParts(db);
  const groupIds = new Map(groups.map(({ no, id }) => [no, id]));
  const moves: Move[] = [];
  for (const rollout of rollouts) {
    if (rollout.undoes !== null) continue;
    const { version, arch } = rollout.package;
    const group = groupIds.get(rollout.groupNo) ?? "";
    const stop = stopped.find((one) => one.group === group && one.version === version && one.arch === archName(arch));
    if (stop === undefined && (rollout.state !== "halted" || !isRolledOut(fleet, group, version))) continue;
    const change = stop === undefined ? await setFree(db, rollout, now) : stoppedBy(stop, rollout, now);
    if (change !== null) moves.push({ rollout, change });
  }
  return moves;
}

/** Whether it is there at all. What is not is not resumed: the release may have been replaced, and its successor's files awaited here. */
function isRolledOut({ applications }: SiteDocument["fleet"], groupId: string, version: string): boolean {
  return applications.some(({ groups = [], channels = [] }) => {
    const follows = groups.find(({ id }) => id === groupId)?.channel;
    const channel = channels.find(({ name, arch }) => name === follows?.name && arch === follows?.arch);
    return channel?.package === version || channel?.floors?.some((floor) => floor.version === version) === true;
  });
}

function stoppedBy({ state, reason }: Stop, rollout: Rollout, now: number): Change | null {
  const why = `${THERE[state]}: ${reason}`;
  if (state === "halted") {
    return rollout.state === "running" || rollout.state === "completed" ? halt(rollout, now, why) : null;
  }
  return rollout.state === "aborted" || rollout.state === "superseded" ? null : abort(rollout, now, why);
}

/** What was halted from there goes on; what somebody here has halted does not, nor what a gate here has closed. */
async function setFree(db: Db, rollout: Rollout, now: number): Promise<Change | null> {
  return (await isHaltedFromThere(db, rollout)) ? goOn(rollout, now, "resumed at the central server") : null;
}

/** Somebody here may be called as it is; and a new plan, made while it is halted, halts nothing. */
async function isHaltedFromThere(db: Db, { no }: Rollout): Promise<boolean> {
  const line = await db
    .selectFrom("rollout_history")
    .select(["actor", "reason"])
    .where("rollout_no", "=", no)
    .where("to_state", "=", "halted")
    .where("from_state", "!=", "halted")
    .orderBy("no", "desc")
    .limit(1)
    .executeTakeFirst();
  return line?.actor === CENTRAL.name && line.reason.startsWith(THERE.halted);
}
