/**
 * Fleets of which some machines are switched off each night, and releases of known quality, against the real rule about silence:
 * how often a good release is halted, and how many nodes one reaches that dies an hour after it came up.
 */
import { OWN_PACE, silentAfterMs } from "../../src/checkin/polling.ts";
import { type Away, HABIT_MS, missedFrom } from "../../src/rollout/habits.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import { silenced } from "../../src/rollout/run.ts";
import type { Heard, Silence, SilenceCell } from "../../src/rollout/silence.ts";
import type { StrategyDocument } from "../../src/rollout/strategy.ts";
import { aStagedFleet, HOUR, MINUTE } from "./builders.ts";

const DAY = 24 * HOUR;
const POLL = 45 * MINUTE;
/** After it is switched on, a node's first check comes so much later. */
const FIRST = 7 * MINUTE;
/** So often the server looks; the real one does so every five minutes. */
const STEP = 15 * MINUTE;
const SILENT_AFTER = silentAfterMs(OWN_PACE);

export interface SilenceScenario {
  readonly nodes: number;
  /** Of the nodes, 0 to 1, those that are switched off each night, from about 19:00 to 07:00. */
  readonly switchedOff: number;
  /** Also from Friday evening to Monday. */
  readonly weekends?: boolean;
  /** Whether the first stages are made of the nodes that are switched off: a test lab, say. */
  readonly labFirst?: boolean;
  /** For so long the server has known the fleet. */
  readonly knownDays: number;
  readonly strategy: StrategyDocument;
  /** Of the nodes that have the release, 0 to 1, those that die an hour after they came up with it. */
  readonly die: number;
}

export interface SilenceFigure {
  readonly runs: number;
  /** Of all runs, 0 to 1. */
  readonly halted: number;
  /** Of the runs that were halted: nodes that had died, or were to, by then. */
  readonly medianLost: number;
  readonly mostLost: number;
  /** How long after the release began. */
  readonly medianHours: number;
}

export function silenceFigure(scenario: SilenceScenario, runs: number): SilenceFigure {
  const random = generator(1);
  const halts: { lost: number; after: number }[] = [];
  for (let run = 0; run < runs; run += 1) {
    const halt = new Run(scenario, random).halt();
    if (halt !== null) halts.push(halt);
  }
  const lost = halts.map((halt) => halt.lost).sort((a, b) => a - b);
  const hours = halts.map(({ after }) => after / HOUR).sort((a, b) => a - b);
  const middle = Math.floor(halts.length / 2);
  return {
    runs,
    halted: halts.length / runs,
    medianLost: lost[middle] ?? 0,
    mostLost: lost.at(-1) ?? 0,
    medianHours: hours[middle] ?? 0,
  };
}

/** When a machine is switched on and off on a day; null: it stays off. */
type Day = { readonly on: number; readonly off: number } | null;

/** A machine, and when it is on. Times are from the midnight before the server knew it; that day is a Monday. */
class Machine {
  readonly oem: string;
  readonly position: number;
  readonly #phase: number;
  /** Null: it is never off. */
  readonly #days: readonly Day[] | null;
  /** When it was away. */
  readonly #away: [from: number, to: number][] = [];
  /** When it was back with the release. */
  updatedAt: number | null = null;
  diesAt = Number.POSITIVE_INFINITY;

  constructor(oem: string, position: number, days: readonly Day[] | null, phase: number) {
    this.oem = oem;
    this.position = position;
    this.#days = days;
    this.#phase = phase;
    let before: Day = null;
    for (const day of days ?? []) {
      if (day === null) continue;
      if (before !== null) this.#away.push([lastPoll(before.on + FIRST, before.off), day.on + FIRST]);
      before = day;
    }
  }

  isOn(at: number): boolean {
    if (this.#days === null) return true;
    const day = this.#days[Math.floor(at / DAY)];
    return day != null && day.on <= at && at < day.off;
  }

  /** When the server has heard it last. */
  seenAt(now: number): number {
    const at = Math.min(now, this.diesAt);
    if (this.#days === null) {
      return lastPoll(this.updatedAt !== null && this.updatedAt <= at ? this.updatedAt : this.#phase - POLL, at);
    }
    for (let index = Math.floor(at / DAY); index >= 0; index -= 1) {
      const day = this.#days[index];
      if (day != null && day.on + FIRST <= at) return lastPoll(day.on + FIRST, Math.min(at, day.off));
    }
    return 0;
  }

  /** When it is missed, by all that the server has heard of it; null: nobody can say. */
  missedFrom(now: number): number | null {
    return missedFrom(
      { createdAt: 0, seenAt: this.seenAt(now), dueAt: null, away: this.#awayUntil(now) },
      now,
      SILENT_AFTER,
    );
  }

  /** Whether it is never away, as far as is known. */
  isSteady(now: number): boolean {
    return this.#awayUntil(now).length === 0;
  }

  #awayUntil(now: number): Away {
    return this.#away.filter(([, back]) => back > now - HABIT_MS && back <= Math.min(now, this.diesAt));
  }
}

function lastPoll(first: number, at: number): number {
  return first + Math.floor((at - first) / POLL) * POLL;
}

class Run {
  readonly #scenario: SilenceScenario;
  readonly #machines: readonly Machine[];
  readonly #start: number;
  readonly #random: () => number;
  #rollout: Rollout;

  constructor(scenario: SilenceScenario, random: () => number) {
    this.#scenario = scenario;
    this.#random = random;
    this.#start = scenario.knownDays * DAY + Math.floor((8 + random() * 10) * HOUR);
    this.#machines = machines(scenario, random);
    const [rollout] = aStagedFleet(scenario.strategy, { stateAt: this.#start, stageOpenedAt: this.#start }).rollouts;
    if (rollout === undefined) throw new Error("no rollout");
    this.#rollout = rollout;
  }

  /** When it is halted; null: it goes through. */
  halt(): { lost: number; after: number } | null {
    const weekBefore = this.#weekBefore();
    let bakingSince: number | null = null;
    for (let now = this.#start; now < this.#start + 7 * DAY; now += STEP) {
      const { stages } = this.#rollout.strategy;
      const stage = stages[this.#rollout.stage];
      if (stage === undefined) break;
      const waiting = this.#machines.filter((one) => one.updatedAt === null && one.position < stage.percent);
      for (const machine of waiting) this.#update(machine, now);
      const change = silenced(this.#rollout, this.#silence(now, weekBefore), now);
      if (change !== null) {
        this.#rollout = { ...this.#rollout, ...change.next };
        if (this.#rollout.state === "halted") return { lost: this.#lost(), after: now - this.#start };
        continue;
      }
      // Nodes that are off are waited for as long as they were seen within a day.
      if (bakingSince === null && waiting.every((one) => one.updatedAt !== null)) bakingSince = now;
      if (bakingSince === null || now < bakingSince + stage.bakeMs) continue;
      if (this.#rollout.stage === stages.length - 1) break;
      this.#rollout = { ...this.#rollout, stage: this.#rollout.stage + 1 };
      bakingSince = null;
    }
    return null;
  }

  /** Asks within a poll interval, if it is on, and is back ten minutes later. */
  #update(machine: Machine, now: number): void {
    if (!machine.isOn(now) || this.#random() > STEP / POLL) return;
    machine.updatedAt = now + 10 * MINUTE;
    if (this.#random() < this.#scenario.die) machine.diesAt = machine.updatedAt + HOUR;
  }

  #lost(): number {
    return this.#machines.filter(({ diesAt }) => diesAt < Number.POSITIVE_INFINITY).length;
  }

  #silence(now: number, weekBefore: Heard | null): Silence {
    const cells = new Map<string, { [K in "complete" | "today" | "others" | "steady"]: { nodes: number; silent: number } } & Pick<SilenceCell, "cell">>(); // biome-ignore format: one line
    for (const machine of this.#machines) {
      let counted = cells.get(machine.oem);
      if (counted === undefined) {
        counted = {
          cell: { oem: machine.oem, arch: 1 },
          complete: heard(),
          today: heard(),
          others: heard(),
          steady: heard(),
        };
        cells.set(machine.oem, counted);
      }
      const missedAt = machine.missedFrom(now);
      if (machine.updatedAt === null) {
        add(counted.others, missedAt, this.#start, now);
        if (machine.isSteady(now)) add(counted.steady, missedAt, this.#start, now);
      } else if (machine.updatedAt <= now) {
        add(counted.complete, missedAt, this.#start, now);
        add(counted.today, missedAt, Math.max(this.#start, now - DAY), now);
      }
    }
    return { cells: [...cells.values()], weekBefore };
  }

  #weekBefore(): Heard | null {
    if (this.#scenario.knownDays < 8) return null;
    let worst: Heard | null = null;
    for (let at = this.#start - 7 * DAY; at < this.#start; at += HOUR) {
      const all = heard();
      for (const machine of this.#machines) if (machine.isSteady(at)) add(all, machine.missedFrom(at), at - DAY, at);
      if (worst === null || all.silent * worst.nodes > worst.silent * all.nodes) worst = all;
    }
    return worst;
  }
}

const heard = () => ({ nodes: 0, silent: 0 });

function add(to: { nodes: number; silent: number }, missedAt: number | null, since: number, now: number): void {
  if (missedAt === null || missedAt < since) return;
  to.nodes += 1;
  if (missedAt < now) to.silent += 1;
}

const OEMS = ["azure", "qemu", "gce", "vmware"];

function machines(scenario: SilenceScenario, random: () => number): Machine[] {
  const { nodes, switchedOff, weekends = false, labFirst = false, knownDays } = scenario;
  const around = (hour: number) => (hour + random() - 0.5) * HOUR;
  const aDay = (day: number): Day => {
    return weekends && day % 7 >= 5 ? null : { on: day * DAY + around(7), off: day * DAY + around(19) };
  };
  const order = Array.from({ length: nodes }, (_, index) => {
    const isOff = index < nodes * switchedOff;
    return { isOff, key: random() - (labFirst && isOff ? 1 : 0) };
  });
  order.sort((a, b) => a.key - b.key);
  return order.map(({ isOff }, index) => {
    const days = isOff ? Array.from({ length: knownDays + 9 }, (_, day) => aDay(day)) : null;
    const oem = OEMS[Math.floor(random() * OEMS.length)] ?? "";
    return new Machine(oem, (index * 100) / nodes, days, random() * POLL);
  });
}

/** Mulberry32: small, and good enough to throw dice. 0 to 1. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
