import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SilenceRecord, writeSilence } from "../../src/store/silence-record.ts";
import { aTurnout, checks, NODE_ID, reports, type TestTurnout } from "../e2e/turnout.ts";
import { caught } from "./caught.ts";

let server: TestTurnout;
const folder = mkdtempSync(join(tmpdir(), "turnout-cli-"));
beforeAll(async () => {
  server = await aTurnout();
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const turnout = (args: readonly string[], environment: Record<string, string> = {}) =>
  caught(args, { environment: { TURNOUT_SERVER: server.url, ...environment } });
const GROUP = ["--group", "Stable (AMD64)"];
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

/** A new server: both of its architectures have a group of the track "stable". */
describe("a track that several groups have", () => {
  const list = (...more: string[]) => turnout(["rollouts", "list", "--group", "stable", ...more]);
  const SEVERAL = /^turnout: several groups have the track "stable": "Stable \(ARM\)", "Stable \(AMD64\)"/;

  it("is not enough to name one before any of them has a node, but with its architecture it is", async () => {
    const refused = { code: 1, out: "", err: expect.stringMatching(SEVERAL) };
    expect(await list()).toMatchObject(refused);
    expect((await list()).err).toContain("none of them has nodes; say which by its name, or with --arch\n");
    expect(await list("--arch", "arm64")).toMatchObject({ code: 0, err: "" });
    expect((await turnout(["groups", "show", "stable", "--arch", "amd64"])).out).toMatch(/^group +Stable \(AMD64\)$/m);
    expect((await turnout(["groups", "show", "stable", "--arch", "arm64"])).out).toMatch(/^group +Stable \(ARM\)$/m);
    expect(await list("--arch", "x86")).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no group "stable" for x86; there are: "'),
    });
    // Contradictions are not passed over.
    expect(await turnout(["rollouts", "list", ...GROUP, "--arch", "arm64"])).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no group "Stable (AMD64)" for aarch64'),
    });
    expect(await turnout(["simulate", "--group", "stable"])).toMatchObject(refused);
  });

  it("names the only one of them that has nodes, and which one that is is said", async () => {
    await server.omaha(checks());
    const taken = 'group "Stable (AMD64)" is taken: of those with the track "stable", only it has nodes\n';
    for (const args of [
      ["rollouts", "list", "--group", "stable"],
      ["nodes", "list", "--group", "stable"],
      ["groups", "show", "stable"],
      ["groups", "set", "stable", "--description", "for production"],
      ["audit", "list", "--group", "stable"],
      ["nodes", "bulk", "label", "rack=7", "--where-group", "stable"],
    ]) {
      expect(await turnout(args), args.join(" ")).toMatchObject({ code: 0, err: taken });
    }
    expect(await turnout(["groups", "set", "stable", "--arch", "arm64", "--description", "ARM"])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^group +Stable \(ARM\)$/m),
      err: "",
    });

    // What lasts, or can't be taken back, is not for whoever happens to have nodes now.
    const move = ["nodes", "move", NODE_ID, "--group", "stable"];
    expect(await turnout(move)).toMatchObject({ code: 1, err: expect.stringMatching(SEVERAL) });
    expect(await turnout([...move, "--arch", "amd64"])).toMatchObject({ code: 0, err: "" });
    const remove = ["groups", "delete", "stable", "--yes"];
    expect(await turnout(remove)).toMatchObject({ code: 1, err: expect.stringMatching(SEVERAL) });
    const token = ["token", "create", "pipeline", "--role", "operator", "--group", "stable"];
    expect(await turnout(token)).toMatchObject({ code: 1, err: expect.stringMatching(SEVERAL) });
    expect(await turnout([...token, "--arch", "arm64"])).toMatchObject({ code: 0 });
    const webhook = ["webhooks", "create", "pager", "--url", "https://hooks.example.org/", "--group", "stable"];
    expect(await turnout(webhook)).toMatchObject({ code: 1, err: expect.stringMatching(SEVERAL) });
    expect(await turnout([...webhook, "--arch", "amd64"])).toMatchObject({ code: 0 });

    await server.omaha(checks({ machineId: "2".repeat(32), board: "arm64-usr" }));
    expect((await list()).err).toMatch(/"Stable \(AMD64\)"; say which by its name, or with --arch\n$/);
  });
});

describe("turnout rollouts", () => {
  it("steers a rollout from the terminal, from its making to its end", async () => {
    expect((await turnout(["rollouts", "list", ...GROUP])).out).toContain("no rollouts yet");
    expect(await turnout(["rollouts", "show", ...GROUP])).toMatchObject({
      code: 1,
      err: expect.stringContaining("has no rollout yet"),
    });
    await server.release("4230.2.1");
    const plan = file(
      "plan.yaml",
      "strategy:\n  stages:\n    - { percent: 0, bake: 2h }\n    - { percent: 100 }\n  health: {}\n",
    );
    const made = await turnout(["rollouts", "create", ...GROUP, "--strategy", plan, "--reason", "by the book"]);
    expect(made.out).toMatch(/state +running, stage 1 of 2/);
    expect(made.out).toMatch(/STAGE +NODES +STATE +ELIGIBLE/);
    expect(made.out).toContain("by the book");
    await server.omaha(checks());
    const why = await turnout(["explain", NODE_ID]);
    expect(why.out).toMatch(/NO +stage +stage 1 of 2 takes percentiles below 0; this node is at/);
    expect(why.out).toMatch(/not-in-stage: .*\nthis can change by itself from \d{4}-/);
    expect((await turnout(["rollouts", "pause", ...GROUP, "--reason", "lunch"])).out).toMatch(/state +paused/);
    expect(await turnout(["rollouts", "advance", ...GROUP])).toMatchObject({
      code: 1,
      err: "turnout: the rollout is paused; resume it first\n",
    });
    expect(await turnout(["rollouts", "resume", ...GROUP, "--revision", "1"])).toMatchObject({
      code: 1,
      err: expect.stringContaining("its revision is 2, not 1"),
    });
    expect((await turnout(["rollouts", "resume", ...GROUP])).out).toMatch(/state +running/);
    const later = file("later.json", JSON.stringify({ stages: [{ percent: 0, bake: "2h" }, { percent: 50 }, { percent: 100 }], health: {} })); // biome-ignore format: one line
    expect((await turnout(["rollouts", "set", ...GROUP, "--strategy", later])).out).toMatch(/stage 1 of 3/);
    expect((await turnout(["rollouts", "advance", ...GROUP, "--json"])).out).toContain('"stage": 2');
    expect((await turnout(["rollouts", "retry-failed", ...GROUP])).out).toBe(
      "0 nodes may try again with their next check\n",
    );
    expect((await turnout(["rollouts", "failures", ...GROUP])).out).toBe("no node has failed\n");
    expect((await turnout(["rollouts", "halt", ...GROUP])).out).toMatch(/state +halted/);
    expect(await turnout(["rollouts", "abort", ...GROUP, "--rollback"])).toMatchObject({
      code: 1,
      err: expect.stringContaining("no package to go back to"),
    });
    expect((await turnout(["rollouts", "abort", ...GROUP])).out).toMatch(/state +aborted/);
    expect((await turnout(["rollouts", "list", ...GROUP])).out).toMatch(
      /4230\.2\.1 +aborted[\s\S]+4230\.2\.1 +superseded/,
    );
    await turnout(["rollouts", "create", ...GROUP, "--preset", "hotfix"]);
    await server.omaha(checks({ alias: "rack 4" }));
    await server.omaha(reports(3, 0, { alias: "rack 4" }, 268435466));
    expect((await turnout(["rollouts", "failures", ...GROUP])).out).toMatch(
      new RegExp(`${NODE_ID} +rack 4 +azure +4081.2.0 +failed +10 +1 +20`),
    );
    expect((await turnout(["counters"])).out).toBe("the counters are what the nodes say\n");
  });

  it("shows who has fallen silent", async () => {
    const { no } = await server.turnout.store.read.selectFrom("rollouts").select("no").orderBy("no", "desc").executeTakeFirstOrThrow(); // biome-ignore format: one line
    const others = { complete: { nodes: 40, silent: 7 }, other: { nodes: 900, silent: 3 }, against: "others", bound: 0.05 } as const; // biome-ignore format: one line
    const record = { at: server.clock.now(), silentAfterMs: 6_300_000, silent: 8, compared: others };
    const shown = async (compared: SilenceRecord["compared"]) => {
      await server.turnout.store.write((tx) => writeSilence(tx, no, { ...record, compared }));
      return (await turnout(["rollouts", "show", ...GROUP])).out;
    };
    expect(await shown(others)).toMatch(/silent +8 that had completed \(7 of 40, and 3 of 900 others\)/);
    expect(await shown({ ...others, against: "week before" })).toContain(
      "3 of 900 in the worst hour of the week before)",
    );
    expect(await shown(null)).toMatch(/silent +8 that had completed\n/);
  });

  it("says what was wrong, and what would be right", async () => {
    expect((await turnout(["rollouts", "list", "--group", "nix"])).err).toContain(
      'there is no group "nix"; there are: ',
    );
    expect((await turnout(["rollouts", "list"])).err).toContain("--group");
    expect((await turnout(["explain", "nobody"])).err).toContain('there is no node "nobody"');
    const bad = file("bad.yaml", "stages: [{ percent: 5, bake: soon }]");
    expect((await turnout(["rollouts", "create", ...GROUP, "--strategy", bad])).err).toContain(
      'stages.0.bake: "soon" is not a duration',
    );
    expect((await turnout(["rollouts", "create", ...GROUP, "--strategy", "nowhere.yaml"])).err).toContain(
      "nowhere.yaml",
    );
    const gone = await turnout(["rollouts", "list", ...GROUP], { TURNOUT_SERVER: "http://127.0.0.1:9" });
    expect(gone).toMatchObject({ code: 1, err: expect.stringContaining("can't be reached") });
  });
});
