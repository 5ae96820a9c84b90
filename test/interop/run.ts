/**
 * Drives a real Turnout with a client written in Go: `npm run test:interop`. Without Go it says so, and that is no failure.
 * The client is a stand-in for go-omaha on Go's standard library: see go/README.md.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");
const FLATCAR = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";
const STABLE = "e06064ad-4414-4904-9a6e-fd465593d1b2";
const READY_MS = 20_000;

const OLD_VERSION = "4081.2.0";
const RELEASE = {
  application_id: FLATCAR,
  arch: 1,
  type: 1,
  version: "4230.2.1",
  url: "https://update.example.org/amd64-usr/4230.2.1/",
  filename: "flatcar_production_update.gz",
  description: "Flatcar 4230.2.1",
  size: "1234",
  hash: "DWDFOxrHPmQs9BW4iyawePscnD0=",
  channels_blacklist: [],
  flatcar_action: { sha256: "sGWSKGG6ThF1d1Q79UPTq1xN7mJyz870KaIUGrDJIDA=" },
};

/** For clients that are no operating system. */
const PRODUCT = "io.example.Billing";
const APP_RELEASE = {
  arch: 1,
  type: 4,
  version: "2.4.0",
  // Theirs take the address as it is, query and all.
  url: "https://pkgs.example.org/billing/?rev=a1&sig=b2",
  filename: "billing-2.4.0.tar.gz",
  description: "Billing 2.4.0",
  size: "9123456",
  hash: "bPHDuVvVrN0LluQONedL25U9ZBA=",
  channels_blacklist: [],
};

async function run(): Promise<number> {
  if (spawnSync("go", ["version"]).status !== 0) {
    process.stdout.write("skipping: there is no Go on this machine\n");
    return 0;
  }
  process.stdout.write("note: the client is a stand-in on Go's standard library, not the go-omaha library\n");
  const directory = mkdtempSync(join(tmpdir(), "turnout-interop-"));
  let server: ChildProcess | null = null;
  try {
    const client = join(directory, "client");
    const built = spawnSync("go", ["build", "-o", client, "."], {
      cwd: join(import.meta.dirname, "go"),
      stdio: "inherit",
    });
    if (built.status !== 0) throw new Error("the Go client does not build");
    server = startServer(join(directory, "data"));
    const url = await readyUrl(server);
    await release(url);
    const group = await releaseOfApp(url);
    const { version, filename, size, hash, flatcar_action } = RELEASE;
    const program = spawn(
      client,
      [
        ...[`${url}/v1/update/`, OLD_VERSION, version, filename, size, hash, flatcar_action.sha256],
        ...[PRODUCT, group, APP_RELEASE.version, APP_RELEASE.url, APP_RELEASE.filename],
      ],
      { stdio: "inherit" },
    );
    const [code] = await once(program, "exit");
    return code === 0 ? 0 : 1;
  } finally {
    if (server !== null) await stopped(server);
    rmSync(directory, { recursive: true, force: true });
  }
}

function startServer(dataDir: string): ChildProcess {
  return spawn(process.execPath, [join(ROOT, "src/main.ts")], {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH,
      TURNOUT_PORT: "0",
      TURNOUT_DATA_DIR: dataDir,
      TURNOUT_AUTH: "none",
      TURNOUT_LOG_LEVEL: "error",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function readyUrl(server: ChildProcess): Promise<string> {
  let output = "";
  return new Promise((ready, failed) => {
    const timer = setTimeout(
      () => failed(new Error(`Turnout is not ready after ${READY_MS} ms:\n${output}`)),
      READY_MS,
    );
    server.stdout?.on("data", (chunk) => {
      output += chunk;
      const url = /turnout listening on (\S+)/.exec(output)?.[1];
      if (url === undefined) return;
      clearTimeout(timer);
      ready(url);
    });
    server.once("exit", (code) => {
      clearTimeout(timer);
      failed(new Error(`Turnout ended with ${code} before it was ready:\n${output}`));
    });
  });
}

/** Adds the package and points the stable channel to it. */
async function release(url: string): Promise<void> {
  const id = await made(url, `/apps/${FLATCAR}/packages`, RELEASE);
  await api(url, "PUT", `/apps/${FLATCAR}/channels/${STABLE}`, {
    name: "stable",
    color: "#14b9d6",
    arch: 1,
    application_id: FLATCAR,
    package_id: id,
  });
}

/** An application that is known by its product id, with a group that gives the release to all at once. Answers the group's id. */
async function releaseOfApp(url: string): Promise<string> {
  const app = `/apps/${await made(url, "/apps", { name: "Billing", product_id: PRODUCT })}`;
  const packageId = await made(url, `${app}/packages`, APP_RELEASE);
  const channel = { name: "beta", color: "#14b9d6", arch: 1, package_id: packageId };
  return made(url, `${app}/groups`, {
    name: "Beta",
    track: "beta",
    channel_id: await made(url, `${app}/channels`, channel),
    policy_timezone: "Europe/Berlin",
    policy_period_interval: "15 minutes",
    policy_max_updates_per_period: 999_999,
    policy_update_timeout: "60 minutes",
    strategy: { stages: [{ percent: 100 }] },
  });
}

/** Makes something; its id. */
async function made(url: string, path: string, body: unknown): Promise<string> {
  const created = await api(url, "POST", path, body);
  if (typeof created !== "object" || created === null || !("id" in created)) throw new Error(`${path}: it got no id`);
  return String(created.id);
}

async function api(url: string, method: string, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${url}/api${path}`, {
    method,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: HTTP ${response.status} ${text}`);
  return JSON.parse(text);
}

async function stopped(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const ended = once(server, "exit");
  server.kill("SIGTERM");
  await ended;
}

try {
  process.exitCode = await run();
} catch (error) {
  process.stdout.write(`FAIL ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
