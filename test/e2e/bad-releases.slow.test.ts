/** The silent killer and its kin over HTTP: 10,000 nodes of four OEMs, stages of 1, 10, 50 and 100 %. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { recount } from "../../src/store/recount.ts";
import { aTurnout, checks, FLATCAR, reports, type Says, STABLE_GROUP, type TestTurnout } from "./turnout.ts";

const GROUP = `/apps/${FLATCAR}/groups/${STABLE_GROUP}`;
const NODES = 10_000;
const OEMS = ["azure", "gce", "qemu", "vmware"] as const;
const OLD = "4081.2.0";
/** Requests at the same time. */
const AT_ONCE = 64;

interface View {
  readonly state: string;
  readonly stage: number;
  readonly counters: Readonly<Record<string, number>>;
  readonly health: { readonly closed: readonly { readonly slice: string }[] };
  readonly history: readonly { readonly reason: string }[];
}

const machine = (n: number) => n.toString(16).padStart(32, "0");
const oemOf = (n: number) => OEMS[n % OEMS.length] ?? "";
/** What nodes run that don't run the old version any more. */
const updated = new Map<number, string>();
const saysOf = (n: number, more: Says = {}): Says => {
  const version = updated.get(n) ?? OLD;
  return { machineId: machine(n), oem: oemOf(n), version, ...more };
};

async function inParallel(nodes: readonly number[], work: (node: number) => Promise<void>): Promise<void> {
  const rest = [...nodes].reverse();
  const worker = async () => {
    for (let node = rest.pop(); node !== undefined; node = rest.pop()) await work(node);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

// Half a minute each on an idle machine with two cores.
describe("a bad release on 10,000 nodes", { timeout: 300_000 }, () => {
  let server: TestTurnout;
  const everybody = Array.from({ length: NODES }, (_, n) => n);

  /** Everybody asks once; who is offered the release. */
  async function everybodyAsks(): Promise<number[]> {
    const offered: number[] = [];
    await inParallel(everybody, async (n) => {
      if ((await server.omaha(checks(saysOf(n)))).includes("<manifest")) offered.push(n);
    });
    return offered;
  }
  async function installs(n: number): Promise<void> {
    await server.omaha(reports(13, 1, saysOf(n)));
    await server.omaha(reports(14, 1, saysOf(n)));
    await server.omaha(reports(3, 1, saysOf(n)));
  }
  async function updates(n: number, version: string): Promise<void> {
    updated.set(n, version);
    await server.omaha(checks(saysOf(n)));
  }
  async function pass(minutes: number): Promise<void> {
    server.clock.move({ minutes });
    await server.turnout.housekeeping.flushSeen();
    await server.turnout.housekeeping.expireDeadlines();
    await server.turnout.housekeeping.moveRollouts();
  }
  async function rollout(): Promise<View> {
    const { rollouts } = await server.api<{ rollouts: { id: string }[] }>("GET", `${GROUP}/rollouts?perpage=1`);
    return server.api<View>("GET", `${GROUP}/rollouts/${rollouts[0]?.id}`);
  }

  beforeAll(async () => {
    server = await aTurnout();
    await server.setPolicy({
      strategy: {
        // With this one the first stage has 89 nodes; 100 on average, give or take 10.
        seed: "d",
        stages: [
          { percent: 1, bake: "2h" },
          { percent: 10, bake: "2h" },
          { percent: 50, bake: "2h" },
          { percent: 100 },
        ],
        health: {},
      },
    });
    await everybodyAsks();
  });
  afterAll(async () => {
    expect(await recount(server.turnout.store.read, false)).toEqual([]);
    await server.close();
  });

  it("that no node comes back from is halted by itself, with one in a hundred lost at most", async () => {
    await server.release("4230.2.1");
    const offered = await everybodyAsks();
    expect(offered.length).toBeGreaterThan(50);
    expect(offered.length).toBeLessThanOrEqual(NODES / 100);
    await inParallel(offered, installs);
    await pass(61);
    expect(await rollout()).toMatchObject({
      state: "halted",
      stage: 1,
      counters: { lost: offered.length, complete: 0 },
    });
    expect(await everybodyAsks()).toEqual([]);
    await pass(24 * 60);
    expect(await rollout()).toMatchObject({ state: "halted", stage: 1 });
  });

  it("that fails on a fifth of the nodes breaks a handful", async () => {
    await server.release("4230.2.2");
    await pass(0);
    let broken = 0;
    // One by one, as they come: what is offered before the gate closes may break.
    for (const n of everybody) {
      if (!(await server.omaha(checks(saysOf(n)))).includes("<manifest")) continue;
      await server.omaha(reports(13, 1, saysOf(n)));
      if (n % 5 === 0) {
        broken += 1;
        await server.omaha(reports(3, 0, saysOf(n), 9));
      } else await updates(n, "4230.2.2");
    }
    const { state, history } = await rollout();
    expect(state).toBe("halted");
    expect(history.at(-1)?.reason).toMatch(/finished nodes failed/);
    expect(broken).toBeLessThanOrEqual(20);
  });

  it("that falls back everywhere is halted with the first five", async () => {
    await server.release("4230.2.3");
    await pass(0);
    const offered = await everybodyAsks();
    await inParallel(offered, installs);
    // Back after the reboot, on the old version.
    for (const n of offered) await server.omaha(checks(saysOf(n, { bootId: "{boot-2}" })));
    const { state, counters, history } = await rollout();
    expect(state).toBe("halted");
    expect(counters.rolled_back).toBe(offered.length);
    expect(history.at(-1)?.reason).toContain("5 of 5 finished nodes failed");
  });

  it("on one OEM is held back there, and goes on elsewhere", async () => {
    // A boot id that is back within six hours would be another machine's.
    await pass(7 * 60);
    await server.release("4230.2.4");
    await pass(0);
    const offered = await everybodyAsks();
    await inParallel(offered, installs);
    const survivors = offered.filter((n) => oemOf(n) !== "vmware");
    await inParallel(survivors, (n) => updates(n, "4230.2.4"));
    await pass(61);
    const stopped = await rollout();
    expect(stopped).toMatchObject({ state: "running", health: { closed: [{ slice: "oem=vmware" }] } });
    expect(stopped.counters.lost).toBe(offered.length - survivors.length);
    await everybodyAsks();
    await pass(0);
    await pass(121);
    expect(await rollout()).toMatchObject({ state: "running", stage: 2 });
    const second = await everybodyAsks();
    expect(second.length).toBeGreaterThan(500);
    expect(second.filter((n) => oemOf(n) === "vmware")).toEqual([]);
  });
});
