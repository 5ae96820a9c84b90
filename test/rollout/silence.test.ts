import { describe, expect, it } from "vitest";
import { emptyRolloutCounters } from "../../src/rollout/counters.ts";
import type { Arch } from "../../src/rollout/model/arch.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import { due, type Members, silenced } from "../../src/rollout/run.ts";
import {
  compareSilence,
  describeSilence,
  type Heard,
  lowerBoundOfDifference,
  NOBODY_WATCHED,
  type Silence,
  type SilenceCell,
  silenceBreaches,
} from "../../src/rollout/silence.ts";
import type { HealthDocument } from "../../src/rollout/strategy.ts";
import { aFleet, aStagedFleet, HOUR, NOON } from "./builders.ts";
import { type SilenceScenario, silenceFigure } from "./silence-figures.ts";

function aRollout(health: HealthDocument = {}, changes: Partial<Rollout> = {}): Rollout {
  const [rollout] = aStagedFleet({ health }, changes).rollouts;
  if (rollout === undefined) throw new Error("no rollout");
  return rollout;
}

/** e.g. "3/10": of ten nodes three are silent. */
function heard(text: string): Heard {
  const [silent = 0, nodes = 0] = text.split("/").map(Number);
  return { nodes, silent };
}

interface Cell {
  readonly complete: string;
  readonly others?: string;
  readonly steady?: string;
  readonly today?: string;
  readonly oem?: string;
  readonly arch?: Arch;
}
function silence(cells: readonly Cell[], weekBefore: string | null = null): Silence {
  return {
    weekBefore: weekBefore === null ? null : heard(weekBefore),
    cells: cells.map(
      ({ complete, others = "0/0", steady = others, today = complete, oem = "azure", arch = 1 }): SilenceCell => ({
        cell: { oem, arch },
        complete: heard(complete),
        today: heard(today),
        others: heard(others),
        steady: heard(steady),
      }),
    ),
  };
}

describe("the lower bound of the difference", () => {
  // Worked out by hand: Newcombe's method with Wilson's bounds, z = 3.29.
  it.each([
    ["5/5", "0/1000", 0.316],
    ["5/5", "0/5", 0.033],
    ["6/6", "0/6", 0.09],
    ["50/100", "0/1000", 0.343],
    ["20/100", "20/100", -0.186],
    ["12/100", "1/1000", 0.047],
  ])("%s silent against %s", (one, other, bound) => {
    expect(lowerBoundOfDifference(heard(one), heard(other))).toBeCloseTo(bound, 2);
  });
});

describe("silence after success", () => {
  const breaches = (cells: readonly Cell[], weekBefore: string | null = null, rollout = aRollout()) =>
    silenceBreaches(rollout, silence(cells, weekBefore));

  it("is a breach when it is more among those that have the release than among the others", () => {
    expect(breaches([{ complete: "10/10", others: "0/1000" }])).toMatchObject([{ slice: null, against: "others" }]);
    expect(breaches([{ complete: "2/10", others: "0/1000" }])).toEqual([]);
    expect(breaches([{ complete: "20/100", others: "200/1000" }])).toEqual([]);
    expect(breaches([{ complete: "50/100", others: "200/1000" }])).toHaveLength(1);
  });

  it("needs enough nodes on each side, and no more than is borne", () => {
    expect(breaches([{ complete: "4/4", others: "0/1000" }])).toEqual([]);
    expect(breaches([{ complete: "9/9", others: "0/4" }])).toEqual([]);
    const strict = aRollout({ min_finished: 3, silence: { max_percent: 0 } });
    expect(breaches([{ complete: "3/3", others: "0/900" }], null, strict)).toHaveLength(1);
    expect(
      breaches([{ complete: "30/100", others: "0/900" }], null, aRollout({ silence: { max_percent: 30 } })),
    ).toEqual([]);
    expect(breaches([{ complete: "90/90", others: "0/900" }], null, aRollout({ silence: "off" }))).toEqual([]);
  });

  it("is held against those of the others that are the more silent", () => {
    // Something has befallen all of them: those that are sometimes away are not missed yet.
    expect(breaches([{ complete: "50/100", steady: "50/100", others: "50/900" }])).toEqual([]);
    // Or those that are sometimes away stay away for longer than they used to.
    expect(breaches([{ complete: "20/100", steady: "0/720", others: "180/900" }])).toEqual([]);
    expect(breaches([{ complete: "90/100", steady: "0/720", others: "180/900" }])).toHaveLength(1);
  });

  it("is compared with the week before when hardly any of the others are left, and with nothing when nobody knows that", () => {
    expect(breaches([{ complete: "300/1000", others: "40/50" }], "10/1000")).toMatchObject([
      { against: "week before" },
    ]);
    expect(breaches([{ complete: "300/1000", others: "40/50" }], "300/1000")).toEqual([]);
    expect(breaches([{ complete: "300/1000", today: "0/700", others: "40/50" }], "10/1000")).toEqual([]);
    expect(breaches([{ complete: "1000/1000", others: "0/50" }])).toEqual([]);
    expect(breaches([{ complete: "1000/1000" }], "0/4")).toEqual([]);
  });

  it("closes one slice if the others are fine, and all of it when that can't be said", () => {
    const vmware = { complete: "20/20", others: "0/200", oem: "vmware" };
    expect(breaches([vmware, { complete: "0/60", others: "0/600" }])).toMatchObject([{ slice: { value: "vmware" } }]);
    expect(breaches([vmware, { complete: "0/900", others: "0/600" }])).toMatchObject([{ slice: { value: "vmware" } }]);
    expect(breaches([vmware, { complete: "3/4", others: "0/600" }])).toMatchObject([{ slice: null }]);
    expect(breaches([vmware, { complete: "8/60", others: "0/600" }])).toMatchObject([{ slice: null }]);
    const closed = [{ slice: { by: "oem", value: "vmware" } as const, at: NOON, why: "", watched: false }];
    expect(breaches([vmware, { complete: "0/60", others: "0/600" }], null, aRollout({}, { closed }))).toEqual([]);
    const arm = { complete: "20/20", others: "0/200", arch: 2 as const };
    expect(breaches([arm, { complete: "0/60", others: "0/600" }])).toMatchObject([{ slice: { value: "aarch64" } }]);
  });

  it("is put in words, and can be shown when nothing is breached", () => {
    const rollout = aRollout();
    const bad = silence([{ complete: "7/10", others: "3/990" }]);
    const [breach] = silenceBreaches(rollout, bad);
    if (breach === undefined || rollout.strategy.health === null) throw new Error("no breach");
    expect(describeSilence(breach, rollout.strategy.health)).toMatch(
      /^7 of 10 nodes that had completed have fallen silent, and 3 of 990 of the others: at least 2\d\.\d % more, more than 5 %$/,
    );
    expect(compareSilence(rollout, silence([{ complete: "1/10", others: "3/990" }]))).toMatchObject({
      complete: { silent: 1 },
    });
    expect(compareSilence(rollout, NOBODY_WATCHED)).toBeNull();
  });
});

const SOME: Members = { any: true, groupNodes: 10, newestAt: null };

describe("the gate", () => {
  const bad = silence([{ complete: "10/10", others: "0/1000" }]);
  const vmware = silence([
    { complete: "20/20", others: "0/200", oem: "vmware" },
    { complete: "0/60", others: "0/600" },
  ]);

  it.each([
    ["halt", { state: "halted" }],
    ["pause", { state: "paused", pausedByGate: true }],
    ["ask", { state: "paused", pausedByGate: false }],
    ["watch", { state: "running", closed: [{ watched: true }] }],
  ] as const)("does about silence what it does about failures: %s", (onBreach, expected) => {
    const change = silenced(aRollout({ on_breach: onBreach }), bad, NOON);
    expect(change?.next).toMatchObject(expected);
    expect(change?.reason).toContain("10 of 10 nodes that had completed have fallen silent");
  });

  it("closes a slice; with `pause` it pauses all of it, since no check-in knows who is silent", () => {
    expect(silenced(aRollout(), vmware, NOON)?.next).toMatchObject({
      state: "running",
      closed: [{ slice: { value: "vmware" } }],
    });
    expect(silenced(aRollout({ on_breach: "pause" }), vmware, NOON)?.next).toMatchObject({ state: "paused" });
  });

  it("opens again what it had paused when those are heard that it was paused for, and not while that can't be told", () => {
    const counters = emptyRolloutCounters();
    const paused = aRollout({ on_breach: "pause" }, { state: "paused", pausedByGate: true, stateAt: NOON });
    expect(due(paused, aFleet(), counters, SOME, NOON + HOUR, bad)).toBeNull();
    expect(due(paused, aFleet(), counters, SOME, NOON + HOUR, null)).toBeNull();
    expect(
      due(paused, aFleet(), counters, SOME, NOON + HOUR, silence([{ complete: "0/10", others: "0/1000" }])),
    ).toMatchObject({
      next: { state: "running" },
    });
  });
});

const STAGES = {
  stages: [{ percent: 2, bake: "12h" }, { percent: 10, bake: "12h" }, { percent: 50, bake: "12h" }, { percent: 100 }],
  health: {},
};

describe("simulated fleets", () => {
  const good: SilenceScenario = { nodes: 300, switchedOff: 0.2, knownDays: 8, strategy: STAGES, die: 0 };

  it.each([
    ["with nobody switched off at night", { ...good, switchedOff: 0 }],
    ["with a twentieth switched off", { ...good, switchedOff: 0.05 }],
    ["with a fifth switched off", good],
    ["with a fifth switched off, who get it first", { ...good, labFirst: true }],
    ["with a fifth switched off, at weekends, too, who get it first", { ...good, labFirst: true, weekends: true }],
    ["with a fifth switched off, known since yesterday", { ...good, labFirst: true, knownDays: 1 }],
    ["with a fifth switched off at weekends, too, known for four days", { ...good, weekends: true, knownDays: 4 }],
  ])("%s, are not halted by a good release", (_, scenario) => {
    expect(silenceFigure(scenario, 20).halted).toBe(0);
  });

  it.each([
    [1, false, 8],
    [0.5, false, 12],
    [1, true, 20],
  ])("lose few to a release that %d of them die of an hour after it came up", (die, labFirst, most) => {
    const figure = silenceFigure({ ...good, switchedOff: 0.1, die, labFirst }, 20);
    expect(figure.halted).toBe(1);
    expect(figure.medianLost).toBeLessThanOrEqual(most);
  });
});
