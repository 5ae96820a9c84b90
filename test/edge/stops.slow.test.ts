import { describe, expect, it } from "vitest";
import { checks, FLATCAR, release, reports, STABLE_CHANNEL } from "../e2e/turnout.ts";
import {
  answerOf,
  type CentralServer,
  changeGroup,
  GROUP,
  round,
  STAGES,
  siteOf,
  siteToken,
  type World,
  worlds,
} from "./world.ts";

let world: World;
worlds((one) => {
  world = one;
});

describe("a rollout that is halted at the central server", () => {
  it("is halted at the site, and goes on when it does there; one that the site halted stays so", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    await changeGroup(central.api, { strategy: STAGES });
    const site = await world.site(central);
    await round(site);
    type Rollouts = { rollouts: { id: string; state: string }[] };
    const [there, here] = await Promise.all(
      [central.api, site.api].map(async (api) => (await api<Rollouts>("GET", `${GROUP}/rollouts`)).rollouts[0]?.id),
    );
    const stateHere = () =>
      site.api<{ state: string; history: { reason: string; actor: string }[] }>("GET", `${GROUP}/rollouts/${here}`);
    await central.api("POST", `${GROUP}/rollouts/${there}/halt`, { reason: "it does not boot" });
    await round(site);
    expect(await stateHere()).toMatchObject({ state: "halted" });
    expect((await stateHere()).history.at(-1)).toMatchObject({
      actor: "central",
      reason: "halted at the central server: it does not boot",
    });
    expect(await site.omaha(checks())).toContain('status="noupdate"');

    await central.api("POST", `${GROUP}/rollouts/${there}/resume`);
    await round(site);
    expect(await stateHere()).toMatchObject({ state: "running" });
    await site.api("POST", `${GROUP}/rollouts/${here}/halt`, { reason: "our own" });
    await changeGroup(central.api, { description: "something else" });
    await round(site);
    expect(await stateHere()).toMatchObject({ state: "halted" });
    expect(await central.api("GET", "/sites/berlin")).toMatchObject({
      halted: 1,
      rollouts: [{ state: "halted", reason: "our own" }],
    });

    await central.api("POST", `${GROUP}/rollouts/${there}/abort`, { reason: "enough" });
    await round(site);
    expect(await stateHere()).toMatchObject({ state: "aborted" });
  });

  it("is so as well when safe mode has stopped its group there, until somebody there resumes updates", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    await changeGroup(central.api, { strategy: STAGES, policy_safe_mode: true });
    const site = await world.site(central);
    await round(site);
    const machineId = "c".repeat(32);
    const first = async () => {
      const { rollouts } = await site.api<{ rollouts: { state: string }[] }>("GET", `${GROUP}/rollouts`);
      return rollouts[0]?.state;
    };
    await changeGroup(central.api, { strategy: { stages: [{ percent: 100 }] } });
    await central.turnout.omaha(checks({ machineId }));
    await central.turnout.omaha(reports(3, 0, { machineId }, 9));
    expect(await central.api("GET", GROUP)).toMatchObject({ updates_stopped_by: "safe-mode" });
    await round(site);
    expect(await first()).toBe("halted");
    const { rollouts } = await site.api<{ rollouts: { id: string }[] }>("GET", `${GROUP}/rollouts`);
    const { history } = await site.api<{ history: { reason: string }[] }>(
      "GET",
      `${GROUP}/rollouts/${rollouts[0]?.id}`,
    );
    expect(history.at(-1)?.reason).toBe(
      "halted at the central server: safe mode has stopped updates there: the first node did not come through with 4230.2.1",
    );
    // The switch of the group is a person's, here as there.
    expect(await site.api("GET", GROUP)).toMatchObject({ policy_updates_enabled: true, updates_stopped_by: null });
    await central.api("POST", `${GROUP}/resume-updates`, { reason: "its disk was full" });
    await round(site);
    expect(await first()).toBe("running");
  });
});

describe("a rollout that is halted at the site", () => {
  it.each([
    ["is called as the central server is in its history", "central", "our own"],
    ["writes what the central server writes", "night shift", "halted at the central server: so says the phone"],
  ])("stays so, also by somebody who %s", async (_, name, reason) => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    await changeGroup(central.api, { strategy: STAGES });
    const site = await world.central(siteOf(central.url, await siteToken(central.api, "berlin")));
    const sync = async () => {
      site.turnout.clock.move({ minutes: 2 });
      await site.turnout.turnout.edge?.keepUp();
      await site.turnout.turnout.edge?.run();
    };
    await sync();
    const { token } = await site.api<{ token: string }>("POST", "/tokens", { name, role: "operator" });
    const newest = async () =>
      (await site.api<{ rollouts: { id: string; state: string }[] }>("GET", `${GROUP}/rollouts`)).rollouts[0];
    const halt = `${GROUP}/rollouts/${(await newest())?.id}/halt`;
    expect(await answerOf(site.url, "POST", halt, { token, body: { reason } })).toMatchObject({ 0: 200 });
    await sync();
    expect(await newest()).toMatchObject({ state: "halted" });
  });
});

describe("a rollout that is halted at the central server while the site's does not run", () => {
  type Seen = { state: string; history: { reason: string; actor: string }[] };

  /** Both servers, the site's rollout, and what to do with that of the central server. */
  async function halves(strategy: object) {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    await changeGroup(central.api, { strategy });
    const site = await world.site(central);
    await round(site);
    type Rollouts = { rollouts: { id: string }[] };
    const idAt = async (api: CentralServer["api"]) =>
      (await api<Rollouts>("GET", `${GROUP}/rollouts`)).rollouts[0]?.id ?? "";
    const path = `${GROUP}/rollouts/${await idAt(site.api)}`;
    const there = `${GROUP}/rollouts/${await idAt(central.api)}`;
    return {
      site,
      central,
      here: () => site.api<Seen>("GET", path),
      steer: (what: string) => site.api("POST", `${path}/${what}`, { reason: `${what} here` }),
      change: async (strategy: object) => {
        const { revision } = await site.api("GET", path);
        await site.api("PUT", path, { ...strategy, revision });
      },
      steerThere: (what: string) => central.api("POST", `${there}/${what}`, { reason: `${what} there` }),
    };
  }

  it("is left as it is while it waits, with syncs that go on, and halted as soon as it begins, also without a link", async () => {
    const { site, central, here, steerThere } = await halves({
      stages: [{ percent: 100 }],
      after: [{ group: "beta" }],
    });
    expect(await here()).toMatchObject({ state: "scheduled" });
    await steerThere("halt");
    expect(await round(site)).toMatchObject({ state: "synced", error: null });
    expect(await here()).toMatchObject({ state: "scheduled" });
    await changeGroup(central.api, { description: "something else" });
    expect(await round(site)).toMatchObject({ state: "synced", error: null });
    await world.stop(central.turnout);
    const { rollouts } = await site.api<{ rollouts: { id: string }[] }>("GET", `${GROUP}/rollouts`);
    await site.api("POST", `${GROUP}/rollouts/${rollouts[0]?.id}/advance`, { reason: "we can't wait" });
    expect(await here()).toMatchObject({ state: "running" });
    await site.turnout.edge?.keepUp();
    expect(await here()).toMatchObject({ state: "halted" });
    expect((await here()).history.at(-1)).toMatchObject({
      actor: "central",
      reason: "halted at the central server: halt there",
    });
    expect(await site.omaha(checks())).toContain('status="noupdate"');
  });

  it("stays paused by whom it was paused, is halted when it is resumed here, and then goes on from there", async () => {
    const { site, here, steer, steerThere } = await halves(STAGES);
    await steer("pause");
    await steerThere("halt");
    await round(site);
    expect(await here()).toMatchObject({ state: "paused" });
    await steer("resume");
    await site.turnout.edge?.keepUp();
    expect(await here()).toMatchObject({ state: "halted" });
    await steer("resume");
    await site.turnout.edge?.keepUp();
    expect(await here()).toMatchObject({ state: "halted" });
    await steerThere("resume");
    await round(site);
    expect(await here()).toMatchObject({ state: "running" });
  });

  it("is halted also when it has completed here, and is completed again when it goes on there", async () => {
    const { site, here, steerThere } = await halves({});
    await site.omaha(checks());
    await site.omaha(checks({ version: "4230.2.1" }));
    await site.turnout.housekeeping.moveRollouts();
    expect(await here()).toMatchObject({ state: "completed" });
    await steerThere("halt");
    await round(site);
    expect(await here()).toMatchObject({ state: "halted" });
    await steerThere("resume");
    await round(site);
    await site.turnout.housekeeping.moveRollouts();
    expect(await here()).toMatchObject({ state: "completed" });
  });

  it("goes on from there also when somebody here has changed its plan meanwhile", async () => {
    const { site, here, change, steerThere } = await halves(STAGES);
    await steerThere("halt");
    await round(site);
    await change({ stages: [{ percent: 10 }, { percent: 50 }, { percent: 100 }] });
    expect(await here()).toMatchObject({ state: "halted", stages: [{}, { percent: 50 }, {}] });
    await steerThere("resume");
    await round(site);
    expect(await here()).toMatchObject({ state: "running" });
  });

  it("goes on as it stood: what a gate here has closed stays so", async () => {
    const { site, here, steerThere } = await halves({ health: {} });
    for (let n = 0; n < 40; n += 1) {
      const who = { machineId: n.toString(16).padStart(32, "0"), oem: n % 4 === 0 ? "vmware" : "azure" };
      await site.omaha(checks(who));
      if (n % 4 === 0) await site.omaha(reports(3, 0, who, 9));
      else await site.omaha(checks({ ...who, version: "4230.2.1" }));
    }
    const closed = { health: { closed: [{ slice: "oem=vmware" }] } };
    expect(await here()).toMatchObject({ state: "running", ...closed });
    await steerThere("halt");
    await round(site);
    expect(await here()).toMatchObject({ state: "halted", ...closed });
    await steerThere("resume");
    await round(site);
    expect(await here()).toMatchObject({ state: "running", ...closed });
  });

  it("is not taken for resumed when the central server has gone on to a release whose files are awaited here", async () => {
    const { site, central, here, steerThere } = await halves(STAGES);
    await steerThere("halt");
    await round(site);
    await release(central.api, "4230.2.2", { hosting: "only" });
    expect(await round(site)).toMatchObject({ state: "held", held: [{ stays: "4230.2.1", version: "4230.2.2" }] });
    expect(await here()).toMatchObject({ state: "halted" });
  });

  it.each(["halt", "abort"])(
    "is heard of (%s) also when it was replaced before the site asked again, and its successor's files are awaited",
    async (what) => {
      const { site, central, here, steerThere } = await halves(STAGES);
      await steerThere(what);
      await release(central.api, "4230.2.2", { hosting: "only" });
      expect(await round(site)).toMatchObject({ state: "held" });
      expect(await here()).toMatchObject({ state: what === "halt" ? "halted" : "aborted" });
      expect((await here()).history.at(-1)?.reason).toContain(`at the central server: ${what} there`);
    },
  );

  it("is heard of no more when it is rolled out there anew", async () => {
    const { site, central, here, steerThere } = await halves(STAGES);
    await steerThere("halt");
    await round(site);
    await central.api("POST", `${GROUP}/rollouts`, { reason: "it was the switch" });
    await round(site);
    expect(await here()).toMatchObject({ state: "running" });
  });

  it("is not taken for resumed when its application comes from there no more", async () => {
    const { site, central, here, steer, steerThere } = await halves(STAGES);
    await steerThere("halt");
    await round(site);
    await central.api("DELETE", `/apps/${FLATCAR}`);
    expect(await round(site)).toMatchObject({ state: "synced", applications: [] });
    expect(await here()).toMatchObject({ state: "halted" });
    await steer("resume");
    await site.turnout.edge?.keepUp();
    expect(await here()).toMatchObject({ state: "running" });
  });

  it("stays paused when it is resumed at the central server meanwhile; aborted there, it is over here", async () => {
    const { site, here, steer, steerThere } = await halves(STAGES);
    await steer("pause");
    await steerThere("halt");
    await round(site);
    await steerThere("resume");
    await round(site);
    expect(await here()).toMatchObject({ state: "paused" });
    await steerThere("abort");
    await round(site);
    expect(await here()).toMatchObject({ state: "aborted" });
  });
});

describe("floors and going back", () => {
  type Seen = { rollouts: { id: string; version: string; undoes: string | null; state: string }[] };
  const seen = async (api: CentralServer["api"]) => (await api<Seen>("GET", `${GROUP}/rollouts`)).rollouts;
  const steer = async (api: CentralServer["api"], version: string, undoes: string | null, what: string, more = {}) => {
    const found = (await seen(api)).find((one) => one.version === version && one.undoes === undoes);
    await api("POST", `${GROUP}/rollouts/${found?.id}/${what}`, { reason: "it does not boot", ...more });
  };

  /** Nodes go by way of 4152.0.0 to 4230.2.1. */
  async function withFloor() {
    const central = await world.central();
    await changeGroup(central.api, { strategy: STAGES });
    const floor = await release(central.api, "4152.0.0");
    await central.api("PUT", `/channels/${STABLE_CHANNEL}/floors/${floor}`, { floor_reason: "the disk's layout" });
    await release(central.api, "4230.2.1");
    const site = await world.site(central);
    await round(site);
    return { central, site };
  }

  it("a floor's rollout is halted with that of the central server, and goes on with it", async () => {
    const { central, site } = await withFloor();
    const here = async () => (await seen(site.api)).find(({ version }) => version === "4152.0.0");
    await steer(central.api, "4152.0.0", null, "halt");
    await round(site);
    expect(await here()).toMatchObject({ state: "halted" });
    await steer(central.api, "4152.0.0", null, "resume");
    await round(site);
    expect(await here()).toMatchObject({ state: "running" });
  });

  it("going back is each server's own: here it goes on while a rollout of the same version is halted there", async () => {
    const { central, site } = await withFloor();
    await steer(site.api, "4230.2.1", null, "abort", { rollback: true, to: "4152.0.0" });
    await steer(central.api, "4152.0.0", null, "halt");
    await round(site);
    expect(await seen(site.api)).toMatchObject([
      { version: "4152.0.0", undoes: "4230.2.1", state: "running" },
      { version: "4230.2.1", state: "aborted" },
      { version: "4152.0.0", undoes: null, state: "halted" },
    ]);
  });

  it("going back is each server's own: halted there, it halts no rollout of the same version here", async () => {
    const { central, site } = await withFloor();
    await steer(central.api, "4230.2.1", null, "abort", { rollback: true, to: "4152.0.0" });
    await steer(central.api, "4152.0.0", "4230.2.1", "halt");
    await round(site);
    expect(await seen(site.api)).toMatchObject([
      { version: "4230.2.1", state: "aborted" },
      { version: "4152.0.0", undoes: null, state: "running" },
    ]);
  });
});
