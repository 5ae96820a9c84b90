import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { apiClient, FLATCAR, STABLE_GROUP } from "./turnout.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const README = readFileSync(join(ROOT, "README.md"), "utf8");
const TOKEN = "tour-of-the-turnout";

/** The code of all blocks fenced as ```sh NAME. */
const blocks = (name: string) =>
  [...README.matchAll(new RegExp(`^\`\`\`sh ${name}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, code = ""]) => code);

interface Ran {
  readonly code: number | null;
  readonly output: string;
}

describe("the README's tour", () => {
  const dataDir = mkdtempSync(join(tmpdir(), "turnout-tour-"));
  let stop: () => Promise<unknown> = async () => {};
  let url = "";

  beforeAll(async () => {
    const [start = ""] = blocks("tour-server");
    expect(start).toContain("npm start");
    // A process group of its own: npm and the server end together.
    const server = spawn("bash", ["-c", start], {
      cwd: ROOT,
      detached: true,
      env: { ...process.env, TURNOUT_PORT: "0", TURNOUT_DATA_DIR: dataDir },
    });
    const ended = new Promise((done) => server.once("exit", done));
    stop = () => {
      if (server.pid !== undefined) process.kill(-server.pid, "SIGTERM");
      return ended;
    };
    let output = "";
    url = await new Promise((ready, failed) => {
      const read = (chunk: Buffer) => {
        output += chunk;
        const found = /turnout listening on (\S+)/.exec(output)?.[1];
        if (found !== undefined) ready(found);
      };
      server.stdout.on("data", read);
      server.stderr.on("data", read);
      void ended.then(() => failed(new Error(output)));
    });
  });
  afterAll(async () => {
    await stop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  it("runs as it stands, and takes a fleet of 1,000 from 4081.2.0 to 4230.2.1, every node complete", async () => {
    const tour = blocks("tour");
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
  });

  it("wants its token", async () => {
    expect((await fetch(`${url}/api/apps`)).status).toBe(401);
    expect((await fetch(`${url}/api/apps`, { headers: { Authorization: "Bearer wrong" } })).status).toBe(401);
  });
});

function run(script: string): Promise<Ran> {
  return new Promise((done) => {
    const shell = spawn("bash", ["-c", script], { cwd: ROOT });
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
