/** A document whose code is run as it stands. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect } from "vitest";
import { afterwards } from "../afterwards.ts";

const ROOT = resolve(import.meta.dirname, "../..");
export const TOKEN = "tour-of-the-turnout";

export interface Ran {
  readonly code: number | null;
  readonly output: string;
}

/** The server's code, and then the rest. */
export class Tour {
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
    afterwards(async () => {
      await halt();
      rmSync(dataDir, { recursive: true, force: true });
    });
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

let halt: () => Promise<void> = async () => {};

/** Ends the server, and keeps its data. */
export function haltServer(): Promise<void> {
  return halt();
}

export function run(script: string, environment: Record<string, string> = {}): Promise<Ran> {
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
