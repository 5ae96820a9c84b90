import { describe, expect, it } from "vitest";
import { forecastSchema, madeUpNodes, NO_LIMITS, planOf } from "../../src/forecast/document.ts";
import { Forecaster } from "../../src/forecast/forecaster.ts";
import { makeUp } from "../../src/forecast/nodes.ts";
import { simulate } from "../../src/forecast/simulation.ts";
import { STAGES, START } from "./builders.ts";

function asked(nodes: number) {
  const request = forecastSchema.parse({ nodes, strategy: STAGES, fail: ["3%:9"] });
  const plan = planOf(request, { version: "4230.2.1", strategy: {}, policy: NO_LIMITS, now: START });
  return { plan, nodes: madeUpNodes(request, plan) };
}

describe("a forecaster", () => {
  it("says what the simulation says, of nodes made up or read in portions", async () => {
    const { plan, nodes } = asked(300);
    const all = makeUp(nodes, plan.seed);
    const expected = simulate({ ...plan, nodes: all });
    const forecaster = new Forecaster();
    expect(await forecaster.run(plan, nodes)).toEqual(expected);
    async function* portions() {
      yield all.slice(0, 100);
      yield all.slice(100);
    }
    expect(await forecaster.run(plan, portions())).toEqual(expected);
  });

  it("makes one at a time, and can make another after any end", async () => {
    const forecaster = new Forecaster();
    const { plan, nodes } = asked(200_000);
    const few = asked(10);
    const left = new AbortController();
    const long = forecaster.run(plan, nodes, left.signal);
    await expect(forecaster.run(few.plan, few.nodes)).rejects.toThrow(/another forecast/);
    left.abort();
    await expect(long).rejects.toThrow(/nobody waits/);
    await expect(forecaster.run(few.plan, few.nodes, AbortSignal.abort())).rejects.toThrow(/nobody waits/);
    // biome-ignore lint/correctness/useYield: the database fails with the first portion
    async function* broken(): AsyncGenerator<never> {
      throw new Error("the disk is gone");
    }
    await expect(forecaster.run(plan, broken())).rejects.toThrow("the disk is gone");
    expect(await forecaster.run(few.plan, few.nodes)).toMatchObject({ nodes: 10 });
  });

  it("gives up on what takes too long", async () => {
    const { plan, nodes } = asked(200_000);
    await expect(new Forecaster(1).run(plan, nodes)).rejects.toThrow(/longer than 0.001 seconds/);
  });
});
