/**
 * Looks, every few minutes, who of those that have completed a rollout has fallen silent. Reads when nodes were last seen, on a
 * reader: no check-in knows of it.
 */
import type { RolloutCounters } from "../rollout/model/counters.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { compareSilence, NOBODY_WATCHED, type Silence } from "../rollout/silence.ts";
import { findSilence, lastSeenAt, weekBefore } from "../store/silence.ts";
import { moveSilentNodes, type SilenceRecord, silentNodesOf, writeSilence } from "../store/silence-record.ts";
import type { Store } from "../store/store.ts";
import type { Absence } from "./absence.ts";
import { Hearing } from "./hearing.ts";
import { type PollingOptions, quietMs, silentAfterMs } from "./polling.ts";

const MINUTE = 60_000;
/** Nodes ask every 45 minutes: looking more often tells nothing new. */
const EVERY_MS = 5 * MINUTE;
/** So many nodes are written in one transaction: check-ins wait for it. */
const WRITTEN_AT_ONCE = 1_000;

interface Looked {
  readonly at: number;
  readonly stateAt: number;
  readonly silence: Silence;
}

/** Since it began, or a person resumed it. What the gate has paused opens when those are heard again that it was paused for. */
function lookedAtSince({ state, stateAt, stageOpenedAt }: Rollout): number {
  return state === "paused" ? Math.min(stateAt, stageOpenedAt) : stateAt;
}

export class SilenceWatch {
  readonly #store: Store;
  readonly #silentAfterMs: number;
  readonly #quietMs: number;
  readonly #hearing: Hearing;
  readonly #looked = new Map<number, Looked>();
  /** What was written of each rollout last, but for the time. */
  readonly #written = new Map<number, string>();
  #heardAt = Number.NEGATIVE_INFINITY;
  #allHeard = false;

  /** @param absence that came before the start. */
  constructor(store: Store, absence: Absence | null, polling: PollingOptions) {
    this.#store = store;
    this.#silentAfterMs = silentAfterMs(polling);
    this.#quietMs = quietMs(polling);
    this.#hearing = new Hearing(this.#quietMs);
    if (absence !== null) this.#hearing.resumed(absence.to);
  }

  /**
   * So long after a node was due it is missed. Null: nobody can be missed now, since nodes could not be heard for a while, or
   * have not had the time to be heard again.
   */
  async missedAfterMs(now: number): Promise<number | null> {
    if (now - this.#heardAt >= MINUTE || now < this.#heardAt) {
      const last = await lastSeenAt(this.#store.read);
      if (last !== null) this.#hearing.heard(last);
      const isQuiet = last === null || now - last > this.#quietMs;
      this.#allHeard = !isQuiet && now >= this.#hearing.since + this.#silentAfterMs;
      this.#heardAt = now;
    }
    return this.#allHeard ? this.#silentAfterMs : null;
  }

  /** Who of the rollout's nodes is silent. Null: nobody can tell now. */
  async of(rollout: Rollout, counters: RolloutCounters, now: number): Promise<Silence | null> {
    const { health } = rollout.strategy;
    if (health === null || health.silence === null || rollout.state === "scheduled") return NOBODY_WATCHED;
    const known = this.#looked.get(rollout.no);
    const isFresh = known !== undefined && now - known.at < EVERY_MS && now >= known.at;
    if (isFresh && known.stateAt === rollout.stateAt) return known.silence;
    if (counters.total.complete < health.minFinished) return NOBODY_WATCHED;
    const afterMs = await this.missedAfterMs(now);
    return afterMs === null ? null : this.#look(rollout, health.minFinished, afterMs, now);
  }

  async #look(rollout: Rollout, minNodes: number, silentAfterMs: number, now: number): Promise<Silence> {
    const since = lookedAtSince(rollout);
    const { cells, silent } = await this.#store.snapshot((db) =>
      findSilence(db, { rollout, since, silentAfterMs, now }),
    );
    const before = await weekBefore(this.#store.read, rollout.groupNo, since, minNodes);
    const silence = { cells, weekBefore: before };
    this.#looked.set(rollout.no, { at: now, stateAt: rollout.stateAt, silence });
    const compared = compareSilence(rollout, silence);
    await this.#write(rollout.no, { at: now, silentAfterMs, silent: silent.length, compared }, silent);
    return silence;
  }

  async #write(rolloutNo: number, record: SilenceRecord, silent: readonly number[]): Promise<void> {
    const before = new Set(await silentNodesOf(this.#store.read, rolloutNo));
    const now = new Set(silent);
    const more = silent.filter((no) => !before.has(no));
    const less = [...before].filter((no) => !now.has(no));
    const text = JSON.stringify({ ...record, at: 0 });
    // Of those that are still silent, the time says that nobody has heard them up to then.
    const isNews = more.length + less.length + silent.length > 0 || this.#written.get(rolloutNo) !== text;
    if (!isNews) return;
    for (let from = 0; from < Math.max(more.length, less.length, 1); from += WRITTEN_AT_ONCE) {
      const to = from + WRITTEN_AT_ONCE;
      await this.#store.write(async (tx) => {
        await moveSilentNodes(tx, rolloutNo, more.slice(from, to), less.slice(from, to));
        await writeSilence(tx, rolloutNo, record);
      });
    }
    this.#written.set(rolloutNo, text);
  }

  forgetAllBut(rolloutNos: ReadonlySet<number>): void {
    for (const known of [this.#looked, this.#written]) {
      for (const no of known.keys()) if (!rolloutNos.has(no)) known.delete(no);
    }
  }
}
