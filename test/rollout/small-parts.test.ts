import { describe, expect, it } from "vitest";
import { newCell } from "../../src/rollout/cell.ts";
import { buildFleet, findGroup } from "../../src/rollout/fleet.ts";
import { parseInterval } from "../../src/rollout/interval.ts";
import { type Described, inWords, missingOf } from "../../src/rollout/missing.ts";
import { ARCH, type Arch } from "../../src/rollout/model/arch.ts";
import type { Group, MissingField } from "../../src/rollout/model/configuration.ts";
import { percentile } from "../../src/rollout/percentile.ts";
import { planRollouts } from "../../src/rollout/plan.ts";
import { aChannel, aFleet, aGroup, aPackage, GROUP_ID } from "./builders.ts";

describe("an interval", () => {
  it.each([
    ["15 minutes", 900_000],
    ["1 hours", 3_600_000],
    ["1 hour", 3_600_000],
    ["2 days", 172_800_000],
    ["500 milliseconds", 500],
    ["30 seconds", 30_000],
    ["30s", 30_000],
    ["15m", 900_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
    ["1h30m", 5_400_000],
    ["1h 30m", 5_400_000],
  ])("%s is %i ms", (text, milliseconds) => expect(parseInterval(text)).toBe(milliseconds));

  it.each([
    "",
    "abc",
    "15 minuts",
    "15",
    "0 minutes",
    "-1 minutes",
    "1.5 hours",
    "15  minutes",
    " 15 minutes",
    "1h x",
    "0s",
  ])('"%s" is none', (text) => expect(parseInterval(text)).toBeNull());
});

describe("a Flatcar package", () => {
  const whole = { type: 1, filename: "a.gz", size: "1234", sha256: "LIkA" };
  it.each<[Partial<Described>, readonly MissingField[]]>([
    [{}, []],
    [{ filename: null }, ["filename"]],
    [{ filename: "", size: "", sha256: "" }, ["filename", "size", "flatcar_action.sha256"]],
    [{ size: "0" }, ["size"]],
    [{ size: null, sha256: null }, ["size", "flatcar_action.sha256"]],
    [{ type: 4, filename: null, size: null, sha256: null }, []],
  ])("with %j lacks %j", (changes, missing) => expect(missingOf({ ...whole, ...changes })).toEqual(missing));

  it("is said to lack it in words", () => {
    expect(inWords(["size"])).toBe("size");
    expect(inWords(["filename", "size", "flatcar_action.sha256"])).toBe("filename, size and flatcar_action.sha256");
  });

  it("has no rollout while it lacks something, and a rollout once it does not", () => {
    const lacking = aPackage({ missing: ["size"] });
    const floor = { package: aPackage({ version: "4100.0.0" }), reason: null };
    const group = aGroup({ channel: aChannel({ package: lacking, floors: [floor] }) });
    const { create } = planRollouts([group], []);
    expect(create).toEqual([{ groupNo: 1, packageNo: floor.package.no }]);
    const { rollouts } = aFleet();
    expect(planRollouts([aGroup({ channel: aChannel({ package: lacking }) })], rollouts)).toEqual({ create: [], retire: [1] }); // biome-ignore format: one line
    expect(planRollouts([aGroup()], []).create).toHaveLength(1);
  });
});

describe("a node's percentile", () => {
  it("is the one of the specification", () => {
    expect(percentile("r1", "e0f3745b108f471cbd4883c6fbed8cdd")).toBeCloseTo(0.944137952950808, 14);
    expect(percentile("r2", "e0f3745b108f471cbd4883c6fbed8cdd")).toBeCloseTo(0.17909496933167, 14);
  });

  it("does not mind how the id is written", () => {
    expect(percentile("r1", "{E0F3745B-108F-471C-BD48-83C6FBED8CDD}")).toBe(
      percentile("r1", "e0f3745b108f471cbd4883c6fbed8cdd"),
    );
  });
});

describe("the plan of rollouts", () => {
  const floors = [{ package: aPackage({ version: "4100.0.0" }), reason: null }];

  it("has one for the package and for each floor at or below it", () => {
    const above = { package: aPackage({ version: "4999.0.0" }), reason: null };
    const plan = planRollouts([aGroup({ channel: aChannel({ floors: [...floors, above] }) })], []);
    expect(plan.create.map(({ packageNo }) => packageNo)).toEqual([
      aPackage({ version: "4100.0.0" }).no,
      aPackage().no,
    ]);
  });

  it("changes nothing when it is carried out already, and supersedes what is not wanted any more", () => {
    const group = aGroup({ channel: aChannel({ floors }) });
    const { rollouts } = aFleet([group]);
    expect(planRollouts([group], rollouts)).toEqual({ create: [], retire: [] });
    const moved = aGroup({ channel: aChannel({ package: aPackage({ version: "4593.2.5" }) }) });
    const plan = planRollouts([moved], rollouts);
    expect(plan.retire).toEqual(rollouts.map(({ no }) => no).reverse());
    expect(plan.create).toHaveLength(1);
    expect(planRollouts([aGroup({ channel: null })], rollouts).create).toEqual([]);
    const [first] = rollouts;
    if (first !== undefined)
      expect(planRollouts([group], [...rollouts, { ...first, no: 99 }]).retire).toEqual([first.no]);
  });
});

describe("a fleet", () => {
  it("finds applications without a product id, too", () => {
    const fleet = buildFleet(3, {
      applications: [{ no: 1, id: "A-B", productId: null, name: "x", versionOrder: "semver" }],
      groups: [],
      rollouts: [],
    });
    expect([...fleet.applicationByName.keys()]).toEqual(["a-b"]);
    expect(fleet.revision).toBe(3);
  });

  it("does not let a group that lost its channel hide one for every architecture", () => {
    const older = aGroup({ no: 1, id: "older", channel: null });
    const newer = aGroup({ no: 2, id: "newer", channel: aChannel({ arch: ARCH.all }) });
    expect(findGroup(aFleet([older, newer]), 1, null, { track: "stable", arch: ARCH.amd64, syncer: false })?.id).toBe(
      "newer",
    );
    expect(findGroup(aFleet([older]), 1, null, { track: "stable", arch: ARCH.amd64, syncer: false })?.id).toBe("older");
  });
});

describe("a track that is a group's id", () => {
  const arm = aGroup({
    no: 2,
    id: "11a585f6-9418-4df0-8863-78b2fd3240f8",
    channel: aChannel({ no: 2, arch: ARCH.aarch64 }),
  });
  const group = (groups: readonly Group[], track: string, arch: Arch = ARCH.aarch64) =>
    findGroup(aFleet(groups), 1, null, { track, arch, syncer: false })?.id;

  it("leads a node of another architecture to the group with the same track that is for it", () => {
    for (const track of [GROUP_ID, `{${GROUP_ID}}`, GROUP_ID.toUpperCase()]) {
      expect(group([aGroup(), arm], track), track).toBe(arm.id);
      expect(group([arm, aGroup()], track, ARCH.amd64), track).toBe(GROUP_ID);
    }
    expect(group([aGroup(), arm], arm.id, ARCH.amd64)).toBe(GROUP_ID);
    const all = aGroup({ no: 3, id: "all", channel: aChannel({ no: 3, arch: ARCH.all }) });
    expect(group([aGroup(), all], GROUP_ID)).toBe("all");
  });

  it("is that group's where there is no other, where it is for all, and where it has lost its channel", () => {
    const other = aGroup({ ...arm, policy: {}, track: "beta" });
    expect(group([aGroup(), other], GROUP_ID)).toBe(GROUP_ID);
    const all = aGroup({ channel: aChannel({ arch: ARCH.all }) });
    expect(group([all, arm], GROUP_ID)).toBe(GROUP_ID);
    expect(group([aGroup({ channel: null }), arm], GROUP_ID)).toBe(GROUP_ID);
  });

  it("gives way to a group that has it for its very track", () => {
    const named = aGroup({ ...arm, policy: {}, no: 4, id: "named", track: GROUP_ID });
    expect(group([aGroup(), arm, named], GROUP_ID)).toBe("named");
  });

  it("does not move a node that a person has put into a group", () => {
    const node = { ownGroup: GROUP_ID };
    const checkIn = { track: "stable", arch: ARCH.aarch64, syncer: false };
    expect(findGroup(aFleet([aGroup(), arm]), 1, node, checkIn)?.id).toBe(GROUP_ID);
  });

  it("of the field's first eight leads to their names where no group has it, as there", () => {
    const [stable, edge] = ["stable", "edge"].map((track, index) =>
      aGroup({ no: 5 + index, id: track, track, channel: aChannel({ no: 5 + index, arch: ARCH.amd64 }) }),
    ) as [Group, Group];
    expect(group([stable, edge], GROUP_ID, ARCH.amd64)).toBe("stable");
    expect(group([stable, edge], arm.id, ARCH.amd64)).toBe("stable");
    expect(group([stable, edge], "{72834A2B-AD86-4D6D-B498-E08A19EBE54E}", ARCH.amd64)).toBe("edge");
    expect(group([stable, edge], GROUP_ID)).toBeUndefined();
    expect(group([stable, aGroup({ track: "mine" })], GROUP_ID, ARCH.amd64)).toBe(GROUP_ID);
  });
});

describe("the cells of a rollout", () => {
  it("are bounded: OEMs that come too late are other ones, and those that are known go on as they are", () => {
    const cells = new Map<string, null>();
    const add = (stage: number, oem: string) => {
      const cell = newCell(cells, stage, 1, oem);
      cells.set(cell, null);
      return cell;
    };
    for (let n = 0; n < 200; n += 1) expect(add(0, `oem ${n}`)).toBe(`0 1 oem ${n}`);
    expect(add(0, "one more")).toBe("0 1 other");
    expect(add(5, "oem 7")).toBe("5 1 oem 7");
    expect(add(5, "one more")).toBe("5 1 other");
    for (let stage = 1; stage < 50; stage += 1) for (let n = 0; n < 200; n += 1) add(stage, `oem ${n}`);
    expect(cells.size).toBeLessThanOrEqual(2_000 + 50);
    expect(newCell(new Map(), 0, 1, "x".repeat(65))).toBe("0 1 other");
  });
});
