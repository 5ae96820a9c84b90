/** What people do to nodes, over HTTP, on the real server. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { recount } from "../../src/store/recount.ts";
import { groupBody } from "../admin/api.ts";
import { Documented } from "../admin/documented.ts";
import { aProcess, apiClient, aTurnout, checks, FLATCAR, postOmaha, reports, STABLE_CHANNEL, STABLE_GROUP, type TestTurnout } from "./turnout.ts"; // biome-ignore format: one line

const ADMIN = "a-token-of-the-tests-0001";
const machine = (n: number) => n.toString(16).padStart(32, "0");
const range = (length: number) => Array.from({ length }, (_, n) => n);

let server: TestTurnout;
let api: Documented;
/** A group of the track "lab" that follows the stable channel. */
let lab: string;

beforeEach(async () => {
  server = await aTurnout({ TURNOUT_AUTH: "token", TURNOUT_ADMIN_TOKEN: ADMIN });
  api = await Documented.of(server.url, ADMIN);
  const body = groupBody({ name: "Lab", track: "lab", channel_id: STABLE_CHANNEL });
  lab = (await api.call("createGroup", { params: { app: FLATCAR }, body })).body.id;
});
afterEach(async () => {
  expect(await recount(server.turnout.store.read, false)).toEqual([]);
  expect((await api.call("verifyAudit")).body.broken).toBeNull();
  await server.close();
});

const app = { app: FLATCAR };
const at = (n: number, group = STABLE_GROUP) => ({ ...app, group, instance: machine(n) });
const ask = async (n: number, what: object = {}) =>
  (await server.omaha(checks({ machineId: machine(n), ...what }))).includes('<updatecheck status="ok"');
const explain = async (n: number, group = STABLE_GROUP) => (await api.call("explainInstance", { params: at(n, group) })).body; // biome-ignore format: one line
const bulk = async (body: object, token: string = ADMIN) => (await api.call("changeInstances", { params: app, body, token })).body; // biome-ignore format: one line
const refused = async (id: string, given: object) => {
  const { status, body } = await api.send(id, given);
  return `${status} ${body?.detail ?? ""}`;
};
const release = async (version: string) => {
  const package_ = await api.call("createPackage", { params: app, body: { application_id: FLATCAR, type: 1, arch: 1, version, url: "https://x.example/", filename: "f.gz", size: "5", hash: "DWDFOxrHPmQs9BW4iyawePscnD0=", flatcar_action: { sha256: "sGWSKGG6ThF1d1Q79UPTq1xN7mJyz870KaIUGrDJIDA=" } } }); // biome-ignore format: one line
  await api.call("updateChannel", { params: { ...app, channel: STABLE_CHANNEL }, body: { name: "stable", color: "#14b9d6", arch: 1, package_id: package_.body.id } }); // biome-ignore format: one line
};
const nodes = () => server.turnout.store.read.selectFrom("nodes").selectAll().orderBy("no").execute();
const audit = async (action: string) => (await api.call("listAudit", { query: { action, perpage: 1000 } })).body.entries; // biome-ignore format: one line
const aToken = async (body: object) => (await api.call("createToken", { body: { name: `t${Math.random()}`, role: "operator", ...body } })).body.token; // biome-ignore format: one line

describe("one node", () => {
  it("is held with a reason, told so, and released", async () => {
    await release("4230.2.1");
    await ask(1, { check: false });
    const { body } = await api.call("holdInstance", { params: at(1), body: { reason: "its disk is full" } });
    const since = new Date(server.clock.now()).toISOString();
    expect(body.held).toEqual({ since, by: "admin", reason: "its disk is full" });
    expect(await ask(1)).toBe(false);
    const told = await explain(1);
    expect(told).toMatchObject({ reason: "held", held: body.held, not_before: null });
    expect(told.text).toMatch(/^admin has held it since .*: its disk is full$/);
    expect((await api.call("releaseInstance", { params: at(1) })).body.held).toBeNull();
    await api.call("releaseInstance", { params: at(1) });
    expect(await ask(1)).toBe(true);
    expect(await audit("holdInstance")).toMatchObject([
      { subject: "instance", subject_id: machine(1), group_id: STABLE_GROUP, before: { held: null }, after: { held: body.held } }, // biome-ignore format: one line
    ]);
    expect(await audit("releaseInstance")).toHaveLength(1);
  });

  it("is labelled, if it is as it was seen", async () => {
    await ask(1);
    const labels = { rack: "7", "example.org/env": "lab" };
    const { headers, body } = await api.call("setInstanceLabels", { params: at(1), body: { labels } });
    expect(body.labels).toEqual(labels);
    const seen = { "If-Match": headers.get("etag") ?? "" };
    await api.call("setInstanceLabels", { params: at(1), body: { labels: { rack: "8" } }, headers: seen });
    for (const id of ["setInstanceLabels", "deleteInstance"])
      expect(await refused(id, { params: at(1), body: { labels: {} }, headers: seen })).toMatch(/^412 it has changed/);
    expect((await explain(1)).labels).toEqual({ rack: "8" });
    await api.call("setInstanceLabels", { params: at(1), body: { labels: {} } });
    expect((await nodes())[0]?.labels).toBeNull();
  });

  it("is moved to a group whatever its track, and goes by its track again", async () => {
    await release("4230.2.1");
    await ask(1, { check: false });
    const moved = await api.call("moveInstance", { params: at(1), body: { group_id: lab.toUpperCase() } });
    expect(moved.body).toMatchObject({ own_group_id: lab, application: { group_id: lab } });
    expect(await ask(1)).toBe(true);
    await server.omaha(reports(13, 1, { machineId: machine(1) }));
    const told = await explain(1, lab);
    expect(told).toMatchObject({ reason: "offered-again", own_group_id: lab });
    expect(told.steps[1].text).toBe('it is in group "Lab": a person has put it there, whatever its track');
    const gone = await api.call("moveInstance", { params: at(1, lab), body: { group_id: null } });
    expect(gone.body).toMatchObject({ own_group_id: null, application: { group_id: lab } });
    await ask(1, { version: "4230.2.1" });
    expect(await explain(1)).toMatchObject({ reason: "up-to-date", state: "complete" });
    expect((await audit("moveInstance")).map(({ after }: { after: object }) => after)).toMatchObject([
      { group_id: lab, own_group_id: null },
      { group_id: lab, own_group_id: lab },
    ]);
  });

  it("goes by its track when the group that it was put into is deleted", async () => {
    await release("4230.2.1");
    await ask(1, { check: false });
    await api.call("moveInstance", { params: at(1), body: { group_id: lab } });
    await api.call("deleteGroup", { params: { ...app, group: lab } });
    expect(await ask(1)).toBe(true);
    expect(await explain(1)).toMatchObject({ reason: "offered-again" });
  });

  it("is deleted with its history, and comes back as a new one", async () => {
    await release("4230.2.1");
    await ask(1);
    await api.call("setInstanceLabels", { params: at(1), body: { labels: { rack: "7" } } });
    await api.call("deleteInstance", { params: at(1) });
    expect(await refused("deleteInstance", { params: at(1) })).toBe(`404 instance not found: ${machine(1)}`);
    expect(await audit("deleteInstance")).toMatchObject([
      { before: { group_id: STABLE_GROUP, labels: { rack: "7" }, version: "4081.2.0", state: "granted" }, after: null },
    ]);
    server.clock.move({ minutes: 5 });
    expect(await ask(1)).toBe(true);
    expect(await nodes()).toMatchObject([{ created_at: server.clock.now(), labels: null }]);
  });

  it.each([
    ["setInstanceLabels", { labels: { "a b": "c" } }, /^400 labels: "a b" is not a label's name/],
    ["setInstanceLabels", { labels: { a: 7 } }, /^400 labels\.a: /],
    ["setInstanceLabels", {}, /^400 labels: /],
    ["holdInstance", { reason: "" }, /^400 reason: /],
    ["holdInstance", { why: "so" }, /^400 why: there is no such field/],
    ["moveInstance", {}, /^400 group_id: /],
    ["moveInstance", { group_id: "lab" }, /^400 group_id: there is no such group in this application/],
  ])("%s %j is refused: %s", async (id, body, complaint) => {
    await ask(1);
    const before = JSON.stringify(await nodes());
    expect(await refused(id, { params: at(1), body })).toMatch(complaint);
    expect(JSON.stringify(await nodes())).toBe(before);
    expect(await audit(id)).toEqual([]);
  });

  it("has 64 labels at most", async () => {
    await ask(1);
    const labels = (count: number) => Object.fromEntries(range(count).map((n) => [`l${n}`, "x".repeat(255)]));
    await api.call("setInstanceLabels", { params: at(1), body: { labels: labels(64) } });
    expect(await refused("setInstanceLabels", { params: at(1), body: { labels: labels(65) } })).toMatch(/^400 labels: 65 are too many/); // biome-ignore format: one line
    expect((await explain(1)).labels).toEqual(labels(64));
  });

  it("counts in a forecast with its labels, unless it is held", async () => {
    for (const n of range(5)) await ask(n);
    for (const n of [1, 2]) await api.call("setInstanceLabels", { params: at(n), body: { labels: { rack: "7" } } });
    await api.call("holdInstance", { params: at(2) });
    const strategy = { stages: [{ match: { labels: { rack: "7" } } }, { percent: 100 }] };
    const { body } = await api.call("simulateRollout", { params: { ...app, group: STABLE_GROUP }, body: { version: "4230.2.1", strategy } }); // biome-ignore format: one line
    expect(body).toMatchObject({ nodes: 4, end: "completed", complete: 4 });
    expect(body.stages.map(({ eligible }: { eligible: number }) => eligible)).toEqual([1, 3]);
  });

  it("can't be moved to another application's group", async () => {
    await ask(1);
    const other = await api.call("createApplication", { body: { name: "Other" }, query: { clone_from: FLATCAR } });
    const [theirs] = (await api.call("listGroups", { params: { app: other.body.id } })).body.groups;
    expect(await refused("moveInstance", { params: at(1), body: { group_id: theirs.id } })).toMatch(/^400 group_id/);
  });
});

describe("a token that may change some groups", () => {
  it("moves no node out of them or into others, one by one or all at once", async () => {
    for (const n of [1, 2]) await ask(n);
    await ask(3, { track: "lab" });
    const own = (await api.call("createGroup", { params: app, body: groupBody({ name: "Own" }) })).body.id;
    const token = await aToken({ groups: [lab, own] });
    const move = (n: number, group: string, to: string | null) =>
      refused("moveInstance", { token, params: at(n, group), body: { group_id: to } });
    expect(await move(1, STABLE_GROUP, lab)).toMatch(/^403/);
    expect(await move(3, lab, STABLE_GROUP)).toMatch(/^403 .*no right to the group "Stable \(AMD64\)"/);
    expect(await move(3, lab, null)).toMatch(/^403 .*where a track leads/);
    expect(await refused("deleteInstance", { token, params: at(1) })).toMatch(/^403/);

    const many = (body: object) => refused("changeInstances", { token, params: app, body: { filter: { held: false }, dry_run: false, ...body } }); // biome-ignore format: one line
    expect(await many({ action: "move", group_id: STABLE_GROUP })).toMatch(/^403/);
    expect(await many({ action: "move", group_id: null })).toMatch(/^403/);
    expect(await many({ action: "hold", filter: { group_id: STABLE_GROUP } })).toMatch(/^403 .*this group/);
    expect((await nodes()).every(({ own_group, held }) => own_group === null && held === null)).toBe(true);

    const filter = { held: false };
    expect(await bulk({ action: "move", group_id: own, filter, dry_run: false }, token)).toMatchObject({ matched: 1, changed: 1, instances: [machine(3)] }); // biome-ignore format: one line
    expect(await bulk({ action: "hold", filter, dry_run: false }, token)).toMatchObject({ matched: 1, changed: 1 });
    await api.call("moveInstance", { token, params: at(3, own), body: { group_id: lab } });
  });

  it("of another application does not reach these", async () => {
    await ask(1);
    const other = await api.call("createApplication", { body: { name: "Other" }, query: { clone_from: FLATCAR } });
    const token = await aToken({ applications: [other.body.id] });
    const given = { token, params: app, body: { action: "delete", filter: { held: false }, dry_run: false } };
    expect(await refused("changeInstances", given)).toMatch(/^403 .*this application/);
    const here = { action: "delete", filter: { held: false }, dry_run: false };
    expect((await api.call("changeInstances", { token, params: { app: other.body.id }, body: here })).body.matched).toBe(0); // biome-ignore format: one line
    expect(await nodes()).toHaveLength(1);
  });
});

describe("many nodes", () => {
  it("are only counted and named unless it says that it is meant, whatever is to be done", async () => {
    for (const n of range(5)) await ask(n);
    const everything = async () => JSON.stringify([await nodes(), await audit("changeInstances"), await server.turnout.store.read.selectFrom("node_counts").selectAll().execute()]); // biome-ignore format: one line
    const before = await everything();
    for (const what of [
      { action: "hold", reason: "x" },
      { action: "release" },
      { action: "label", labels: { a: "b" } },
      { action: "move", group_id: lab },
      { action: "delete" },
    ]) {
      const answer = await bulk({ ...what, filter: { group_id: STABLE_GROUP } });
      expect(answer).toEqual({ dry_run: true, matched: 5, changed: 0, instances: range(5).map(machine) });
      expect(await everything()).toBe(before);
    }
  });

  it("are picked out by all that is known of them", async () => {
    await release("4230.2.1");
    await ask(1, { alias: "lab-1", oem: "vmware" });
    await ask(2, { alias: "LAB-2", version: "4593.2.5" });
    await ask(3, { board: "arm64-usr" });
    await api.call("setInstanceLabels", { params: at(2), body: { labels: { rack: "7", env: "prod" } } });
    await api.call("holdInstance", { params: at(2) });
    await server.turnout.housekeeping.flushSeen();
    server.clock.move({ hours: 24 * 30 });
    await ask(1, { alias: "lab-1", oem: "vmware" });
    await server.turnout.housekeeping.flushSeen();
    const found = async (filter: object) => (await bulk({ action: "delete", filter })).instances.map((id: string) => Number.parseInt(id, 16)); // biome-ignore format: one line
    expect(await found({ group_id: STABLE_GROUP })).toEqual([1, 2]);
    expect(await found({ state: ["granted"] })).toEqual([1]);
    expect(await found({ version: "<4500.0.0" })).toEqual([1, 3]);
    expect(await found({ version: "4593.2.5" })).toEqual([2]);
    expect(await found({ version: "<1.0.0" })).toEqual([]);
    expect(await found({ oem: ["vmware", "ami"] })).toEqual([1]);
    expect(await found({ arch: 2 })).toEqual([3]);
    expect(await found({ labels: { rack: "7", env: "prod" } })).toEqual([2]);
    expect(await found({ labels: { rack: "7", env: null } })).toEqual([]);
    expect(await found({ labels: { env: null } })).toEqual([1, 3]);
    expect(await found({ alias: "lab-?" })).toEqual([1, 2]);
    expect(await found({ id: [machine(3), machine(9)] })).toEqual([3]);
    expect(await found({ held: true })).toEqual([2]);
    expect(await found({ not_seen_for: "30d" })).toEqual([2, 3]);
    expect(await found({ not_seen_for: "30d", held: false })).toEqual([3]);
    expect(await found({ not_seen_for: "31d" })).toEqual([]);
  });

  it("are done, those already so are left, and the audit log names what was meant and which it came to", async () => {
    for (const n of range(3)) await ask(n);
    await api.call("setInstanceLabels", { params: at(0), body: { labels: { rack: "7", old: "x" } } });
    await api.call("holdInstance", { params: at(1) });
    const filter = { id: range(3).map(machine) };
    const act = async (what: object) => (await bulk({ ...what, filter, dry_run: false })).changed;
    expect(await act({ action: "label", labels: { rack: "7", old: null } })).toBe(3);
    expect(await act({ action: "label", labels: { rack: "7", old: null } })).toBe(0);
    expect((await nodes()).map(({ labels }) => labels)).toEqual(Array(3).fill('{"rack":"7"}'));
    expect(await act({ action: "hold", reason: "a flood" })).toBe(2);
    expect((await explain(1)).held.reason).toBe("by hand");
    expect(await act({ action: "release" })).toBe(3);
    expect(await act({ action: "move", group_id: lab })).toBe(3);
    expect(await act({ action: "move", group_id: null })).toBe(3);
    expect(await act({ action: "delete" })).toBe(3);
    expect(await nodes()).toEqual([]);
    const lines = (await audit("changeInstances")).toReversed();
    expect(lines[0]).toMatchObject({ subject: "instances", application_id: FLATCAR, before: null, after: { action: "label", labels: { rack: "7", old: null }, filter: { id: "3 ids" }, matched: 3 } }); // biome-ignore format: one line
    expect(lines[1]).toMatchObject({
      subject_id: lines[0].subject_id,
      after: { action: "label", instances: filter.id },
    });
    const before = lines.flatMap((line: { before: { instances: object[] } | null }) => line.before?.instances ?? []);
    const others = [machine(0), machine(2)];
    expect(before).toMatchObject([
      { labels: { rack: "7", old: "x" }, ids: [machine(0)] },
      { labels: { rack: null, old: null }, ids: [machine(1), machine(2)] },
      { held: null, ids: others },
      { held: { reason: "a flood" }, ids: others },
      { held: { reason: "by hand" }, ids: [machine(1)] },
      { group_id: STABLE_GROUP, own_group_id: null, ids: filter.id },
      { group_id: lab, own_group_id: lab, ids: filter.id },
      { group_id: lab, own_group_id: null, labels: { rack: "7" }, held: null, version: "4081.2.0", ids: filter.id },
    ]);
  });

  it("keep the labels that they have when they can't have more", async () => {
    await ask(1);
    await ask(2);
    const labels = Object.fromEntries(range(64).map((n) => [`l${n}`, "x".repeat(255)]));
    await api.call("setInstanceLabels", { params: at(1), body: { labels } });
    const more = { action: "label", labels: { more: "1" }, filter: { group_id: STABLE_GROUP }, dry_run: false };
    expect(await bulk(more)).toMatchObject({ matched: 2, changed: 1 });
    expect((await explain(1)).labels).toEqual(labels);
  });

  it.each([
    [{ action: "hold" }, /^400 filter: /],
    [{ action: "hold", filter: {} }, /^400 filter: name something/],
    [{ action: "explode", filter: { held: true } }, /^400 action: /],
    [{ filter: { held: true } }, /^400 action: /],
    [{ action: "hold", filter: { version: "new" } }, /^400 filter\.version: "new" is not a version range/],
    [{ action: "hold", filter: { not_seen_for: "long" } }, /^400 filter\.not_seen_for: "long" is not a duration/],
    [{ action: "hold", filter: { state: ["broken"] } }, /^400 filter\.state\.0: /],
    [{ action: "hold", filter: { group_id: "lab" } }, /^400 filter\.group_id: there is no such group/],
    [{ action: "hold", filter: { colour: "red" } }, /^400 filter\.colour: there is no such field/],
    [{ action: "hold", filter: { alias: "*a*b*c*d*" } }, /^400 filter\.alias: may have 4 stars/],
    [{ action: "hold", filter: { labels: {} } }, /^400 filter\.labels: name at least one/],
    [{ action: "label", filter: { held: true } }, /^400 labels: /],
    [{ action: "move", filter: { held: true }, group_id: "lab" }, /^400 group_id: there is no such group/],
    [{ action: "delete", filter: { held: true }, dry_run: "no" }, /^400 dry_run: /],
  ])("are left alone on %j: %s", async (body, complaint) => {
    expect(await refused("changeInstances", { params: app, body })).toMatch(complaint);
  });
});

describe("5,000 nodes", () => {
  const FLEET = range(5_000);
  const inTurns = async (size: number, work: (n: number) => Promise<unknown>) => {
    for (let from = 0; from < FLEET.length; from += size) await Promise.all(FLEET.slice(from, from + size).map(work));
  };

  it("are held, moved and deleted while they check in, and nothing is lost or counted twice", async () => {
    await release("4230.2.1");
    await inTurns(250, (n) => ask(n, { check: n % 2 === 0 }));
    let checking = true;
    let asked = 0;
    const checkIns = Promise.all(
      range(8).map(async (lane) => {
        for (let n = lane; checking; n = (n + 8) % FLEET.length) {
          await ask(n, { bootId: `{${asked}}` });
          asked += 1;
        }
      }),
    );
    // Nobody waits for all of it: nodes are answered between its transactions.
    const meanwhile = async (what: object) => {
      const before = asked;
      const filter = { group_id: STABLE_GROUP };
      expect(await bulk({ ...what, filter, dry_run: false })).toMatchObject({ matched: 5_000, changed: 5_000 });
      expect(asked - before).toBeGreaterThan(16);
    };
    await meanwhile({ action: "hold", reason: "a flood" });
    await meanwhile({ action: "label", labels: { rack: "7" } });
    await meanwhile({ action: "move", group_id: lab });
    checking = false;
    await checkIns;
    const all = await nodes();
    expect(all).toHaveLength(5_000);
    expect(new Set(all.map(({ labels, own_group }) => `${labels} ${own_group}`))).toEqual(new Set([`{"rack":"7"} ${lab}`])); // biome-ignore format: one line
    expect(all.every(({ held }) => held !== null)).toBe(true);
    expect(await recount(server.turnout.store.read, false)).toEqual([]);

    expect(await bulk({ action: "delete", filter: { labels: { rack: "7" } }, dry_run: false })).toMatchObject({ matched: 5_000, changed: 5_000 }); // biome-ignore format: one line
    const left = await server.turnout.store.read.selectFrom("node_counts").selectAll().execute();
    expect(left).toEqual([]);
    const lines = await audit("changeInstances");
    expect(lines).toHaveLength(4 * (1 + 5_000 / 250));
    for (const line of lines) expect(JSON.stringify(line).length).toBeLessThan(20_000);
  }, 120_000);
});

describe("a server that is killed in the middle", () => {
  it("has done as much as its audit log says, and does the rest when it is asked again", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "turnout-care-"));
    try {
      const first = await aProcess(dataDir);
      for (let from = 0; from < 2_000; from += 100)
        await Promise.all(range(100).map((n) => postOmaha(first.url, checks({ machineId: machine(from + n) }))));
      const hold = { action: "hold", reason: "a flood", filter: { group_id: STABLE_GROUP }, dry_run: false };
      const path = `/apps/${FLATCAR}/instances/bulk`;
      const answer = apiClient(first.url)("POST", path, hold).catch(() => "cut off");
      const heldIn = async (url: string): Promise<string[]> => {
        const { entries } = await apiClient(url)<{ entries: { after: { instances?: string[] } }[] }>("GET", "/audit?action=changeInstances&perpage=1000"); // biome-ignore format: one line
        return entries.flatMap(({ after }) => after.instances ?? []);
      };
      while ((await heldIn(first.url)).length === 0);
      first.child.kill("SIGKILL");
      await Promise.all([first.ended, answer]);

      const second = await aProcess(dataDir);
      const before = await heldIn(second.url);
      const asked = { action: "hold", filter: { group_id: STABLE_GROUP, held: true } };
      const client = apiClient(second.url);
      expect(await client("POST", path, asked)).toMatchObject({ matched: before.length });
      expect(await client("POST", "/counters/recount", {})).toMatchObject({ differences: [] });
      expect(await client("POST", path, hold)).toMatchObject({ matched: 2_000, changed: 2_000 - before.length });
      expect(new Set(await heldIn(second.url)).size).toBe(2_000);
      second.child.kill("SIGTERM");
      await second.ended;
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  }, 60_000);
});
