import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { recount } from "../../src/store/recount.ts";
import { aTurnout, checks, FLATCAR, reports, STABLE_GROUP, type TestTurnout } from "./turnout.ts";

const HOUR = 3_600_000;
const GROUP = `/apps/${FLATCAR}/groups/${STABLE_GROUP}`;
const machine = (n: number) => n.toString(16).padStart(32, "0");
const FLEET = Array.from({ length: 40 }, (_, n) => machine(n));

let server: TestTurnout;
beforeEach(async () => {
  server = await aTurnout();
});
afterEach(async () => {
  expect(await recount(server.turnout.store.read, false)).toEqual([]);
  await server.close();
});

interface View {
  id: string;
  version: string;
  state: string;
  revision: number;
  stage: number;
  awaits_approval: boolean;
  next: { on: string; not_before: string | null } | null;
  stages: { number: number; state: string; eligible: number | null; counters: Record<string, number> }[];
  counters: Record<string, number>;
  failed_by_cause: Record<string, number>;
  health: { breach: string | null; closed: { slice: string }[]; silent: number };
  history: { from_state: string | null; to_state: string; stage: number; actor: string; reason: string }[];
}

const ask = async (machineId: string, what: object = {}) =>
  (await server.omaha(checks({ machineId, ...what }))).includes('<updatecheck status="ok"');
const askAll = async (ids: readonly string[], what: object = {}) => {
  const offered: string[] = [];
  for (const id of ids) if (await ask(id, what)) offered.push(id);
  return offered;
};
const update = (ids: readonly string[], version: string) => askAll(ids, { version });
const fail = async (machineId: string, what: object = {}) => {
  await server.omaha(reports(13, 1, { machineId, ...what }));
  await server.omaha(reports(3, 0, { machineId, ...what }, 9));
};
const rollouts = async () => (await server.api<{ rollouts: View[] }>("GET", `${GROUP}/rollouts`)).rollouts;
const rollout = async (id?: string) => server.api<View>("GET", `${GROUP}/rollouts/${id ?? (await rollouts())[0]?.id}`);
const act = (id: string, action: string, body: object = {}) =>
  server.api<View>("POST", `${GROUP}/rollouts/${id}/${action}`, body);
/** Lets virtual time pass, and what it brings about happen. */
async function pass(hours: number): Promise<void> {
  server.clock.move({ hours });
  await server.turnout.housekeeping.flushSeen();
  await server.turnout.housekeeping.moveRollouts();
}

const STAGES = {
  seed: "always the same",
  stages: [{ percent: 20, bake: "2h" }, { percent: 50, approval: "manual" }, { percent: 100 }],
  health: { max_lost: 2 },
};

describe("a staged rollout", () => {
  it("goes from stage to stage by itself, waits for a person, and completes", async () => {
    await server.setPolicy({ strategy: STAGES });
    await askAll(FLEET);
    await server.release("4230.2.1");
    await pass(0);
    expect(await rollout()).toMatchObject({
      state: "running",
      stage: 1,
      next: { on: expect.stringContaining("stage 2") },
    });

    const first = await askAll(FLEET);
    expect(first.length).toBeGreaterThan(2);
    expect(first.length).toBeLessThan(16);
    await pass(1);
    expect((await rollout()).stages.map(({ state }) => state)).toEqual(["open", "not open", "not open"]);
    await askAll(FLEET.filter((id) => !first.includes(id)));
    await update(first, "4230.2.1");
    await pass(0);
    const baking = await rollout();
    expect(baking.stages[0]).toMatchObject({
      state: "baking",
      counters: { granted: first.length, complete: first.length },
    });
    expect(baking.stages.reduce((sum, { eligible }) => sum + (eligible ?? 0), 0)).toBe(FLEET.length);
    expect(baking.next).toMatchObject({ on: "stage 2, when it has baked" });
    expect(Date.parse(baking.next?.not_before ?? "")).toBe(server.clock.now() + 2 * HOUR);

    await pass(2);
    expect(await rollout()).toMatchObject({ stage: 2, state: "running" });
    const rest = FLEET.filter((id) => !first.includes(id));
    const second = await askAll(rest);
    expect(second.length).toBeGreaterThan(4);
    await update(second, "4230.2.1");
    await askAll(rest.filter((id) => !second.includes(id)));
    await pass(0);
    const waiting = await rollout();
    expect(waiting).toMatchObject({
      stage: 2,
      awaits_approval: true,
      next: { on: "a person to open stage 3", not_before: null },
    });
    await pass(24);
    expect(await askAll(rest.filter((id) => !second.includes(id)))).toEqual([]);

    const advanced = await act(waiting.id, "advance", { reason: "looks good", revision: waiting.revision });
    expect(advanced).toMatchObject({ stage: 3, awaits_approval: false });
    const third = await askAll(rest.filter((id) => !second.includes(id)));
    expect(first.length + second.length + third.length).toBe(FLEET.length);
    await update(third, "4230.2.1");
    await pass(0);
    const done = await rollout();
    expect(done).toMatchObject({ state: "completed", counters: { complete: FLEET.length, in_flight: 0 }, next: null });
    expect(done.history.map(({ to_state, stage, actor }) => [to_state, stage, actor])).toEqual([
      ["running", 1, "anonymous"],
      ["running", 1, "system"], // bakes
      ["running", 2, "system"],
      ["running", 2, "system"], // waits
      ["running", 3, "anonymous"],
      ["completed", 3, "system"],
    ]);
  });

  it("is the same after a restart in the middle", async () => {
    await server.setPolicy({ strategy: STAGES });
    await askAll(FLEET);
    await server.release("4230.2.1");
    const first = await askAll(FLEET);
    await update(first, "4230.2.1");
    await pass(0);
    const before = await rollout();
    const { clock, turnout, dataDir } = server;
    await turnout.close();
    server = await aTurnout({}, { clock, dataDir });
    expect(await rollout()).toEqual(before);
    await pass(2);
    expect(await rollout()).toMatchObject({ stage: 2 });
  });

  it("waits only for nodes that are still there", async () => {
    await server.setPolicy({ strategy: STAGES });
    await askAll(FLEET);
    await server.release("4230.2.1");
    const [gone, ...first] = await askAll(FLEET);
    await update(first, "4230.2.1");
    await pass(0);
    // Offered, and never heard of again: it times out, and the stage has ended.
    expect(await rollout()).toMatchObject({ stages: [{ state: "open" }, {}, {}] });
    server.clock.move({ hours: 1 });
    await server.turnout.housekeeping.expireDeadlines();
    await pass(0);
    expect(await rollout()).toMatchObject({ stages: [{ state: "baking" }, {}, {}], counters: { timed_out: 1 } });
    expect(gone).toBeDefined();
  });
});

describe("a group that nobody has given a strategy", () => {
  const CROWD = Array.from({ length: 120 }, (_, n) => machine(n));
  const askAtOnce = async () => {
    const answers = await Promise.all(CROWD.map((machineId) => ask(machineId)));
    return CROWD.filter((_, index) => answers[index]);
  };

  it("is guarded: of a crowd that asks at once ten get a release, and only those that come back let others in", async () => {
    const group = await server.api<{ strategy: unknown; effective_strategy: object }>("GET", GROUP);
    expect(group.strategy).toBeNull();
    expect(group.effective_strategy).toMatchObject({
      stages: [{ percent: 100 }],
      ramp: { start: 10, grow: 1 },
      health: { max_failure_percent: 5, max_lost: 2, on_breach: "halt" },
      max_in_flight: null,
    });
    await server.release("4230.2.1");
    const first = await askAtOnce();
    expect(first).toHaveLength(10);
    expect(await askAtOnce()).toEqual(first);
    expect(await rollout()).toMatchObject({ ramp: { exposed: 10, limit: 10 }, counters: { granted: 10 } });
    await update(first.slice(0, 3), "4230.2.1");
    expect((await askAtOnce()).length).toBe(7 + 6);
    expect(await rollout()).toMatchObject({ ramp: { exposed: 13, limit: 13 } });
  });

  it("loses no more than ten to a release that none comes back from, also over a restart", async () => {
    await server.release("4230.2.1");
    const first = await askAtOnce();
    for (const machineId of first) await server.omaha(reports(3, 1, { machineId }));
    const { dataDir, clock } = server;
    await server.turnout.close();
    server = await aTurnout({}, { dataDir, clock });
    expect(await askAtOnce()).toEqual([]);
    server.clock.move({ hours: 2 });
    await server.turnout.housekeeping.expireDeadlines();
    expect(await rollout()).toMatchObject({ state: "halted", counters: { granted: 10, lost: 10 } });
    expect(await askAtOnce()).toEqual([]);
  });

  it("goes to all of it at once where the server says so", async () => {
    await server.close();
    server = await aTurnout({ TURNOUT_DEFAULT_STRATEGY: "none" });
    await server.release("4230.2.1");
    expect(await askAtOnce()).toEqual(CROWD);
    const { dataDir, clock } = server;
    await server.turnout.close();
    // What is under way keeps the strategy that it was made with.
    server = await aTurnout({}, { dataDir, clock });
    expect(await rollout()).toMatchObject({ ramp: null, strategy: { stages: [{ percent: 100 }] } });
    await server.release("4593.2.5");
    expect(await rollout()).toMatchObject({ ramp: { exposed: 0, limit: 10 } });
  });
});

describe("the health gate", () => {
  it("halts at once, takes back offers, says why, and lets a person resume or go back", async () => {
    await server.setPolicy({ strategy: { health: {} } });
    await askAll(FLEET.slice(0, 12));
    await server.release("4152.0.0");
    await update(FLEET.slice(0, 12), "4152.0.0");
    await server.release("4230.2.1");
    const offered = await askAll(FLEET.slice(0, 12), { version: "4152.0.0" });
    expect(offered).toHaveLength(12);
    await update(offered.slice(5, 7), "4230.2.1");
    for (const id of offered.slice(0, 5)) await fail(id, { version: "4152.0.0" });
    const halted = await rollout();
    expect(halted).toMatchObject({
      state: "halted",
      failed_by_cause: { 9: expect.any(Number) },
      next: { on: "a person to resume or abort it" },
    });
    expect(halted.history.at(-1)).toMatchObject({
      to_state: "halted",
      actor: "system",
      reason: expect.stringMatching(/finished nodes failed/),
    });
    expect(await ask(FLEET[20] ?? "", { version: "4152.0.0" })).toBe(false);
    expect(await askAll(offered.slice(8), { version: "4152.0.0" })).toEqual([]);
    expect(await rollout()).toMatchObject({ counters: { in_flight: 1, withdrawn: 4 } });
    const { activities } = await server.api<{ activities: { class: number; severity: number }[] }>(
      "GET",
      "/activity?perpage=100",
    );
    expect(activities).toContainEqual(expect.objectContaining({ class: 4, severity: 4, version: "4230.2.1" }));
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toMatch(/^turnout_rollout_failures{group="[^"]+",version="4230\.2\.1",code="9"} \d+$/m);
    const failures = await server.api<{ total: number; instances: object[] }>(
      "GET",
      `${GROUP}/rollouts/${halted.id}/failures`,
    );
    expect(failures.instances).toContainEqual(
      expect.objectContaining({ failure: "failed", error_code: 9, oem: "azure" }),
    );

    // A person who has looked at it resumes: what failed so far is known.
    expect(await act(halted.id, "resume", { reason: "a broken switch" })).toMatchObject({ state: "running" });
    expect(await ask(offered[8] ?? "", { version: "4152.0.0" })).toBe(true);
    const { retried } = await server.api<{ retried: number }>(
      "POST",
      `${GROUP}/rollouts/${halted.id}/retry-failed`,
      {},
    );
    expect(retried).toBe(failures.total);
    expect(await ask(offered[0] ?? "", { version: "4152.0.0" })).toBe(true);

    // It is bad after all: back to where they came from.
    const aborted = await act(halted.id, "abort", { reason: "bad release", rollback: true });
    expect(aborted.state).toBe("aborted");
    const [back] = await rollouts();
    expect(back).toMatchObject({ state: "running", version: "4152.0.0", undoes: "4230.2.1" });
    const answer = await server.omaha(checks({ machineId: offered[5] ?? "", version: "4230.2.1" }));
    expect(answer).toContain('<manifest version="4152.0.0">');
    expect(await update([offered[5] ?? ""], "4152.0.0")).toEqual([]);
    await update([offered[6] ?? ""], "4230.2.1");
    await update([offered[6] ?? ""], "4152.0.0");
    await pass(0);
    expect(await rollout(back?.id)).toMatchObject({ state: "completed", counters: { complete: 2 } });
    expect(await ask(offered[1] ?? "", { version: "4152.0.0" })).toBe(false);

    // Or it was not, and goes out again: nobody is taken back from it then.
    await server.api("POST", `${GROUP}/rollouts`, { reason: "it was the switch" });
    expect(await rollout(back?.id)).toMatchObject({ state: "superseded" });
    expect(await ask(offered[5] ?? "", { version: "4152.0.0" })).toBe(true);
    await update([offered[5] ?? ""], "4230.2.1");
    expect(await ask(offered[5] ?? "", { version: "4230.2.1" })).toBe(false);
  });

  it("halts a completed rollout on nodes that fall back later, lists them, explains them and lets them try again", async () => {
    const nodes = FLEET.slice(0, 8);
    await server.setPolicy({ strategy: { health: {}, watch_after: "3d" } });
    await server.release("4230.2.1");
    expect(await askAll(nodes)).toEqual(nodes);
    await askAll(nodes, { version: "4230.2.1", bootId: "{boot-2}" });
    await pass(0);
    expect(await rollout()).toMatchObject({ state: "completed" });
    await pass(48);
    await askAll(nodes.slice(0, 6), { bootId: "{boot-3}" });
    const halted = await rollout();
    expect(halted).toMatchObject({ state: "halted", counters: { complete: 2, rolled_back: 6, relapsed: 6 } });
    expect(halted.history.at(-1)).toMatchObject({ from_state: "completed", to_state: "halted", actor: "system" });
    expect(await ask(FLEET[20] ?? "")).toBe(false);
    const path = `${GROUP}/rollouts/${halted.id}`;
    const { total, instances } = await server.api<{ total: number; instances: object[] }>("GET", `${path}/failures`);
    expect(total).toBe(6);
    expect(instances[0]).toMatchObject({ state: "rolled-back", failure: "rolled-back", error_code: null });
    expect(await server.api("GET", `${GROUP}/instances/${nodes[0]}/explain`)).toMatchObject({
      state: "rolled-back",
      reason: "rollout-not-running",
    });
    expect(await act(halted.id, "resume", { reason: "a broken rack" })).toMatchObject({ state: "running" });
    expect(await server.api("GET", `${GROUP}/instances/${nodes[0]}/explain`)).toMatchObject({
      reason: "retry-later",
      text: expect.stringMatching(/^it has failed \(try 1 of 5\)/),
    });
    expect(await server.api("POST", `${path}/retry-failed`, {})).toEqual({ retried: 6 });
    expect(await ask(nodes[0] ?? "", { bootId: "{boot-3}" })).toBe(true);
    await askAll(nodes.slice(0, 1), { version: "4230.2.1", bootId: "{boot-4}" });
    await pass(0);
    expect(await rollout()).toMatchObject({ state: "completed", counters: { complete: 3, relapsed: 5 } });
  });

  it("halts when nodes fall silent after they had it, lists them, and shows what they are compared with", async () => {
    const stages = [{ percent: 30, bake: "1d" }, { percent: 100 }];
    await server.setPolicy({ strategy: { seed: "always the same", stages, health: {} } });
    await askAll(FLEET);
    await server.release("4230.2.1");
    const first = await askAll(FLEET);
    const others = FLEET.filter((id) => !first.includes(id));
    const [silent, heard] = [first.slice(0, -1), first.slice(-1)];
    await update(first, "4230.2.1");
    await pass(0);
    expect(first.length).toBeGreaterThan(6);
    for (let round = 0; round < 3; round += 1) {
      await pass(0.75);
      await askAll(others);
      await update(heard, "4230.2.1");
    }
    await pass(0);
    const halted = await rollout();
    expect(halted).toMatchObject({
      state: "halted",
      counters: { complete: first.length },
      health: {
        silent: silent.length,
        silence: {
          nodes: first.length,
          silent: silent.length,
          against: "others",
          other_nodes: others.length,
          other_silent: 0,
          looked_ts: new Date(server.clock.now()).toISOString(),
        },
      },
    });
    expect(halted.history.at(-1)?.reason).toMatch(
      /nodes that had completed have fallen silent, and 0 of \d+ of the others/,
    );
    const failures = () =>
      server.api<{ total: number; instances: { id: string }[] }>(
        "GET",
        `${GROUP}/rollouts/${halted.id}/failures?perpage=4`,
      );
    const { total, instances } = await failures();
    expect([total, instances.length]).toEqual([silent.length, 4]);
    expect(instances[0]).toMatchObject({ state: "silent", failure: "silent", error_code: null, version: "4230.2.1" });
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toMatch(new RegExp(`^turnout_rollout_nodes{[^}]*status="silent"} ${silent.length}$`, "m"));
    // Heard again, it is among them no more, though nobody has looked since.
    await update(silent.slice(0, 2), "4230.2.1");
    await server.turnout.housekeeping.flushSeen();
    expect(await failures()).toMatchObject({ total: silent.length - 2 });
    expect(await server.api("GET", `${GROUP}/instances/${silent[2]}/explain`)).toMatchObject({ state: "complete" });
  });

  it("closes one OEM, and goes on elsewhere", async () => {
    await server.setPolicy({ strategy: { health: {} } });
    await server.release("4230.2.1");
    const oem = (n: number) => ({ oem: n % 4 === 0 ? "vmware" : "azure" });
    for (const [n, id] of FLEET.entries()) {
      if (!(await ask(id, oem(n)))) continue;
      if (n % 4 === 0) await fail(id, oem(n));
      else await ask(id, { ...oem(n), version: "4230.2.1" });
    }
    expect(await rollout()).toMatchObject({
      state: "running",
      health: { closed: [{ slice: "oem=vmware" }] },
      counters: { complete: 30 },
    });
    expect((await rollout()).counters.failed).toBeLessThan(6);
    await askAll(FLEET.filter((_, n) => n % 4 === 0), oem(0)); // biome-ignore format: one line
    await pass(0);
    expect(await rollout()).toMatchObject({ state: "completed" });
  });
});

describe("steering", () => {
  it("does nothing on what has moved meanwhile", async () => {
    await server.setPolicy({ strategy: STAGES });
    await server.release("4230.2.1");
    const { id, revision } = await rollout();
    await act(id, "pause", { revision });
    await expect(act(id, "abort", { revision })).rejects.toThrow(/412 .*revision is 2, not 1/);
    await expect(act(id, "pause")).rejects.toThrow(/409 .*only a running one can be paused/);
    await expect(act(id, "dance")).rejects.toThrow("404");
    await expect(act(id, "abort", { rollback: "yes" })).rejects.toThrow(/400 .*rollback/);
    await expect(act(id, "abort", { rollback: true })).rejects.toThrow(/409 .*no package to go back to/);
    const lacking = { type: 1, arch: 1, version: "4152.0.0", url: "https://updates.example.org/4152.0.0/" };
    await server.api("POST", `/apps/${FLATCAR}/packages`, lacking);
    await expect(act(id, "abort", { rollback: true })).rejects.toThrow(/409 .*no package to go back to/);
    await expect(act(id, "abort", { rollback: true, to: "4152.0.0" })).rejects.toThrow(
      /409 .*package 4152\.0\.0 is incomplete: it lacks filename, size and flatcar_action\.sha256/,
    );
    expect(await rollout()).toMatchObject({ state: "paused", revision: 2 });
    const url = `${server.url}/api${GROUP}/rollouts/${id}`;
    const send = (ifMatch: string) =>
      fetch(`${url}/resume`, {
        method: "POST",
        headers: { "If-Match": ifMatch, "Content-Type": "application/json" },
        body: "{}",
      });
    expect((await send('"1"')).status).toBe(412);
    expect((await send("soon")).status).toBe(400);
    expect((await send((await fetch(url)).headers.get("etag") ?? "")).status).toBe(200);
    expect(await rollout()).toMatchObject({ state: "running", revision: 3 });
  });

  it("changes the stages to come, and no others", async () => {
    await server.setPolicy({ strategy: STAGES });
    await server.release("4230.2.1");
    const { id, revision } = await rollout();
    const put = (body: object) => server.api<View>("PUT", `${GROUP}/rollouts/${id}`, body);
    const stages = [STAGES.stages[0], { percent: 30 }, { percent: 100 }];
    expect(await put({ ...STAGES, stages, revision, reason: "slower" })).toMatchObject({
      revision: 2,
      stages: [{ percent: 20 }, { percent: 30 }, { percent: 100 }],
      history: [{}, { reason: "new plan: slower", actor: "anonymous" }],
    });
    await expect(put({ stages: [{ percent: 99 }], revision: 2 })).rejects.toThrow(/409 .*stage 1 has opened already/);
    await expect(put({ stages })).rejects.toThrow(/400 .*revision/);
    await expect(put({ stages: [stages[0], { percent: 10 }], revision: 2 })).rejects.toThrow(
      /stages\.1\.percent.*can only rise/,
    );
  });

  it("makes a rollout with a strategy of its own, to start later", async () => {
    await server.release("4230.2.1");
    const [before] = await rollouts();
    const start = new Date(server.clock.now() + 5 * HOUR).toISOString();
    const made = await server.api<View>("POST", `${GROUP}/rollouts`, {
      strategy: { preset: "hotfix" },
      start_at: start,
    });
    expect(made).toMatchObject({
      state: "scheduled",
      next: { not_before: start },
      strategy: { health: { max_lost: 2 } },
    });
    expect(await rollout(before?.id)).toMatchObject({ state: "superseded" });
    expect(await ask(FLEET[0] ?? "")).toBe(false);
    await pass(5);
    expect(await rollout(made.id)).toMatchObject({ state: "running" });
    expect(await ask(FLEET[0] ?? "")).toBe(true);
    await expect(server.api("POST", `${GROUP}/rollouts`, { package_id: STABLE_GROUP })).rejects.toThrow(
      /409 .*points to 4230.2.1/,
    );
  });

  it("starts a group's rollout when the one before it is through", async () => {
    const group = await server.api<Record<string, unknown>>("GET", GROUP);
    const { id: _, created_ts: __, channel: ___, ...rest } = group;
    await server.api("POST", `/apps/${FLATCAR}/groups`, { ...rest, name: "Canary", track: "canary" });
    await server.setPolicy({ strategy: { after: [{ group: "canary", bake: "1d" }] } });
    await expect(server.setPolicy({ strategy: { after: [{ group: "nobody" }] } })).rejects.toThrow(
      /400 .*strategy\.after: there is no group/,
    );
    await expect(server.setPolicy({ strategy: { after: [{ group: "stable" }] } })).rejects.toThrow(
      /would wait for itself/,
    );
    await server.release("4230.2.1");
    expect(await rollout()).toMatchObject({ state: "scheduled" });
    expect(await ask(FLEET[0] ?? "")).toBe(false);
    const canary = { track: "canary" };
    expect(await ask(FLEET[1] ?? "", canary)).toBe(true);
    await ask(FLEET[1] ?? "", { ...canary, version: "4230.2.1" });
    await pass(1);
    expect(await rollout()).toMatchObject({
      state: "scheduled",
      next: { on: 'start, after the bake after group "canary"' },
    });
    await pass(24);
    expect(await rollout()).toMatchObject({ state: "running" });
    expect(await ask(FLEET[0] ?? "")).toBe(true);
  });
});

describe("a group that comes after another", () => {
  it("starts as well when that one has gone on to the next version already", async () => {
    const group = await server.api<Record<string, unknown>>("GET", GROUP);
    const { id: _, created_ts: __, channel: ___, ...rest } = group;
    const channel = { name: "canary", color: "#ffffff", arch: 1, application_id: FLATCAR };
    const { id: channelId } = await server.api<{ id: string }>("POST", `/apps/${FLATCAR}/channels`, channel);
    await server.api("POST", `/apps/${FLATCAR}/groups`, { ...rest, name: "Canary", track: "canary", channel_id: channelId }); // biome-ignore format: one line
    await server.setPolicy({ strategy: { after: [{ group: "canary", bake: "1d" }] } });
    const point = (packageId: string) =>
      server.api("PUT", `/apps/${FLATCAR}/channels/${channelId}`, { ...channel, package_id: packageId });
    const newer = await server.release("4593.2.5");
    const older = await server.release("4230.2.1");
    await point(older);
    for (const version of ["4081.2.0", "4230.2.1"]) await ask(FLEET[1] ?? "", { track: "canary", version });
    await pass(1);
    await pass(20);
    await point(newer);
    await pass(1);
    expect(await rollout()).toMatchObject({ state: "scheduled", next: { not_before: expect.any(String) } });
    await pass(24);
    expect(await rollout()).toMatchObject({ state: "running" });
  });
});

describe("a node that waits", () => {
  it("is told why, and when that could change", async () => {
    await server.setPolicy({ strategy: { ...STAGES, stages: [{ percent: 0, bake: "3h" }, { percent: 100 }] } });
    await ask(FLEET[0] ?? "");
    await server.release("4230.2.1");
    const explained = await server.api("GET", `${GROUP}/instances/${FLEET[0]}/explain`);
    expect(explained).toMatchObject({
      reason: "not-in-stage",
      offered_version: null,
      text: expect.stringMatching(
        /^stage 1 of 2 takes percentiles below 0; this node is at [\d.]+; stage 2 opens not before 20/,
      ),
      not_before: new Date(server.clock.now() + 3 * HOUR).toISOString(),
    });
    expect(await rollout()).toMatchObject({ counters: { granted: 0 } });
    await expect(server.api("GET", `${GROUP}/instances/nobody/explain`)).rejects.toThrow("404");
    // It is asked to come back in time: at the latest after two thirds and half of that again.
    const answer = await server.omaha(checks({ machineId: FLEET[0] ?? "" }));
    expect(answer).toContain(`PollInterval="${2 * 3600}"`);
  });

  it("comes back no later than when its window opens", async () => {
    const hour = new Date(server.clock.now()).getUTCHours();
    const at = (h: number) => `${String((hour + h) % 24).padStart(2, "0")}:00`;
    await server.setPolicy({ policy_timezone: "UTC", maintenance_windows: [{ from: at(9), to: at(10) }] });
    await server.release("4230.2.1");
    expect(await server.omaha(checks({ machineId: FLEET[0] ?? "" }))).toContain('PollInterval="9600"');
    server.clock.move({ hours: 9 });
    expect(await ask(FLEET[0] ?? "")).toBe(true);
    await expect(server.setPolicy({ maintenance_windows: [{ from: "9", to: "10:00" }] })).rejects.toThrow(
      /maintenance_windows\.0: .{1,4}9.{1,4} is not a time/,
    );
    await expect(server.setPolicy({ freezes: [{ from: "x", to: "y" }] })).rejects.toThrow(
      /freezes\.0: .{1,4}x.{1,4} is not a date/,
    );
    await server.setPolicy({ freezes: [{ from: "2020-01-01", to: "2099-01-01", reason: "for ever" }] });
    expect(await ask(FLEET[1] ?? "")).toBe(false);
    expect(await server.api("GET", `${GROUP}/instances/${FLEET[1]}/explain`)).toMatchObject({
      reason: "freeze",
      text: expect.stringContaining("for ever"),
    });
  });
});
