/** Safe mode's brake and what a person has set of a group are two things: neither undoes the other. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Decisions } from "../../src/checkin/decisions.ts";
import { aCheckIn, anEvent, aReport, MINUTE } from "../rollout/builders.ts";
import { type Api, anApi, FLATCAR, GROUP, NOWHERE, STABLE } from "./api.ts";

const A = `/apps/${FLATCAR}`;
const FIRST = aCheckIn().machineId;
const SECOND = "c".repeat(32);

let api: Api;
let decisions: Decisions;

beforeEach(async () => {
  api = await anApi();
  decisions = new Decisions(api.world.checkIns, {
    newNodesPerMinute: 0,
    onFault(error) {
      throw error;
    },
  });
  await change({ policy_safe_mode: true });
  await api.point(STABLE, await api.aPackage("4230.2.1"));
});
afterEach(() => {
  expect(api.faults).toEqual([]);
  api.close();
});

const group = async () => (await api.get(`${A}/groups/${GROUP}`).expect(200)).body;
const change = async (changes: Record<string, unknown>) =>
  (await api.put(`${A}/groups/${GROUP}`, { ...(await group()), ...changes }).expect(200)).body;
const resume = (body: unknown = undefined) => api.post(`${A}/groups/${GROUP}/resume-updates`, body);

async function reasonFor(...apps: Parameters<typeof aCheckIn>): Promise<string | undefined> {
  const [answers] = await decisions.run([{ apps: [aCheckIn(...apps)], ip: "192.0.2.1", now: api.clock.now() }]);
  return answers?.[0]?.reason;
}

/** The first node fails: the brake is pulled. */
async function brake(): Promise<void> {
  expect(await reasonFor()).toBe("granted");
  const app = aReport(anEvent(3, 0, { errorCode: 268435465 }));
  await decisions.run([{ apps: [app], ip: "192.0.2.1", now: api.clock.now() }]);
}

describe("safe mode's brake", () => {
  it("says who stopped the updates, when, why, and with which node and release", async () => {
    expect(await group()).toMatchObject({
      policy_updates_enabled: true,
      updates_stopped_by: null,
      updates_stopped: null,
    });
    await brake();
    const { body: rollouts } = await api.get(`${A}/groups/${GROUP}/rollouts`).expect(200);
    expect(await group()).toMatchObject({
      policy_updates_enabled: false,
      updates_stopped_by: "safe-mode",
      updates_stopped: {
        since: "2026-03-04T12:00:00.000Z",
        reason: "the first node did not come through",
        version: "4230.2.1",
        rollout_id: rollouts.rollouts[0].id,
        instance_id: FIRST,
      },
    });
    expect(await reasonFor({ machineId: SECOND })).toBe("stopped-by-safe-mode");
  });

  it("is not let go by who turns updates on, however often, but by who resumes them", async () => {
    await brake();
    for (let turn = 0; turn < 3; turn += 1) {
      // As a declarative tool does it, which knows nothing of the brake.
      const { updates_stopped_by: _, updates_stopped: __, ...known } = await group();
      await api.put(`${A}/groups/${GROUP}`, { ...known, policy_updates_enabled: true }).expect(200);
      expect(await group()).toMatchObject({ policy_updates_enabled: false, updates_stopped_by: "safe-mode" });
    }
    await change({ policy_safe_mode: false, policy_updates_enabled: true });
    expect(await reasonFor({ machineId: SECOND })).toBe("stopped-by-safe-mode");
    await change({ policy_safe_mode: true });

    const { body } = await resume({ reason: "its disk was full" }).expect(200);
    expect(body).toMatchObject({ policy_updates_enabled: true, updates_stopped_by: null, updates_stopped: null });
    expect(await reasonFor({ machineId: SECOND })).toBe("granted");
    expect(await reasonFor({ machineId: "d".repeat(32) })).toBe("canary-pending");
  });

  it("is let go once: there is nothing to resume where nothing is stopped, and it can be pulled again", async () => {
    const { body } = await resume().expect(409);
    expect(body.detail).toBe(
      'safe mode has not stopped the updates of group "Stable (AMD64)": there is nothing to resume',
    );
    await brake();
    await resume().expect(200);
    await resume().expect(409);
    api.clock.move({ minutes: 61 });
    await brake();
    expect(await group()).toMatchObject({ updates_stopped: { since: "2026-03-04T13:01:00.000Z" } });
    await api.post(`${A}/groups/${NOWHERE}/resume-updates`, {}).expect(404);
  });

  it("keeps the first of several failures: that is what a person looks for", async () => {
    await brake();
    const since = (await group()).updates_stopped.since;
    api.clock.move({ minutes: 2 });
    // Granted before, and out of time by now.
    api.world.db
      .prepare("UPDATE nodes SET status = 'granted', failure = NULL, deadline = ?")
      .run(api.clock.now() - MINUTE);
    await decisions.expireDue(api.clock.now());
    expect((await group()).updates_stopped.since).toBe(since);
  });

  it("is in the audit log when it is let go, with who did it and why", async () => {
    await brake();
    await resume({ reason: "its disk was full" }).expect(200);
    const { body } = await api.get("/audit?action=resumeUpdates").expect(200);
    expect(body.entries).toMatchObject([
      {
        actor: "anonymous",
        subject: "group",
        subject_id: GROUP,
        group_id: GROUP,
        before: { updates_stopped_by: "safe-mode", updates_stopped: { instance_id: FIRST } },
        after: { updates_stopped_by: null, updates_stopped: null, reason: "its disk was full" },
      },
    ]);
  });
});

describe("a person's setting, while safe mode has stopped the updates", () => {
  it("is kept by who changes something else, with the whole object or with what it has to send", async () => {
    await brake();
    await change({ description: "racks 1 to 7" });
    const { policy_updates_enabled: _, ...rest } = await group();
    await api.put(`${A}/groups/${GROUP}`, { ...rest, description: "racks 1 to 8" }).expect(200);
    await resume().expect(200);
    expect(await group()).toMatchObject({ policy_updates_enabled: true, description: "racks 1 to 8" });
  });

  it("is off when a person turns updates off, and stays so when they are resumed", async () => {
    await brake();
    const { updates_stopped_by: _, ...said } = await group();
    await api.put(`${A}/groups/${GROUP}`, { ...said, policy_updates_enabled: false }).expect(200);
    const { body } = await resume().expect(200);
    expect(body).toMatchObject({ policy_updates_enabled: false, updates_stopped_by: null });
    expect(await reasonFor({ machineId: SECOND })).toBe("updates-disabled");
    await change({ policy_updates_enabled: true });
    expect(await reasonFor({ machineId: SECOND })).toBe("granted");
  });

  it("is changed with a line in the audit log, also where both look the same together", async () => {
    await brake();
    const { updates_stopped_by: _, ...said } = await group();
    for (const on of [false, true])
      await api.put(`${A}/groups/${GROUP}`, { ...said, policy_updates_enabled: on }).expect(200);
    const { body } = await api.get("/audit?action=updateGroup&perpage=2").expect(200);
    expect(
      body.entries.map(({ before, after }: Record<string, { policy_updates_enabled: boolean }>) => [
        before?.policy_updates_enabled,
        after?.policy_updates_enabled,
      ]),
    ).toEqual([
      [false, true],
      [true, false],
    ]);
  });

  it("is what a fleet file says, and applying one neither pulls the brake nor lets it go", async () => {
    const before = (await api.get("/fleet").expect(200)).body;
    await brake();
    const fleet = (await api.get("/fleet").expect(200)).body;
    expect(fleet).toEqual(before);
    const { body: plan } = await api.post("/fleet/plan", { fleet }).expect(200);
    expect(plan.changes).toEqual([]);
    const silent = structuredClone(fleet);
    for (const one of silent.applications[0].groups) delete one.policy.updates_enabled;
    for (const one of [fleet, silent]) {
      await api.post("/fleet/apply", { fleet: one }).expect(200);
      expect(await group()).toMatchObject({ policy_updates_enabled: false, updates_stopped_by: "safe-mode" });
    }
    await resume().expect(200);
    expect(await group()).toMatchObject({ policy_updates_enabled: true });
  });

  it("is copied with its group, and the brake is not", async () => {
    await brake();
    const { body } = await api.post(`/apps?clone_from=${FLATCAR}`, { name: "Copy" }).expect(200);
    for (const one of body.groups)
      expect(one).toMatchObject({ policy_updates_enabled: true, updates_stopped_by: null });
  });
});

it("a node that asks is told why by explain, with the way out", async () => {
  await brake();
  await reasonFor({ machineId: SECOND });
  const { body } = await api.get(`${A}/groups/${GROUP}/instances/${SECOND}/explain`).expect(200);
  expect(body).toMatchObject({
    reason: "stopped-by-safe-mode",
    text: 'safe mode has stopped the updates of group "Stable (AMD64)" since 2026-03-04T12:00Z: the first node did not come through with 4230.2.1; a person has to resume them (resume-updates)',
  });
});

it("the rollout says that it waits for a person, and a forecast sees that nothing is granted", async () => {
  await brake();
  const { body } = await api.get(`${A}/groups/${GROUP}/rollouts`).expect(200);
  expect(body.rollouts[0]).toMatchObject({
    state: "running",
    next: { on: "a person to resume the group's updates, which safe mode has stopped", not_before: null },
  });
  const simulated = async () =>
    (await api.post(`${A}/groups/${GROUP}/rollouts/simulate`, { nodes: 10 }).expect(200)).body;
  expect(await simulated()).toMatchObject({ complete: 0, end: "updates turned off" });
  await resume().expect(200);
  expect(await simulated()).toMatchObject({ complete: 10, end: "completed" });
});
