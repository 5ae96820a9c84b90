/** Servers and loads as processes of their own, each on its own core where the machine lets us. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { DownloadOptions, DownloadResult } from "./download.ts";
import type { LoadOptions, LoadResult } from "./load.ts";

const ROOT = resolve(import.meta.dirname, "..");
export const canPin = spawnSync("taskset", ["-c", "0", "true"]).status === 0;

const children = new Set<ChildProcess>();
const folders = new Set<string>();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

export function aFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "turnout-bench-"));
  folders.add(folder);
  return folder;
}

export interface Server {
  readonly url: string;
  readonly startMs: number;
  /** Resident memory of the process, in MB. */
  memoryMb(): number;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export interface ServerOptions {
  /** Bound to the first core, with all its threads. */
  readonly pinned?: boolean;
  readonly environment?: Record<string, string>;
  readonly nodeOptions?: readonly string[];
}

export function aTurnout(dataDir: string, options: ServerOptions = {}): Promise<Server> {
  return start("src/main.ts", /turnout listening on (\S+)/, {
    ...options,
    // As `npm start` does.
    nodeOptions: ["--max-semi-space-size=8", ...(options.nodeOptions ?? [])],
    environment: {
      TURNOUT_PORT: "0",
      TURNOUT_DATA_DIR: dataDir,
      TURNOUT_AUTH: "none",
      // What is measured is the load of nodes that get their updates, not of nodes that wait for a ramp.
      TURNOUT_DEFAULT_STRATEGY: "none",
      TURNOUT_LOG_LEVEL: "error",
      NODE_COMPILE_CACHE: join(ROOT, "node_modules/.cache/turnout"),
      ...options.environment,
    },
  });
}

export function aReference(): Promise<Server> {
  return start("bench/reference.ts", /reference listening on (\S+)/, { pinned: true });
}

async function start(
  script: string,
  ready: RegExp,
  { pinned = false, environment = {}, nodeOptions = [] }: ServerOptions,
): Promise<Server> {
  const command = [process.execPath, ...nodeOptions, join(ROOT, script)];
  if (pinned && canPin) command.unshift("taskset", "-c", "0");
  const [program = "", ...args] = command;
  const startedAt = performance.now();
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { PATH: process.env.PATH, NODE_ENV: "production", ...environment },
  });
  children.add(child);
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  let output = "";
  const url = await new Promise<string>((found, failed) => {
    const read = (chunk: Buffer) => {
      output += chunk;
      const match = ready.exec(output);
      if (match?.[1] !== undefined) found(match[1]);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    void ended.then(() => failed(new Error(`${script} ended:\n${output}`)));
  });
  const startMs = performance.now() - startedAt;
  return {
    url,
    startMs,
    memoryMb() {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      return Math.round(Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024);
    },
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      await ended;
      children.delete(child);
    },
  };
}

/** nginx with one worker, on the first core, serving a folder from memory with sendfile; null where there is no nginx. */
export async function aNginx(folder: string): Promise<Server | null> {
  if (spawnSync("nginx", ["-v"]).status !== 0) return null;
  const port = await freePort();
  const own = aFolder();
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${own}/${name};`,
  );
  const config = join(own, "nginx.conf");
  writeFileSync(
    config,
    `worker_processes 1; daemon off; pid ${own}/pid; error_log ${own}/error.log;
${process.getuid?.() === 0 ? "user root;" : ""}
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; ${temporary.join(" ")}
  server { listen 127.0.0.1:${port}; root ${folder}; } }
`,
  );
  const command = ["nginx", "-e", `${own}/error.log`, "-c", config];
  if (canPin) command.unshift("taskset", "-c", "0");
  const [program = "", ...args] = command;
  const startedAt = performance.now();
  const child = spawn(program, args, { stdio: "ignore" });
  children.add(child);
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  const url = `http://127.0.0.1:${port}`;
  while (child.exitCode === null && !(await fetch(url).catch(() => null)))
    await new Promise((turn) => setTimeout(turn, 20));
  if (child.exitCode !== null) throw new Error(`nginx ended: ${readFileSync(`${own}/error.log`, "utf8")}`);
  return {
    url,
    startMs: performance.now() - startedAt,
    memoryMb: () => 0,
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      await ended;
      children.delete(child);
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((found) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo; // listening on TCP, it is one
      server.close(() => found(port));
    });
  });
}

export function load(options: Omit<LoadOptions, "seed" | "warmUpSeconds">): Promise<LoadResult> {
  return measured<LoadResult>("load.ts", { ...options, warmUpSeconds: 1, seed: Date.now() });
}

export function download(options: DownloadOptions): Promise<DownloadResult> {
  return measured<DownloadResult>("download.ts", options);
}

/** Runs a script of this folder on the second core; what it prints is its result. */
async function measured<T>(script: string, options: object): Promise<T> {
  const command = [process.execPath, join(import.meta.dirname, script), JSON.stringify(options)];
  if (canPin) command.unshift("taskset", "-c", "1");
  const [program = "", ...args] = command;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.add(child);
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk;
  });
  await new Promise((done) => child.once("exit", done));
  children.delete(child);
  return JSON.parse(output) as T; // each script prints its own
}

/** The library that makes a disk slow; null where there is no C compiler. */
export function slowDiskLibrary(): string | null {
  const library = join(aFolder(), "slowdisk.so");
  try {
    execFileSync("cc", ["-shared", "-fPIC", "-o", library, join(import.meta.dirname, "slowdisk.c"), "-ldl"]);
    return library;
  } catch {
    return null;
  }
}
