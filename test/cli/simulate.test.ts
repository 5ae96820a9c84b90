import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { curve } from "../../src/cli/curve.ts";
import { span } from "../../src/cli/span.ts";
import { toForecastView } from "../../src/forecast/document.ts";
import { aTurnout, type TestTurnout } from "../e2e/turnout.ts";
import { forecast } from "../forecast/builders.ts";
import { caught } from "./caught.ts";

describe("turnout simulate", () => {
  it("says when stages open, draws the curve, and exits with 0", async () => {
    const { code, out, err } = await caught(["simulate", "--nodes", "400", "--preset", "fast", "--start-at", "2026-03-04T12:00:00Z"]); // biome-ignore format: one line
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toContain("4230.2.1 to 400 nodes, from 2026-03-04 12:00 UTC\ncompleted after ");
    expect(out).toMatch(/^STAGE +SHARE +OPENS AFTER +UPDATED AFTER +NODES/m);
    expect(out).toMatch(/^ +2 +100 % +1h /m);
    expect(out).toContain("400 ┤");
    expect(out).toMatch(/completed +2 +the last stage is over: its nodes have finished/);
  });

  it("exits with 3 when the gate closes, and shows how far it got", async () => {
    const { code, out } = await caught(["simulate", "--nodes", "3000", "--die", "100%", "--json"]);
    expect(code).toBe(3);
    const view = JSON.parse(out);
    expect(view).toMatchObject({ end: "halted", complete: 0, broken_at_halt: 3 });
    expect(view.reached).toBeLessThanOrEqual(60);
  });

  it("exits with 4 when it comes to no end", async () => {
    const { code, out } = await caught(["simulate", "--nodes", "50", "--for", "2h"]);
    expect(code).toBe(4);
    expect(out).toContain("not finished after 2h 00m");
  });

  it.each([
    [["--poll", "5"], 'turnout: --poll: "5" is not a duration'],
    [["--fail", "20%"], "turnout: --fail: write SHARE%:CODE"],
    [["--from", "9999.0.0", "--to", "4230.2.1"], "turnout: --from: is not below 4230.2.1"],
    [["--nodes", "0"], "Write a whole number from 1 to 200000.", 2],
    [["--preset", "fast", "--strategy", "x.yaml"], "turnout: --strategy and --preset exclude each other"],
    [["--strategy", "/nowhere.yaml"], "turnout: /nowhere.yaml: "],
  ])("says what is wrong with %j", async (args, message, exit = 1) => {
    const { code, err } = await caught(["simulate", ...args]);
    expect(code).toBe(exit);
    expect(err).toContain(message);
  });
});

describe("turnout simulate --group", () => {
  let server: TestTurnout;
  beforeAll(async () => {
    server = await aTurnout();
    await server.release("4230.2.1");
  });
  afterAll(() => server.close());
  const asked = (...args: string[]) =>
    caught(["simulate", "--group", "Stable (AMD64)", ...args], { environment: { TURNOUT_SERVER: server.url } });

  it("asks the server, which knows the group", async () => {
    const { code, out } = await asked("--nodes", "40", "--oem", "azure,qemu");
    expect(code).toBe(0);
    expect(out).toContain("4230.2.1 to 40 nodes");
    expect(out).not.toContain("The server serves");
    expect(await asked()).toMatchObject({ code: 1, err: expect.stringContaining("has no nodes that are there") });
    expect(await asked("--oem", "azure")).toMatchObject({
      code: 1,
      err: expect.stringContaining("oems: goes with nodes"),
    });
  });
});

describe("the curve", () => {
  it("is as wide and high as it says, and shows what went wrong", () => {
    for (const asked of [{}, { die: ["100%"] }, { nodes: 1 }, { nodes: 1, for: "1m" }, { fall_back: ["50%"] }]) {
      const view = toForecastView(forecast(asked));
      const lines = curve(view).split("\n");
      expect(lines).toHaveLength(16);
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
      expect(lines.slice(0, 12).join("").includes("×")).toBe(view.broken > 0);
    }
  });
});

it("spans are as short as they can be", () => {
  expect([0, 59_000, 3_600_000, 90_000_000].map(span)).toEqual(["0m", "1m", "1h 00m", "1d 01h 00m"]);
});
