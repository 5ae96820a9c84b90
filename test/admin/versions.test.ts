/** Applications whose versions are others than Flatcar's: of four numbers, or nightlies that only their builds tell apart. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Decisions } from "../../src/checkin/decisions.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import { aCheckIn, HOUR } from "../rollout/builders.ts";
import { NOW } from "../store/in-process.ts";
import { type Api, anApi, FLATCAR, GROUP, groupBody, packageBody, STABLE } from "./api.ts";

let api: Api;
let decisions: Decisions;
beforeEach(async () => {
  api = await anApi();
  decisions = new Decisions(api.world.checkIns, { newNodesPerMinute: 0, onFault: (error) => api.faults.push(error) });
});
afterEach(() => {
  expect(api.faults).toEqual([]);
  api.close();
});

const ask = async (changes: Partial<CheckIn>) => {
  const [[decision] = []] = await decisions.run([{ apps: [aCheckIn(changes)], ip: "192.0.2.1", now: api.clock.now() }]);
  return [decision?.reason, decision?.offer?.manifests.at(-1)?.package.version ?? null];
};
const machine = (n: number) => n.toString(16).padStart(32, "0");

describe("an application with versions of four numbers", () => {
  const APP = "io.example.updater";
  const PATH = `/apps/${APP}`;
  const other = (version: string) =>
    packageBody(version, { application_id: undefined, type: 4, url: "https://example.org/", filename: "setup.exe", flatcar_action: undefined }); // biome-ignore format: one line
  let channel: string;
  let group: string;

  beforeEach(async () => {
    await api.post("/apps", { name: "Updater", product_id: APP, version_scheme: "four-part" }).expect(200);
    channel = (await api.post(`${PATH}/channels`, { name: "stable", color: "red", arch: 1 }).expect(200)).body.id;
    const body = groupBody({ name: "All", track: "stable", channel_id: channel });
    group = (await api.post(`${PATH}/groups`, body).expect(200)).body.id;
  });

  const add = async (version: string) => (await api.post(`${PATH}/packages`, other(version)).expect(200)).body.id;
  const point = async (id: string) =>
    (await api.put(`${PATH}/channels/${channel}`, { name: "stable", color: "red", arch: 1, package_id: id }).expect(200)).body; // biome-ignore format: one line
  const check = (n: number, version: string, changes: Partial<CheckIn> = {}) =>
    ask({ appId: `{${APP}}`, track: "stable", machineId: machine(n), version, updateEngine: false, ...changes });

  it("takes only such as packages, and shows them by their numbers", async () => {
    for (const version of ["1.3.9.102", "1.3.36.9", "1.3.36.102"]) await add(version);
    const { body } = await api.get(`${PATH}/packages`).expect(200);
    expect(body.packages.map(({ version }: { version: string }) => version)).toEqual(["1.3.36.102", "1.3.36.9", "1.3.9.102"]); // biome-ignore format: one line
    for (const version of ["4230.2.1", "1.3.36", "1.3.36.102.1", "1.3.36.0102", "1.3.36.99999999999", "1.3.36.102+x"]) {
      const { body: refused } = await api.post(`${PATH}/packages`, other(version)).expect(400);
      expect(refused.errors).toEqual([{ path: "version", message: expect.stringContaining("four numbers, e.g. 1.3.36.102") }]); // biome-ignore format: one line
    }
    const { body: refused } = await api.post(`/apps/${FLATCAR}/packages`, packageBody("1.3.36.102")).expect(400);
    expect(refused.errors).toEqual([{ path: "version", message: expect.stringContaining("a semantic version") }]);
  });

  it("updates its nodes, floors first, and knows when they are through", async () => {
    const [floor, target] = [await add("1.3.36.9"), await add("1.3.36.102")];
    await api.put(`/channels/${channel}/floors/${target}`, {}).expect(200);
    await api.put(`/channels/${channel}/floors/${floor}`, {}).expect(200);
    const { body: floors } = await api.get(`/channels/${channel}/floors`).expect(200);
    expect(floors.packages.map(({ version }: { version: string }) => version)).toEqual(["1.3.36.9", "1.3.36.102"]);
    expect((await point(target)).warnings).toBeUndefined();

    expect(await check(1, "1.3.9.200")).toEqual(["granted", "1.3.36.9"]);
    expect(await check(1, "1.3.36.9")).toEqual(["granted", "1.3.36.102"]);
    expect(await check(1, "1.3.36.102")).toEqual(["up-to-date", null]);
    expect(await check(2, "1.3.100.0")).toEqual(["up-to-date", null]);
    expect(await check(3, "1.3.36")).toEqual(["invalid-node", null]);
    expect(await check(4, "1.3.36.10", { targetVersionPrefix: "1.3.37" })).toEqual(["outside-prefix", null]);
    expect(await check(4, "1.3.36.10", { targetVersionPrefix: "1.3.36." })).toEqual(["granted", "1.3.36.102"]);
    const { body: nodes } = await api.get(`${PATH}/groups/${group}/instances?status=4&duration=1d`).expect(200);
    expect(nodes.instances.map(({ id }: { id: string }) => id)).toEqual([machine(1)]);
    const { body: shares } = await api.get(`${PATH}/groups/${group}/version_breakdown`).expect(200);
    expect(shares.map(({ version }: { version: string }) => version)).toEqual(["1.3.100.0", "1.3.36.102", "1.3.36.10"]);
    const { body: said } = await api.get(`${PATH}/groups/${group}/instances/${machine(2)}/explain`).expect(200);
    expect(said.text).toBe("it runs 1.3.100.0, and the target is 1.3.36.102: nothing to do");
  });

  it("has ranges of such in stages and filters, and refuses others", async () => {
    const { body } = await api.get(`${PATH}/groups/${group}`).expect(200);
    const staged = (version: string) => ({ ...body, strategy: { stages: [{ match: { version } }, { percent: 0 }] } });
    const { body: refused } = await api.put(`${PATH}/groups/${group}`, staged("<4000.0.0")).expect(400);
    expect(refused.errors).toEqual([
      {
        path: "strategy.stages.0.match.version",
        message: '"<4000.0.0" is not a version range of four numbers; write e.g. ">=1.3.36.0 <1.4.0.0"',
      },
    ]);
    await api.put(`${PATH}/groups/${group}`, staged(">=1.3.36.0 <1.3.37.0 || 1.0.0.1")).expect(200);
    await point(await add("1.4.0.0"));
    const found = [];
    for (const [n, version] of ["1.3.36.0", "1.3.36.99", "1.3.37.0", "1.0.0.1", "1.3.9.0"].entries()) {
      found.push((await check(n + 1, version))[0]);
    }
    expect(found).toEqual(["granted", "granted", "not-in-stage", "granted", "not-in-stage"]);

    const rollout = { strategy: { stages: [{ match: { version: "^1.0.0" } }, { percent: 100 }] } };
    await api.post(`${PATH}/groups/${group}/rollouts`, rollout).expect(400);
    const bulk = (version: string) =>
      api.post(`${PATH}/instances/bulk`, {
        action: "label",
        labels: { old: "yes" },
        filter: { version },
        dry_run: true,
      });
    expect((await bulk("<1.3.36.99").expect(200)).body.matched).toBe(3);
    expect((await bulk("<4000.0.0").expect(400)).body.errors[0].path).toBe("filter.version");
    const { body: ofFlatcar } = await api.get(`/apps/${FLATCAR}/groups/${GROUP}`).expect(200);
    const wrong = { ...ofFlatcar, strategy: { stages: [{ match: { version: "<1.3.36.0" } }, { percent: 100 }] } };
    await api.put(`/apps/${FLATCAR}/groups/${GROUP}`, wrong).expect(400);
  });

  it("goes back to the version before, and is forecast", async () => {
    await point(await add("1.3.9.102"));
    await point(await add("1.3.36.102"));
    expect(await check(1, "1.3.9.102")).toEqual(["granted", "1.3.36.102"]);
    expect(await check(1, "1.3.36.102")).toEqual(["up-to-date", null]);
    const forecast = await api.post(`${PATH}/groups/${group}/rollouts/simulate`, { nodes: 50 }).expect(200);
    expect(forecast.body).toMatchObject({ version: "1.3.36.102", complete: 50 });
    const wrong = { nodes: 50, from_version: "1.3.36.102" };
    await api.post(`${PATH}/groups/${group}/rollouts/simulate`, wrong).expect(400);
    await api.post(`${PATH}/groups/${group}/rollouts/simulate`, { nodes: 50, version: "4230.2.1" }).expect(400);
    const { body } = await api.get(`${PATH}/groups/${group}/rollouts`).expect(200);
    const path = `${PATH}/groups/${group}/rollouts/${body.rollouts[0].id}/abort`;
    await api.post(path, { reason: "it eats disks", rollback: true }).expect(200);
    expect(await check(1, "1.3.36.102")).toEqual(["granted", "1.3.9.102"]);
    expect(await check(1, "1.3.9.102")).toEqual(["rollout-not-running", null]);
  });

  it("says so in a fleet's file, and keeps it where somebody does not know of it", async () => {
    const { body: fleet } = await api.get("/fleet").expect(200);
    const [flatcar, updater] = fleet.applications;
    expect([flatcar, updater]).toMatchObject([
      { version_scheme: "semver", build_metadata: "ignore" },
      { version_scheme: "four-part", build_metadata: "ignore" },
    ]);
    const { body: kept } = await api.put(PATH, { name: "Updates", product_id: APP }).expect(200);
    expect(kept).toMatchObject({ name: "Updates", version_scheme: "four-part" });
    const { body: copy } = await api.post(`/apps?clone_from=${APP}`, { name: "Copy" }).expect(200);
    expect(copy.version_scheme).toBe("four-part");
    const file = {
      applications: [
        {
          name: "Another",
          version_scheme: "four-part",
          packages: [{ version: "1.3.36.102", arch: "amd64", type: "other", url: "https://example.org/" }],
          groups: [{ name: "All", strategy: { stages: [{ match: { version: "<1.3.0.0" } }, { percent: 100 }] } }],
        },
      ],
    };
    await api.post("/fleet/apply", { fleet: file }).expect(200);
    expect((await api.post("/fleet/plan", { fleet: file }).expect(200)).body.changes).toEqual([]);
    const semantic = { applications: [{ name: "Another", version_scheme: "semver" }] };
    const { body: refused } = await api.post("/fleet/apply", { fleet: semantic }).expect(409);
    expect(refused.errors).toEqual([
      { path: "applications.0.version_scheme", message: "there is a package 1.3.36.102, which is no such version" },
    ]);
  });

  it("refuses a scheme that packages or strategies do not fit, and build metadata that can't be", async () => {
    await api.put(PATH, { name: "Updater", build_metadata: "order" }).expect(400);
    await api.put(PATH, { name: "Updater", version_scheme: "semver", build_metadata: "order" }).expect(200);
    await api.aPackage("4230.2.1");
    const { body } = await api.put(`/apps/${FLATCAR}`, { name: "Flatcar", version_scheme: "four-part" }).expect(409);
    expect(body.errors).toEqual([
      { path: "version_scheme", message: "there is a package 4230.2.1, which is no such version" },
    ]);
    await api.put(`/apps/${FLATCAR}`, { name: "Flatcar", version_scheme: "roman" }).expect(400);
  });
});

describe("nightlies that only their builds tell apart", () => {
  const [OLDER, NEWER] = ["4845.0.0+nightly-20261006-2100", "4845.0.0+nightly-20261007-2100"];
  const move = async (id: string) => {
    const { body } = await api.get(`/apps/${FLATCAR}/channels/${STABLE}`).expect(200);
    return (await api.put(`/apps/${FLATCAR}/channels/${STABLE}`, { ...body, package_id: id }).expect(200)).body;
  };
  const order = (build_metadata: string) =>
    api.put(`/apps/${FLATCAR}`, { name: "Flatcar Container Linux", build_metadata }).expect(200);

  it("count as the same version: whoever moves a channel from one to the other is told", async () => {
    const [older, newer] = [await api.aPackage(OLDER), await api.aPackage(NEWER)];
    expect((await move(older)).warnings).toBeUndefined();
    expect(await ask({ machineId: machine(1), version: "4800.0.0" })).toEqual(["granted", OLDER]);
    expect(await ask({ machineId: machine(1), version: OLDER })).toEqual(["up-to-date", null]);
    expect(await ask({ machineId: machine(2), version: "4845.0.0" })).toEqual(["up-to-date", null]);
    const moved = await move(newer);
    expect(moved.warnings).toEqual([
      `Nodes that run 4845.0.0 (1 node) or ${OLDER} (1 node) count as having ${NEWER} already, and are not updated: these versions ` +
        "differ in build metadata only. The application's build_metadata: order has it tell them apart.",
    ]);
    expect((await api.get(`/apps/${FLATCAR}/channels/${STABLE}`).expect(200)).body.warnings).toBeUndefined();
    expect((await move(newer)).warnings).toBeUndefined(); // it was not moved
    expect(await ask({ machineId: machine(1), version: OLDER })).toEqual(["up-to-date", null]);
    const { body } = await api.get(`/apps/${FLATCAR}/groups/${GROUP}/instances/${machine(1)}/explain`).expect(200);
    expect(body.text).toBe(
      `it runs ${OLDER}, which counts as the same version as the target, ${NEWER}: they differ in build metadata only`,
    );
  });

  it("are told of when a file moves the channel, before and after", async () => {
    await move(await api.aPackage(OLDER));
    await api.aPackage(NEWER);
    const fleet = { applications: [{ id: FLATCAR, name: "Flatcar Container Linux", channels: [{ name: "stable", arch: "amd64", package: NEWER }] }] }; // biome-ignore format: one line
    for (const verb of ["plan", "apply"]) {
      const { body } = await api.post(`/fleet/${verb}`, { fleet }).expect(200);
      expect(body.warnings).toEqual([
        expect.stringContaining(`Nodes that run ${OLDER} count as having ${NEWER} already`),
      ]);
    }
    expect((await api.post("/fleet/plan", { fleet }).expect(200)).body.warnings).toEqual([]);
  });

  it("are ordered by their dates where the application says so, and roll out like any other", async () => {
    await order("order");
    const [newer, older] = [await api.aPackage(NEWER), await api.aPackage(OLDER)];
    const { body } = await api.get(`/apps/${FLATCAR}/packages`).expect(200);
    expect(body.packages.map(({ version }: { version: string }) => version)).toEqual([NEWER, OLDER]);
    await move(older);
    expect(await ask({ machineId: machine(1), version: "4845.0.0" })).toEqual(["granted", OLDER]);
    expect(await ask({ machineId: machine(1), version: OLDER })).toEqual(["up-to-date", null]);
    expect((await move(newer)).warnings).toBeUndefined();
    expect(await ask({ machineId: machine(1), version: OLDER })).toEqual(["granted", NEWER]);
    expect(await ask({ machineId: machine(1), version: NEWER })).toEqual(["up-to-date", null]);
    expect(await ask({ machineId: machine(2), version: "4845.0.0+dev-20261008" })).toEqual(["up-to-date", null]);
  });

  it("roll out from the first stage on when the application comes to say so", async () => {
    const { body: group } = await api.get(`/apps/${FLATCAR}/groups/${GROUP}`).expect(200);
    const strategy = { stages: [{ match: { alias: "canary" } }, { percent: 100 }] };
    await api.put(`/apps/${FLATCAR}/groups/${GROUP}`, { ...group, strategy }).expect(200);
    await move(await api.aPackage(OLDER));
    await ask({ machineId: machine(1), machineAlias: "canary", version: OLDER });
    await ask({ machineId: machine(2), version: OLDER });
    await move(await api.aPackage(NEWER));
    const { no } = await api.world.store.read.selectFrom("rollouts").select("no").orderBy("no", "desc").executeTakeFirstOrThrow(); // biome-ignore format: one line
    // Through all stages with nobody to update.
    await api.world.store.write((tx) => tx.updateTable("rollouts").set({ state: "completed", stage: 1 }).where("no", "=", no).execute()); // biome-ignore format: one line
    await order("order");
    api.clock.move({ hours: 1 });
    expect(await ask({ machineId: machine(2), version: OLDER })).toEqual(["not-in-stage", null]);
    expect(await ask({ machineId: machine(1), machineAlias: "canary", version: OLDER })).toEqual(["granted", NEWER]);
    expect(HOUR + NOW).toBe(api.clock.now());
  });
});
