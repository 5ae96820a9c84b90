import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { aTurnout, checks, FLATCAR, reports, STABLE_GROUP, type TestTurnout } from "../e2e/turnout.ts";
import { caught, type Surroundings } from "./caught.ts";

let server: TestTurnout;
const machine = (n: number) => n.toString(16).padStart(32, "0");

/** Nine nodes of the stable group: one failed, one has a name, the others wait their turn; one is of another group. */
beforeAll(async () => {
  server = await aTurnout();
  await server.release("4230.2.1");
  await server.setPolicy({ policy_max_updates_per_period: 2 });
  for (let n = 1; n <= 9; n += 1)
    await server.omaha(checks({ machineId: machine(n), alias: n === 9 ? "rack7-node3" : "" }));
  await server.omaha(reports(3, 0, { machineId: machine(1) }, 9));
  await server.omaha(checks({ machineId: machine(10), track: "beta" }));
});
afterAll(() => server.close());

const turnout = (args: readonly string[], surroundings: Surroundings = {}) =>
  caught(args, { ...surroundings, environment: { TURNOUT_SERVER: server.url } });
async function done(...args: string[]): Promise<string> {
  const { code, out, err } = await turnout(args);
  expect([code, err], args.join(" ")).toEqual([0, ""]);
  return out;
}

describe("turnout nodes", () => {
  it("lists the nodes of a group or of all, as they stand", async () => {
    const all = await done("nodes", "list");
    expect(all).toMatch(/^NODE +ALIAS +GROUP +VERSION +STATUS +LAST SEEN\n/);
    expect(all.trimEnd().split("\n")).toHaveLength(11);
    expect(all).toMatch(
      new RegExp(`^${machine(1)} +- +Stable \\(AMD64\\) +4081\\.2\\.0 +failed \\(9\\) +\\d{4}-`, "m"),
    );
    const group = ["nodes", "list", "--group", "Stable (AMD64)"];
    expect((await done(...group)).trimEnd().split("\n")).toHaveLength(10);
    expect((await done(...group, "--status", "failed")).trimEnd().split("\n")).toHaveLength(2);
    expect(await done(...group, "--search", "RACK7")).toContain("rack7-node3");
    const json = JSON.parse(await done(...group, "--version", "4081.2.0", "--json"));
    expect(json.total).toBe(9);
    expect(json.instances[0]).toMatchObject({ id: machine(1), application: { state: "failed", error_code: 9 } });
    expect(await done("nodes", "list", "--search", "nix")).toBe(
      "no such node was seen within 1d; --seen looks further back\n",
    );
    const few = await turnout([...group, "--limit", "4"]);
    expect(few.out.trimEnd().split("\n")).toHaveLength(5);
    expect(few.err).toMatch(/^there are more: say which with /);
    const node = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances/${machine(4)}`;
    await server.api("PUT", `${node}/labels`, { labels: { rack: "7" } });
    await server.api("POST", `${node}/hold`, { reason: "its disk is being replaced" });
    for (const filter of [["--label", "rack=7"], ["--held"]]) {
      expect((await done(...group, ...filter)).trimEnd().split("\n")).toHaveLength(2);
    }
    expect(await done("nodes", "show", machine(4))).toMatch(
      /^labels +rack=7\nheld +by anonymous since .+: its disk is being replaced\n/m,
    );
    await server.api("POST", `${node}/release`);
  });

  it("shows a node by its id or alias with its history, and names one", async () => {
    const shown = await done("nodes", "show", machine(1));
    expect(shown).toMatch(
      /^group +Stable \(AMD64\)\nversion +4081\.2\.0\nstatus +failed \(9\)\nlast update +4230\.2\.1, offered /m,
    );
    expect(shown).toMatch(/WHEN +STATUS +VERSION +ERROR\n.+ failed +4230\.2\.1 +9\n.+ granted +4230\.2\.1 +-\n$/);
    expect(JSON.parse(await done("nodes", "show", "RACK7-node3", "--json"))).toMatchObject({
      id: machine(9),
      history: expect.any(Array),
    });
    expect(await done("nodes", "set", machine(2), "--alias", "the red one")).toMatch(/^alias +the red one$/m);
    expect(await done("nodes", "show", "the red one")).toContain(machine(2));
    await done("nodes", "set", machine(3), "--alias", "the red one", "--json");
    expect((await turnout(["nodes", "show", "the red one"])).err).toMatch(
      /^turnout: several nodes have the alias "the red one": /,
    );
    expect(await turnout(["nodes", "show", "nobody"])).toMatchObject({
      code: 1,
      err: 'turnout: there is no node "nobody" in any of the 10 groups; it is found by its whole machine id, or its alias\n',
    });
    expect(await done("explain", "rack7-node3")).toMatch(/^node 0+9, running 4081\.2\.0/);
  });
});

describe("turnout status", () => {
  it("says who asks, how groups and rollouts stand, and that all is well", async () => {
    const out = await done("status");
    expect(out).toMatch(
      /^server +http:\/\/127\.0\.0\.1:\d+, Turnout 0\.1\.0\nyou +anonymous "anonymous", admin\n\nFlatcar/,
    );
    expect(out).toMatch(/^Stable \(AMD64\) +stable → 4230\.2\.1 +9 +0 +\d+ +\d+ +1$/m);
    expect(out).toMatch(
      /^4230\.2\.1 +Stable \(AMD64\) +running +1 of 1 +completion, after the nodes of stage 1 of 1 have finished$/m,
    );
    expect(out).toMatch(/\nall is well\n$/);
    expect(JSON.parse(await done("status", "--json"))).toMatchObject({ needs: [], who: { role: "admin" } });
  });

  it("exits with 3 when a rollout is paused or halted, or waits for approval; updates that a person has turned off need nobody", async () => {
    const group = ["--group", "Stable (AMD64)"];
    const needs = async (): Promise<string> => {
      const { code, out, err } = await turnout(["status"]);
      expect([code, err]).toEqual([3, ""]);
      expect(JSON.parse((await turnout(["status", "--json"])).out).needs).toHaveLength(1);
      return out;
    };
    await done("rollouts", "pause", ...group);
    expect(await needs()).toMatch(
      /^! Stable \(AMD64\): the rollout of 4230\.2\.1 is paused, and waits for a person to resume it$/m,
    );
    await done("rollouts", "resume", ...group);
    await done("rollouts", "halt", ...group);
    expect(await needs()).toContain("is halted, and waits for a person to resume or abort it");
    await done("rollouts", "abort", ...group);
    expect(await done("status")).toContain("all is well");
    await done("groups", "set", "Stable (AMD64)", "--safe-mode", "on", "--updates-enabled", "off");
    expect(await done("status")).toMatch(/ 4230\.2\.1, updates off .*\n(.*\n)*all is well\n$/);
    await done("groups", "set", "Stable (AMD64)", "--safe-mode", "off", "--updates-enabled", "on");
  });

  it("exits with 3 when safe mode has stopped updates, and says how they go on; a person's setting is kept apart", async () => {
    const other = await aTurnout();
    const group = "Stable (AMD64)";
    const at = async (...args: string[]) => {
      const { code, out, err } = await caught([...args, "--server", other.url]);
      return { code, out, err };
    };
    await other.setPolicy({ policy_safe_mode: true });
    await other.release("4230.2.1");
    await other.omaha(checks({ machineId: machine(1) }));
    await other.omaha(reports(3, 0, { machineId: machine(1) }, 9));
    const needs = await at("status");
    expect(needs.code).toBe(3);
    expect(needs.out).toMatch(
      /^! Stable \(AMD64\): safe mode has stopped updates since .+ UTC: the first node did not come through with 4230\.2\.1; turnout groups resume-updates lets them go on$/m,
    );
    expect(needs.out).toMatch(/^Stable \(AMD64\) +stable → 4230\.2\.1, updates stopped /m);
    expect((await at("groups", "list")).out).toMatch(/^Stable \(AMD64\) .* stopped$/m);
    expect((await at("groups", "set", group, "--updates-enabled", "on")).out).toMatch(
      new RegExp(
        `^stopped +by safe mode since .+: .+ \\(${machine(1)}\\); once you know why: turnout groups resume-updates "Stable \\(AMD64\\)"$`,
        "m",
      ),
    );
    await at("groups", "set", group, "--description", "racks 1 to 7");
    const resumed = await at("groups", "resume-updates", group, "--reason", "its disk was full");
    expect([resumed.code, resumed.err]).toEqual([0, ""]);
    expect(resumed.out).toMatch(/^updates-enabled +on\nsafe-mode +on$/m);
    expect((await at("status")).out).toContain("all is well");
    expect(await at("groups", "resume-updates", group)).toMatchObject({
      code: 1,
      err: `turnout: safe mode has not stopped the updates of group "${group}": there is nothing to resume\n`,
    });

    await other.omaha(checks({ machineId: machine(2) }));
    await other.omaha(reports(3, 0, { machineId: machine(2) }, 9));
    expect((await at("status")).code).toBe(3);
    await at("groups", "set", group, "--updates-enabled", "off");
    const off = await at("groups", "resume-updates", group);
    expect(off.err).toBe(
      `a person has turned updates off besides: turnout groups set "${group}" --updates-enabled on\n`,
    );
    expect(off.out).toMatch(/^updates-enabled +off\nsafe-mode +on$/m);
    await other.close();
  });

  it("exits with 3 when nodes are in a group for another architecture, and says what would help", async () => {
    const other = await aTurnout();
    const channel = await other.api("GET", `/apps/${FLATCAR}/channels/5dfe7b12-c94a-470d-a2b6-2eae78c5c9f5`);
    const ask = () => other.omaha(checks({ track: STABLE_GROUP, board: "arm64-usr" }));
    await ask();
    expect(await caught(["status", "--server", other.url])).toMatchObject({ code: 0 });
    await other.api("DELETE", `/apps/${FLATCAR}/channels/${channel.id}`);
    await ask();
    const { code, out } = await caught(["status", "--server", other.url]);
    expect([code, out]).toEqual([
      3,
      expect.stringMatching(
        /^! Stable \(AMD64\): 1 of its nodes is aarch64 \(e\.g\. \S+\), and it is for amd64: .+ the track "stable" and a channel for aarch64$/m,
      ),
    ]);
    await other.close();
  });

  it("exits with 3 when a group's channel points to a package that lacks something", async () => {
    const app = `/apps/${FLATCAR}`;
    const url = "https://updates.example.org/5000.0.0/";
    const pack = await server.api("POST", `${app}/packages`, { type: 1, arch: 1, version: "5000.0.0", url });
    const channel = await server.api("POST", `${app}/channels`, { name: "new", arch: 1, package_id: pack.id });
    const policy = { policy_timezone: "", policy_period_interval: "1 hours", policy_update_timeout: "1 hours" };
    const body = { name: "New", ...policy, policy_max_updates_per_period: 10, channel_id: channel.id };
    const group = await server.api("POST", `${app}/groups`, body);
    const { code, out } = await turnout(["status"]);
    expect([code, out]).toEqual([
      3,
      expect.stringMatching(
        /^! New: channel new points to 5000\.0\.0, which lacks filename, size and .+: nobody gets it$/m,
      ),
    ]);
    for (const path of [`groups/${group.id}`, `channels/${channel.id}`, `packages/${pack.id}`]) {
      await server.api("DELETE", `${app}/${path}`);
    }
    await done("status");
  });

  it("exits with 3 when two machines report with one id; the lists and the node itself say so, until it is over", async () => {
    const other = await aTurnout();
    const at = (...args: string[]) => caught([...args, "--server", other.url]);
    await other.release("4230.2.1");
    const [clone, single] = [machine(11), machine(12)];
    for (const [bootId, version] of [
      ["{a}", "4081.2.0"],
      ["{b}", "4152.0.0"],
      ["{a}", "4081.2.0"],
    ] as const) {
      await other.omaha(checks({ machineId: clone, bootId, version }));
      await other.omaha(checks({ machineId: single }));
      other.clock.move({ minutes: 20 });
    }
    const told = await at("status");
    expect([told.code, told.out]).toEqual([
      3,
      expect.stringMatching(
        new RegExp(
          `^! Stable \\(AMD64\\): 1 machine id \\(${clone}\\) is shared by two machines or more, which get no update; turnout nodes list --shared-id$`,
          "m",
        ),
      ),
    ]);
    const listed = (await at("nodes", "list", "--shared-id")).out.trimEnd().split("\n");
    expect(listed).toHaveLength(2);
    expect(listed[1]).toMatch(new RegExp(`^${clone} .* on-hold, shared id `));
    expect((await at("nodes", "show", clone)).out).toMatch(
      /^shared id +by two machines or more since .+ UTC: none is updated; besides this one: 4152\.0\.0 at 127\.0\.0\.1 \(until .+ UTC\)$/m,
    );
    expect((await at("nodes", "show", single)).out).not.toContain("shared id");
    expect((await at("explain", clone)).out).toContain(
      "shared-machine-id: two machines or more report with this machine id",
    );
    const path = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances/${clone}`;
    expect(await other.api("GET", path)).toMatchObject({
      shared_machine_id: { since: "2026-03-04T12:20:00.000Z", last_noticed_ts: "2026-03-04T12:40:00.000Z" },
    });
    await other.turnout.housekeeping.flushSeen();
    other.clock.move({ hours: 23 });
    expect((await at("status")).code).toBe(3);
    other.clock.move({ minutes: 41 });
    await other.omaha(checks({ machineId: single }));
    expect((await at("status")).out).toContain("all is well");
    expect(await other.api("GET", path)).toMatchObject({ shared_machine_id: null });
    await other.close();
  });

  it("exits with 3 when the gate has closed a slice of a rollout that goes on", async () => {
    const other = await aTurnout();
    await other.setPolicy({ strategy: { stages: [{ percent: 100 }], health: { slices: ["oem"] } } });
    await other.release("4230.2.1");
    for (let n = 0; n < 24; n += 1) {
      const node = { machineId: machine(n), oem: n % 3 === 0 ? "vmware" : "azure" };
      await other.omaha(checks(node));
      if (n % 3 === 0) await other.omaha(reports(3, 0, node, 9));
      else await other.omaha(checks({ ...node, version: "4230.2.1", bootId: "{boot-2}" }));
    }
    const { code, out } = await caught(["status", "--server", other.url]);
    expect([code, out]).toEqual([
      3,
      expect.stringMatching(
        /^! Stable \(AMD64\): the rollout of 4230\.2\.1 is closed for oem=vmware \(.+\) until a person resumes it$/m,
      ),
    ]);
    await other.close();
  });

  it("exits with 1 and one line when there is no server, or none of ours", async () => {
    const at = (url: string) => caught(["status", "--server", url]);
    expect(await at("http://127.0.0.1:9")).toMatchObject({ code: 1, out: "", err: expect.stringMatching(/^turnout: http:\/\/127\.0\.0\.1:9 can't be reached: .+\n$/) }); // biome-ignore format: one line
    expect((await at(`${server.url}/health?`)).err).toContain("does not answer as Turnout does: is that its address?");
    expect((await at("nonsense")).code).toBe(1);
  });
});

it("tables fit into 80 columns", async () => {
  for (const args of [
    ["status"],
    ["nodes", "list"],
    ["nodes", "show", machine(1)],
    ["groups", "list"],
    ["channels", "list"],
    ["packages", "list"],
    ["packages", "show", "4230.2.1"],
    ["apps", "list"],
    ["apps", "show", "Flatcar Container Linux"],
    ["rollouts", "list", "--group", "Stable (AMD64)"],
    ["rollouts", "show", "--group", "Stable (AMD64)"],
    ["explain", machine(1)],
    ["audit", "list"],
    ["audit", "verify"],
  ]) {
    // biome-ignore format: one list
    const { out, err } = await turnout(args, { columns: 80 });
    expect(err).toBe("");
    for (const line of out.split("\n")) expect(line.length, `${args.join(" ")}: ${line}`).toBeLessThanOrEqual(80);
  }
});
