import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { apiClient, FLATCAR, STABLE_GROUP } from "./turnout.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const TOKEN = "tour-of-the-turnout";

interface Ran {
  readonly code: number | null;
  readonly output: string;
}

/** A document whose code is run as it stands: the server's, and then the rest. */
class Tour {
  readonly #text: string;
  readonly #name: string;

  constructor(file: string, name: string) {
    this.#text = readFileSync(join(ROOT, file), "utf8");
    this.#name = name;
  }

  /** The code of all blocks fenced as ```sh NAME. */
  blocks(name = this.#name): string[] {
    const fenced = new RegExp(`^\`\`\`sh ${name}\\n([\\s\\S]*?)^\`\`\`$`, "gm");
    return [...this.#text.matchAll(fenced)].map(([, code = ""]) => code);
  }

  async start(dataDir = mkdtempSync(join(tmpdir(), "turnout-tour-"))): Promise<string> {
    const [start = ""] = this.blocks(`${this.#name}-server`);
    expect(start).toContain("npm start");
    // A process group of its own: npm and the server end together.
    const server = spawn("bash", ["-c", start], {
      cwd: ROOT,
      detached: true,
      env: { ...process.env, TURNOUT_PORT: "0", TURNOUT_DATA_DIR: dataDir },
    });
    const ended = new Promise((done) => server.once("exit", done));
    halt = async () => {
      const { pid, exitCode, signalCode } = server;
      if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, "SIGTERM");
      await ended;
    };
    stop = async () => {
      await halt();
      rmSync(dataDir, { recursive: true, force: true });
    };
    let output = "";
    return new Promise((ready, failed) => {
      const read = (chunk: Buffer) => {
        output += chunk;
        const found = /turnout listening on (\S+)/.exec(output)?.[1];
        if (found !== undefined) ready(found);
      };
      server.stdout.on("data", read);
      server.stderr.on("data", read);
      void ended.then(() => failed(new Error(output)));
    });
  }
}

/** Ends the server. */
let halt: () => Promise<void> = async () => {};
/** And forgets all about it. */
let stop: () => Promise<void> = async () => {};
afterEach(() => stop());

describe("the README's tour", () => {
  it("runs as it stands, and takes a fleet of 1,000 from 4081.2.0 to 4230.2.1, every node complete", async () => {
    const document = new Tour("README.md", "tour");
    const url = await document.start();
    const tour = document.blocks();
    expect(tour.length).toBeGreaterThanOrEqual(7);
    const script = tour
      .join("\n")
      .replaceAll("http://127.0.0.1:8000", url)
      .replace("fleet-sim ", `fleet-sim --server ${url}/v1/update/ `);
    const { code, output } = await run(`set -euo pipefail\n${script}`);
    expect(code, output).toBe(0);
    expect(output).toContain('status="noupdate"');
    const api = apiClient(url, TOKEN);
    const stats = await api("GET", `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances_stats?duration=1d`);
    expect(stats).toMatchObject({ total: 1001, complete: 1000 });
    const { instances } = await api<{ instances: { application: { version: string; state: string } }[] }>(
      "GET",
      `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances?status=4&duration=1d&perpage=1000`,
    );
    expect(instances).toHaveLength(1000);
    expect(new Set(instances.map(({ application }) => `${application.version} ${application.state}`))).toEqual(
      new Set(["4230.2.1 complete"]),
    );

    expect((await fetch(`${url}/api/apps`)).status).toBe(401);
    expect((await fetch(`${url}/api/apps`, { headers: { Authorization: "Bearer wrong" } })).status).toBe(401);
  });
});

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

describe("the examples of docs/nodes.md", () => {
  it("run as they stand, and do what is said of them", async () => {
    const document = new Tour("docs/nodes.md", "care");
    const url = await document.start();
    const blocks = document.blocks();
    const script = blocks.join("\n").replaceAll("http://127.0.0.1:8000", url);
    const { code, output } = await run(`set -euo pipefail\n${script}`);
    expect(code, output).toBe(0);
    expect(output).toContain("held by admin since");
    const bulk = [...output.matchAll(/^\{"dry_run":.*\}$/gm)].map(([line]) => JSON.parse(line) as Bulk);
    expect(bulk.map(({ matched, changed }) => [matched, changed])).toEqual([
      [2, 0],
      [2, 2],
      [0, 0],
      [3, 3],
      [2, 2],
    ]);
  });
});

interface Bulk {
  readonly matched: number;
  readonly changed: number;
}

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
      /^maintenance-windows +mon-thu 22:00-04:00; sat,sun 00:00-23:59$/m,
      /^strategy +1 % \(1d\), 5 % /m,
      /^the fleet is as the file says$/m,
      /^ {2}~ group Canary\n(.*\n)*? {6}policy_max_updates_per_period: 3 → 999999$/m,
      /^exit code 5: it is not as the file says$/m,
      /^exit code 1: there is no such package$/m,
      /^exit code 2: that is no way to use it$/m,
      /^exit code 3: a person is needed$/m,
      /^deleted application "Lab Linux"$/m,
    ]) {
      expect(output).toMatch(said);
    }
    expect(output.match(/^\d+ lines, unbroken$/gm)).toHaveLength(2);
    expect(output.match(/^all in all +sound$/gm)).toHaveLength(2);

    await halt();
    const stopped = document.blocks("cli-stopped").join("\n").replaceAll('"$backup"', `${dataDir}.backup`);
    const after = await run(`set -euo pipefail\nexport PATH="$PWD/bin:$PATH"\n${stopped}`, environment);
    expect(after.code, after.output).toBe(0);
    expect(after.output).toMatch(
      /^the database before is kept as .*before-restore\nnothing to do: .*\nnothing to do: /m,
    );
    rmSync(`${dataDir}.backup`);
  }, 120_000);
});

function run(script: string, environment: Record<string, string> = {}): Promise<Ran> {
  return new Promise((done) => {
    const shell = spawn("bash", ["-c", script], { cwd: ROOT, env: { ...process.env, ...environment } });
    let output = "";
    shell.stdout.on("data", (chunk: Buffer) => {
      output += chunk;
    });
    shell.stderr.on("data", (chunk: Buffer) => {
      output += chunk;
    });
    shell.once("exit", (code) => done({ code, output }));
  });
}
