import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  aTurnout,
  checks,
  FLATCAR,
  NODE_ID,
  pings,
  reports,
  STABLE_CHANNEL,
  STABLE_GROUP,
  says,
  type TestTurnout,
} from "./turnout.ts";

interface InstanceAnswer {
  application: { status: number; state: string; version: string; update_in_progress: boolean };
}

let server: TestTurnout;
beforeEach(async () => {
  server = await aTurnout();
});
afterEach(() => server.close());

const stateOf = async (id = NODE_ID) =>
  (await server.api<InstanceAnswer>("GET", `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances/${id}`)).application
    .state;
const historyOf = async (id = NODE_ID) => {
  const path = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances/${id}/status_history`;
  const entries = await server.api<{ state: string }[]>("GET", path);
  return entries.map(({ state }) => state).reverse();
};
const counters = async () => {
  const { rollouts } = await server.api<{
    rollouts: { version: string; state: string; counters: Record<string, number> }[];
  }>("GET", `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`);
  return rollouts;
};

describe("one update, from the check to the reboot", () => {
  it("goes through every status and ends complete", async () => {
    await server.release("4230.2.1");
    const offer = await server.omaha(checks());
    expect(offer).toContain('<manifest version="4230.2.1">');
    expect(offer).toContain('codebase="https://update.release.flatcar-linux.net/amd64-usr/4230.2.1/"');
    await server.omaha(reports(13, 1));
    await server.omaha(reports(14, 1));
    await server.omaha(reports(3, 1));
    expect(await stateOf()).toBe("installed");
    await server.omaha(pings());
    expect(await stateOf()).toBe("installed");
    const after = says({
      version: "4230.2.1",
      bootId: "{boot-2}",
      ping: true,
      check: true,
      events: ['eventtype="3" eventresult="2" previousversion="4081.2.0"'],
    });
    expect(await server.omaha(after)).toContain('<updatecheck status="noupdate">');
    expect(await historyOf()).toEqual(["granted", "downloading", "downloaded", "installed", "complete"]);
  });

  it("is complete also when every event was lost", async () => {
    await server.release("4230.2.1");
    await server.omaha(checks());
    await server.omaha(checks({ version: "4230.2.1", bootId: "{boot-2}" }));
    expect(await stateOf()).toBe("complete");
  });

  it("offers the same again to a node that asks again, and counts it once", async () => {
    await server.release("4230.2.1");
    for (let i = 0; i < 3; i++) expect(await server.omaha(checks())).toContain("4230.2.1");
    expect((await counters())[0]?.counters).toMatchObject({ in_flight: 1 });
    expect(await historyOf()).toEqual(["granted"]);
  });
});

describe("an alias of the node's own", () => {
  const aliasOf = async () => {
    const path = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances/${NODE_ID}`;
    return (await server.api<{ alias: string }>("GET", path)).alias;
  };

  it("is gone when it was taken out of update.conf, but not because another client has none", async () => {
    await server.omaha(checks({ alias: "rack7-node3" }));
    expect(await aliasOf()).toBe("rack7-node3");
    await server.omaha(checks({ alias: "rack7-node3" }).replace(/ machinealias="[^"]*"/, ""));
    expect(await aliasOf()).toBe("rack7-node3");
    await server.omaha(checks({ alias: "" }));
    expect(await aliasOf()).toBe("");
  });
});

describe("an update that goes wrong", () => {
  beforeEach(async () => {
    await server.release("4230.2.1");
    await server.omaha(checks());
  });

  it("is failed with its code, waits, and is tried again", async () => {
    await server.omaha(reports(13, 1));
    await server.omaha(reports(3, 0, {}, 268435466));
    expect(await stateOf()).toBe("failed");
    const path = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances/${NODE_ID}/status_history`;
    const [latest] = await server.api<{ error_code: string | number | null }[]>("GET", path);
    expect(Number(latest?.error_code) & 0x0fffffff).toBe(10);
    expect(await server.omaha(checks())).toContain('status="noupdate"');
    server.clock.move({ minutes: 61 });
    expect(await server.omaha(checks())).toContain("4230.2.1");
  });

  it("is rolled back when the node says so", async () => {
    await server.omaha(reports(3, 1));
    await server.omaha(
      says({ bootId: "{boot-2}", ping: true, check: true, events: ['eventtype="3" eventresult="0" errorcode="44"'] }),
    );
    expect(await stateOf()).toBe("rolled-back");
  });

  it("is rolled back when the old version comes back after a reboot", async () => {
    await server.omaha(reports(3, 1));
    await server.omaha(checks({ bootId: "{boot-2}" }));
    expect(await stateOf()).toBe("rolled-back");
  });

  it("is timed out when no end comes within the group's timeout", async () => {
    await server.omaha(reports(13, 1));
    server.clock.move({ minutes: 59 });
    await server.turnout.housekeeping.expireDeadlines();
    expect(await stateOf()).toBe("downloading");
    server.clock.move({ minutes: 2 });
    await server.turnout.housekeeping.expireDeadlines();
    expect(await stateOf()).toBe("timed-out");
  });

  it("is lost when an installed node is never seen again, but not while it still pings", async () => {
    await server.omaha(reports(3, 1));
    for (let i = 0; i < 5; i++) {
      server.clock.move({ minutes: 45 });
      await server.omaha(pings());
      await server.turnout.housekeeping.expireDeadlines();
    }
    expect(await stateOf()).toBe("installed");
    server.clock.move({ minutes: 61 });
    await server.turnout.housekeeping.expireDeadlines();
    expect(await stateOf()).toBe("lost");
    await server.omaha(checks({ version: "4230.2.1", bootId: "{boot-2}" }));
    expect(await stateOf()).toBe("complete");
  });
});

describe("policies", () => {
  it("hold back what exceeds the limit, as noupdate", async () => {
    await server.setPolicy({ policy_max_updates_per_period: 2, policy_period_interval: "15 minutes" });
    await server.release("4230.2.1");
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => server.omaha(checks({ machineId: `${i}`.padStart(32, "0") }))),
    );
    expect(answers.filter((answer) => answer.includes("<manifest")).length).toBe(2);
    expect(await stateOf("19".padStart(32, "0"))).toBe("on-hold");
  });

  it("in safe mode admit one node, stop at its failure and say so", async () => {
    await server.setPolicy({ policy_safe_mode: true });
    await server.release("4230.2.1");
    const ids = Array.from({ length: 30 }, (_, i) => `${i}`.padStart(32, "a"));
    const answers = await Promise.all(ids.map((machineId) => server.omaha(checks({ machineId }))));
    const first = ids.filter((_, i) => answers[i]?.includes("<manifest"));
    expect(first.length).toBe(1);
    await server.omaha(reports(3, 0, { machineId: first[0] ?? "" }, 268435465));
    const group = await server.api("GET", `/apps/${FLATCAR}/groups/${STABLE_GROUP}`);
    expect(group).toMatchObject({ policy_updates_enabled: false, updates_stopped_by: "safe-mode" });
    const { activities } = await server.api<{ activities: { class: number; severity: number }[] }>(
      "GET",
      `/activity?start=2026-03-01T00:00:00Z&end=2026-03-31T00:00:00Z`,
    );
    expect(activities).toContainEqual(expect.objectContaining({ class: 4, severity: 4 }));
    expect(await server.omaha(checks({ machineId: ids[5] ?? "" }))).not.toContain("<manifest");
    await server.api("POST", `/apps/${FLATCAR}/groups/${STABLE_GROUP}/resume-updates`);
    expect(await server.omaha(checks({ machineId: ids[5] ?? "" }))).toContain("<manifest");
  });

  it("in safe mode go on for all after the first node's success", async () => {
    await server.setPolicy({ policy_safe_mode: true });
    await server.release("4230.2.1");
    await server.omaha(checks());
    expect(await server.omaha(checks({ machineId: "c".repeat(32) }))).not.toContain("<manifest");
    await server.omaha(checks({ version: "4230.2.1", bootId: "{boot-2}" }));
    expect(await server.omaha(checks({ machineId: "c".repeat(32) }))).toContain("<manifest");
  });

  it("stop grants at once when updates are turned off, also those not begun", async () => {
    await server.release("4230.2.1");
    await server.omaha(checks());
    await server.setPolicy({ policy_updates_enabled: false });
    expect(await server.omaha(checks())).not.toContain("<manifest");
    expect(await stateOf()).toBe("on-hold");
  });
});

describe("a rollout", () => {
  it("exists from the start, counts its nodes, completes and is superseded by a newer one", async () => {
    await server.release("4230.2.1");
    await server.omaha(checks());
    await server.omaha(checks({ version: "4230.2.1", bootId: "{boot-2}" }));
    await server.turnout.housekeeping.moveRollouts();
    expect(await counters()).toMatchObject([{ version: "4230.2.1", state: "completed", counters: { complete: 1 } }]);
    await server.release("4593.2.5");
    const states = Object.fromEntries((await counters()).map(({ version, state }) => [version, state]));
    expect(states).toEqual({ "4230.2.1": "superseded", "4593.2.5": "running" });
    expect(await server.omaha(checks({ version: "4230.2.1", bootId: "{boot-2}" }))).toContain("4593.2.5");
  });

  it("takes a node over every floor", async () => {
    const floor = await server.release("4152.0.0");
    await server.release("4230.2.1");
    await server.api("PUT", `/channels/e06064ad-4414-4904-9a6e-fd465593d1b2/floors/${floor}`, {
      floor_reason: "cgroups",
    });
    expect(await server.omaha(checks())).toContain('<manifest version="4152.0.0">');
    expect(await server.omaha(checks({ version: "4152.0.0", bootId: "{boot-2}" }))).toContain(
      '<manifest version="4230.2.1">',
    );
  });
});

describe("a node of 2015, which calls itself what mirrors call themselves", () => {
  const old = (text: string) => text.replaceAll("update_engine-0.4.10", "CoreOSUpdateEngine-0.1.0.0");

  it("waits while the rollout is paused, is seen, and goes the same way as any other when it runs", async () => {
    await server.release("4230.2.1");
    const rollout = (await server.api<{ rollouts: { id: string }[] }>("GET", `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`)).rollouts[0]?.id; // biome-ignore format: one line
    const act = (what: string) =>
      server.api("POST", `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts/${rollout}/${what}`, { reason: "a look" });
    await act("pause");
    expect(await server.omaha(old(checks()))).toContain('<updatecheck status="noupdate"');
    expect(await stateOf()).toBe("unknown");
    await act("resume");
    expect(await server.omaha(old(checks()))).toContain('<manifest version="4230.2.1">');
    await server.omaha(old(reports(13, 1)));
    await server.omaha(old(pings()));
    expect(await stateOf()).toBe("installed");
    await server.omaha(old(checks({ bootId: "{boot-2}" })));
    expect(await stateOf()).toBe("rolled-back");
    expect((await counters())[0]?.counters).toMatchObject({ rolled_back: 1 });
  });

  it("goes by the floor", async () => {
    const floor = await server.release("4152.2.0");
    await server.release("4230.2.1");
    await server.api("PUT", `/channels/${STABLE_CHANNEL}/floors/${floor}`, { floor_reason: "the disk" });
    const answer = await server.omaha(old(checks()));
    expect(answer).toContain('<manifest version="4152.2.0">');
    expect(answer).not.toContain("4230.2.1");
  });
});
