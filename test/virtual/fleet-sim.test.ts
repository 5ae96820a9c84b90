import { spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const COMMAND = resolve(import.meta.dirname, "../../bin/turnout");

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function fleetSim(options: readonly string[], onStart: (kill: () => void) => void = () => {}): Promise<Ended> {
  const child = spawn(process.execPath, [COMMAND, "fleet-sim", ...options], { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  onStart(() => child.kill("SIGINT"));
  return new Promise((ended) => child.once("close", (code) => ended({ code, stdout, stderr })));
}

describe("turnout fleet-sim", () => {
  let server: Server;
  let url = "";
  let asked: () => void = () => {};

  beforeAll(async () => {
    server = createServer((request, response) => {
      request.resume();
      asked();
      response.end('<response><app status="ok"><updatecheck status="noupdate"/></app></response>');
    });
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("it listens on no port");
    url = `http://127.0.0.1:${address.port}/v1/update/`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it("prints a summary", async () => {
    const { code, stdout, stderr } = await fleetSim(["--server", url, "--nodes", "5", "--speed", "max"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^end +all nodes settled \(5 of 5\)$/m);
    expect(stdout).toMatch(/^nodes +5, no update was offered$/m);
    expect(stdout).toMatch(/^ {2}by answer +noupdate: 5$/m);
    expect(stdout).toMatch(/^latency +p50 \d+\.\d ms, p99 \d+\.\d ms$/m);
  });

  it("prints nothing but the figures with --json", async () => {
    const { code, stdout, stderr } = await fleetSim(["--server", url, "--nodes", "5", "--speed", "max", "--json"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ nodes: 5, settled: 5, end: "settled", requests: { total: 5 } });
  });

  it("ends with its summary on Ctrl-C", async () => {
    const ended = await fleetSim(["--server", url, "--until-version", "9.9.9", "--speed", "6000"], (kill) => {
      // Once: a second one would end it without a summary.
      asked = () => {
        asked = () => {};
        kill();
      };
    });
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    expect(ended.stdout).toMatch(/^end +interrupted /);
  });

  it("says in one line that there is no server", async () => {
    const { code, stdout, stderr } = await fleetSim(["--server", "http://127.0.0.1:1/", "--speed", "max"]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^fleet-sim: no answer from http:\/\/127\.0\.0\.1:1\/: .*ECONNREFUSED.*\n$/);
  });

  it.each([
    ["--server", "localhost:8000"],
    ["--nodes", "many"],
    ["--nodes", "0"],
    ["--board", "riscv"],
    ["--poll", "15 minuts"],
    ["--poll", "0s"],
    ["--speed", "0"],
    ["--fail", "20%"],
    ["--die", "1%:10"],
    ["--no-such-option", "1"],
  ])("says in one line what is wrong with %s %s", async (option, value) => {
    const { code, stdout, stderr } = await fleetSim([option, value]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^turnout: .*\n$/);
    expect(stderr).toContain(option);
  });
});
