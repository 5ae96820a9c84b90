/** Pages whose examples take their time. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { haltServer, run, TOKEN, Tour } from "./tour.ts";
import { apiClient, FLATCAR, STABLE_GROUP } from "./turnout.ts";

describe("the worked example of docs/rollouts.md", () => {
  it("takes a good release to every node, and halts one that kills in its first stage", async () => {
    const document = new Tour("docs/rollouts.md", "worked");
    const url = await document.start();
    const script = document.blocks().join("\n").replaceAll("http://127.0.0.1:8000", url);
    const { code, output } = await run(`set -euo pipefail\n${script}`);
    expect(code, output).toBe(0);
    expect(output).toContain("1000 on 4230.2.1");
    expect(output).toMatch(/state +halted, stage 1 of 3/);
    expect(output).toMatch(/NO +rollout running +the rollout is halted/);
    expect(output).toMatch(/state +aborted/);
    expect(output).toContain("exit code 3: it would be halted");

    const api = apiClient(url, TOKEN);
    const { rollouts } = await api<{ rollouts: Rollout[] }>("GET", `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`);
    const [killer, good] = rollouts;
    expect(good).toMatchObject({ version: "4230.2.1", stage: 3, counters: { complete: 1000, lost: 0 } });
    expect(killer).toMatchObject({ version: "4459.2.0", state: "aborted", stage: 1, counters: { complete: 0 } });
    expect(killer?.counters.lost).toBe(killer?.counters.granted);
    // 2 % of a thousand are some twenty nodes; the hash has its spread.
    expect(killer?.counters.granted).toBeLessThan(45);
  }, 180_000);
});

interface Rollout {
  readonly counters: Readonly<Record<string, number>>;
}

describe("the page on the command line", () => {
  it("has only commands that do what it says", async () => {
    const document = new Tour("docs/command-line.md", "cli");
    const dataDir = mkdtempSync(join(tmpdir(), "turnout-tour-"));
    const url = await document.start(dataDir);
    const script = document.blocks().join("\n").replaceAll("http://127.0.0.1:8000", url);
    // As on a machine with a Node that is new enough.
    const environment = { PATH: `${dirname(process.execPath)}:${process.env.PATH}`, TURNOUT_DATA_DIR: dataDir };
    const { code, output } = await run(`set -euo pipefail\n${script}\ncp "$backup" ${dataDir}.backup`, environment);
    expect(code, output).toBe(0);
    for (const said of [
      /^all is well$/m,
      /^version +4230\.2\.1$/m,
      /^Canary +stable → 4230\.2\.1 +20 +20 /m,
      /^alias +the one in the corner$/m,
      /^labels +env=lab, rack=7$/m,
      /^group +Stable \(AMD64\), by hand$/m,
      /^deleted node \S+$/m,
      /^nothing was changed; --yes holds them$/m,
      /^labelled 10 of 10$/m,
      /^exit code 1: olga is not logged in$/m,
      /^pager +https:\/\/hooks\.example\.org\/turnout +rollout-halted, node-lost +off +0$/m,
      /^maintenance-windows +fri 22:00 to mon 06:00; wed 23:00 \+ 1h30m$/m,
      /^strategy +1 % \(1d\), 5 % /m,
      /^the fleet is as the file says$/m,
      /^ {2}~ group Canary\n(.*\n)*? {6}policy_max_updates_per_period: 3 → 999999$/m,
      /^exit code 5: it is not as the file says$/m,
      /^exit code 1: there is no such package$/m,
      /^exit code 2: that is no way to use it$/m,
      /^exit code 1: safe mode has stopped nothing$/m,
      /^exit code 3: a person is needed$/m,
      /^deleted application "Lab Linux"$/m,
    ]) {
      expect(output).toMatch(said);
    }
    expect(output.match(/^\d+ lines, unbroken$/gm)).toHaveLength(2);
    expect(output.match(/^all in all +sound$/gm)).toHaveLength(2);

    await haltServer();
    const stopped = document.blocks("cli-stopped").join("\n").replaceAll('"$backup"', `${dataDir}.backup`);
    const after = await run(`set -euo pipefail\nexport PATH="$PWD/bin:$PATH"\n${stopped}`, environment);
    expect(after.code, after.output).toBe(0);
    expect(after.output).toMatch(
      /^the database before is kept as .*before-restore\nnothing to do: .*\nnothing to do: /m,
    );
    rmSync(`${dataDir}.backup`);
  }, 300_000);
});

describe("the examples of docs/nodes.md", () => {
  it("run as they stand, and do what is said of them", async () => {
    const document = new Tour("docs/nodes.md", "care");
    const url = await document.start();
    const blocks = document.blocks();
    const script = blocks.join("\n").replaceAll("http://127.0.0.1:8000", url);
    const { code, output } = await run(`set -euo pipefail\n${script}`);
    expect(code, output).toBe(0);
    expect(output).toContain("held by admin since");
    for (const said of [
      /^labels +env=production, rack=7$/m,
      /^group +Lab, by hand$/m,
      /^deleted node 0+99$/m,
      /^ {2}b7d94e2c61f84a0f9d3355aa10c2e8f4\n.+\nnothing was changed; --yes holds them$/m,
      /^2 nodes:\n {2}b7d94e2c61f84a0f9d3355aa10c2e8f4\n {2}0b0a3c5d9e8f4f6c8a7b6c5d4e3f2a10\nheld 2 of 2$/m,
      /^released 2 of 2$/m,
      /^nothing was changed; --yes labels it$/m,
    ]) {
      expect(output).toMatch(said);
    }
    const bulk = [...output.matchAll(/^\{"dry_run":.*\}$/gm)].map(([line]) => JSON.parse(line) as Bulk);
    expect(bulk.map(({ matched, changed }) => [matched, changed])).toEqual([
      [2, 0],
      [2, 2],
      [0, 0],
      [3, 3],
      [2, 2],
    ]);
  }, 180_000);
});

interface Bulk {
  readonly matched: number;
  readonly changed: number;
}
