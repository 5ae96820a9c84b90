import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { aTurnout, checks, FLATCAR, STABLE_GROUP, type TestTurnout } from "../e2e/turnout.ts";
import { asking } from "./asking.ts";

let server: TestTurnout;
const machine = (n: number) => n.toString(16).padStart(32, "0");

beforeAll(async () => {
  server = await aTurnout();
});
afterAll(() => server.close());

/** Three nodes of two racks, as they come; the third is of another platform, and runs an older version. */
beforeEach(async () => {
  await server.omaha(checks({ machineId: machine(1), alias: "rack7-node1" }));
  await server.omaha(checks({ machineId: machine(2), alias: "rack7-node2" }));
  await server.omaha(checks({ machineId: machine(3), alias: "rack8-node1", oem: "vmware", version: "3975.2.0" }));
});

const { turnout, done, json, refused } = asking(() => server.url);
async function misused(...args: string[]): Promise<string> {
  const { code, out, err } = await turnout(...args);
  expect([code, out], args.join(" ")).toEqual([2, ""]);
  return err;
}
const audited = async () => (await server.api<{ totalCount: number }>("GET", "/audit")).totalCount;

describe("taking care of one node", () => {
  it("holds a node with a reason, which lists and the node itself then say, and releases it", async () => {
    expect(await done("nodes", "hold", "rack7-node1", "--reason", "its disk is being replaced")).toMatch(
      /^held +by anonymous since .+ UTC: its disk is being replaced$/m,
    );
    expect(await done("nodes", "list", "--held")).toMatch(/^0+1 +rack7-node1 .+ unknown, held +\d{4}-/m);
    expect((await json("nodes", "list", "--not-held")).total).toBe(2);
    expect(await misused("nodes", "list", "--held", "--not-held")).toContain(
      "'--not-held' cannot be used with option '--held'",
    );
    expect(await done("explain", machine(1))).toContain("held by anonymous");
    expect(await done("nodes", "release", machine(1))).toMatch(/^held +-$/m);
    expect((await json("nodes", "hold", machine(1))).held.reason).toBe("by hand");
    expect((await json("nodes", "release", machine(1))).held).toBeNull();
  });

  it("writes labels on a node and takes them away, and leaves all others", async () => {
    const labels = (...changes: string[]) => done("nodes", "label", machine(1), ...changes);
    expect(await labels("rack=7", "env=lab", "note=a = b")).toMatch(/^labels +env=lab, note=a = b, rack=7$/m);
    expect(await labels("env-", "rack=8", "site=")).toMatch(/^labels +note=a = b, rack=8, site=$/m);
    expect((await json("nodes", "list", "--label", "rack=8")).instances).toMatchObject([{ id: machine(1) }]);
    expect((await json("nodes", "label", machine(1), "rack-", "note-", "site-", "nothing-")).labels).toEqual({});
    expect(await misused("nodes", "label", machine(1), "rack")).toContain('"rack" is neither NAME=VALUE nor NAME-.');
    expect(await misused("nodes", "label", machine(1), "a=1", "a-")).toContain('"a" is named twice.');
    expect(await misused("nodes", "label", machine(1))).toContain("missing required argument 'label'");
    expect(await refused("nodes", "label", machine(1), "a b=1")).toContain('"a b" is not a label\'s name');
  });

  it("does not write over labels that somebody else has just written", async () => {
    const real = globalThis.fetch;
    const node = `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances/${machine(1)}`;
    let written = false;
    globalThis.fetch = async (url, init) => {
      if (init?.method === "PUT" && !written) {
        written = true;
        await server.api("PUT", `${node}/labels`, { labels: { theirs: "1" } });
      }
      return real(url, init);
    };
    try {
      expect(await refused("nodes", "label", machine(1), "ours=1")).toContain("it has changed since it was read");
    } finally {
      globalThis.fetch = real;
    }
    expect((await json("nodes", "label", machine(1), "theirs-")).labels).toEqual({});
  });

  it("puts a node into a group, and lets it go by its track again", async () => {
    const lab = await json("groups", "create", "Lab", "--track", "lab", "--channel", "stable", "--arch", "amd64");
    expect(await done("nodes", "move", "rack7-node1", "--group", "lab")).toMatch(/^group +Lab, by hand$/m);
    expect((await json("nodes", "show", machine(1))).application.group_id).toBe(lab.id);
    const back = await turnout("nodes", "move", machine(1), "--by-track");
    expect(back).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^group +Lab$/m),
      err: "with its next check-in it is in the group of its track\n",
    });
    await server.omaha(checks({ machineId: machine(1) }));
    expect(await done("nodes", "show", machine(1))).toMatch(/^group +Stable \(AMD64\)$/m);
    expect(await refused("nodes", "move", machine(1))).toContain("say where to: --group GROUP, or --by-track");
    expect(await refused("nodes", "move", machine(1), "--group", "nix")).toContain('no group "nix"; there are: ');
    expect(await misused("nodes", "move", machine(1), "--by-track", "--group", "Lab")).toContain("cannot be used with");
  });

  it("deletes a node, but not without --yes where nobody can be asked", async () => {
    await server.omaha(checks({ machineId: machine(9), alias: "FÄLSCHLICH" }));
    expect(await done("nodes", "delete", "fälschlich", "--yes")).toBe(`deleted node ${machine(9)}\n`);
    await server.omaha(checks({ machineId: machine(9), alias: "mistake" }));
    expect(await refused("nodes", "delete", "mistake")).toContain("say --yes where nobody can be asked");
    expect(await done("nodes", "delete", "mistake", "--yes")).toBe(`deleted node ${machine(9)}\n`);
    expect(await refused("nodes", "delete", "mistake", "--yes")).toContain('there is no node "mistake"');
    await server.omaha(checks({ machineId: machine(9), alias: "mistake" }));
    expect(await json("nodes", "delete", machine(9), "-y")).toMatchObject({ id: machine(9), alias: "mistake" });
  });
});

describe("turnout nodes bulk", () => {
  const rack7 = ["--where-alias", "rack7-*"];

  it("only says which nodes it would be, and changes them with --yes", async () => {
    const hold = ["nodes", "bulk", "hold", ...rack7, "--reason", "rack 7 moves"];
    const before = await audited();
    expect(await done(...hold)).toBe(
      `2 nodes:\n  ${machine(1)}\n  ${machine(2)}\nnothing was changed; --yes holds them\n`,
    );
    expect(await audited()).toBe(before);
    expect(await done(...hold, "--yes")).toBe(`2 nodes:\n  ${machine(1)}\n  ${machine(2)}\nheld 2 of 2\n`);
    expect((await json("nodes", "show", machine(2))).held.reason).toBe("rack 7 moves");
    expect(await done("nodes", "bulk", "hold", "--where-group", "Stable (AMD64)", "-y")).toMatch(
      /^3 nodes:\n[\s\S]*\nheld 1 of 3; the rest stays as it was\n$/,
    );
    expect(await done("nodes", "bulk", "release", "--where-held", "--yes")).toMatch(/\nreleased 3 of 3\n$/);
    expect(await done("nodes", "bulk", "release", "--where-held")).toBe("there are no such nodes\n");
    expect(await json("nodes", "bulk", "release", ...rack7)).toEqual({
      dry_run: true,
      matched: 2,
      changed: 0,
      instances: [machine(1), machine(2)],
    });
  });

  it("picks nodes out by all that can be said of them", async () => {
    await done("nodes", "label", machine(1), "rack=7", "env=lab");
    await done("nodes", "label", machine(2), "rack=7");
    await done("nodes", "hold", machine(3));
    const picked = async (...where: string[]) =>
      (await json("nodes", "bulk", "release", ...where)).instances.map(Number);
    expect(await picked("--where-label", "rack=7", "--where-label", "env-")).toEqual([2]);
    expect(await picked("--where-label", "rack=7", "--where-version", ">=4000.0.0")).toEqual([1, 2]);
    expect(await picked("--where-version", "<4000.0.0")).toEqual([3]);
    expect(await picked("--where-oem", "vmware,azure", "--where-not-held")).toEqual([1, 2]);
    expect(await picked("--where-held")).toEqual([3]);
    expect(await picked("--where-arch", "arm64")).toEqual([]);
    expect(await picked("--where-status", "unknown,failed", "--where-status", "lost")).toEqual([1, 2, 3]);
    expect(await picked("--where-id", `${machine(1)}, ${machine(3)}`, "--where-id", machine(4))).toEqual([1, 3]);
    expect(await picked("--where-not-seen-for", "90d")).toEqual([]);
    expect(await picked("--where-group", "Beta (AMD64)")).toEqual([]);
    await done("nodes", "release", machine(3));
    await done("nodes", "label", machine(1), "rack-", "env-");
    await done("nodes", "label", machine(2), "rack-");
  });

  it("labels, moves and deletes", async () => {
    expect(await done("nodes", "bulk", "label", "rack=7", "env-", ...rack7, "-y")).toMatch(/\nlabelled 2 of 2\n$/);
    expect((await json("nodes", "show", machine(2))).labels).toEqual({ rack: "7" });
    expect(await done("nodes", "bulk", "move", "--where-label", "rack=7", "--group", "Beta (AMD64)", "-y")).toMatch(
      /\nmoved 2 of 2\n$/,
    );
    expect((await json("nodes", "list", "--group", "Beta (AMD64)")).total).toBe(2);
    expect(await done("nodes", "bulk", "move", ...rack7, "--by-track", "-y")).toMatch(/\nmoved 2 of 2\n$/);
    expect(await done("nodes", "bulk", "delete", ...rack7)).toContain("--yes deletes them\n");
    expect(await done("nodes", "bulk", "delete", ...rack7, "-y")).toMatch(/\ndeleted 2 of 2\n$/);
    expect((await json("nodes", "list")).total).toBe(1);
  });

  it("shows the first ten of many, and how many more there are", async () => {
    for (let n = 20; n < 33; n += 1) await server.omaha(checks({ machineId: machine(n), alias: `many-${n}` }));
    const many = ["nodes", "bulk", "delete", "--where-alias", "many-*"];
    const lines = (await done(...many)).split("\n");
    expect([lines[0], lines[10], lines[11], lines.length]).toEqual([
      "13 nodes:",
      `  ${machine(29)}`,
      "  and 3 more",
      14,
    ]);
    expect((await json(...many, "-y")).instances).toHaveLength(13);
  });

  it("says what is wrong, and does nothing then", async () => {
    const before = await audited();
    expect(await refused("nodes", "bulk", "delete", "-y")).toContain("say which nodes: name at least one --where-…");
    expect(await refused("nodes", "bulk", "move", ...rack7, "-y")).toContain("say where to");
    expect(await refused("nodes", "bulk", "hold", "--where-group", "nix", "-y")).toContain('no group "nix"');
    expect(await refused("nodes", "bulk", "hold", "--where-version", "old", "-y")).toContain(
      'version: "old" is not a version range',
    );
    expect(await refused("nodes", "bulk", "hold", "--where-not-seen-for", "long", "-y")).toContain("not_seen_for: ");
    expect(await misused("nodes", "bulk", "hold", "--where-status", "failed,odd")).toContain(
      'There is no "odd"; there are: unknown, on-hold, ',
    );
    expect(await misused("nodes", "bulk", "hold", "--where-id", "a,,b")).toContain("Write them with a comma between.");
    expect(await misused("nodes", "bulk", "hold", "--where-label", "rack")).toContain("neither NAME=VALUE nor NAME-");
    expect(await misused("nodes", "bulk", "hold", "--where-held", "--where-not-held")).toContain("cannot be used with");
    expect(await misused("nodes", "bulk", "hold", "rack7-node1")).toContain("too many arguments");
    expect(await audited()).toBe(before);
  });
});
