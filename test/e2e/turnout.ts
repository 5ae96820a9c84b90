/** A real Turnout for tests: in this process with a clock of ours, or as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type StartOptions, startTurnout, type Turnout } from "../../src/main.ts";
import { readSettings } from "../../src/settings.ts";
import { readStrictly } from "../clients/strict.ts";
import { VirtualClock } from "../virtual-clock.ts";

export const FLATCAR = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";
export const STABLE_CHANNEL = "e06064ad-4414-4904-9a6e-fd465593d1b2";
export const STABLE_GROUP = "9a2deb70-37be-4026-853f-bfdd6b347bbe";

export interface TestTurnout {
  readonly url: string;
  readonly clock: VirtualClock;
  readonly turnout: Turnout;
  readonly dataDir: string;
  /** The admin API: throws on an answer that is not 2xx. */
  api<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T>;
  /** Posts an Omaha request; the strict client models read the answer. */
  omaha(xml: string): Promise<string>;
  /** Adds a package and points the stable amd64 channel to it. */
  release(version: string, changes?: Record<string, unknown>): Promise<string>;
  setPolicy(changes: Record<string, unknown>): Promise<void>;
  close(): Promise<void>;
}

export async function aTurnout(
  environment: Record<string, string> = {},
  options: StartOptions & { dataDir?: string; clock?: VirtualClock } = {},
): Promise<TestTurnout> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "turnout-"));
  const clock = options.clock ?? new VirtualClock();
  const settings = readSettings({
    TURNOUT_PORT: "0",
    TURNOUT_DATA_DIR: dataDir,
    TURNOUT_AUTH: "none",
    TURNOUT_LOG_LEVEL: "silent",
    ...environment,
  });
  const turnout = await startTurnout(settings, { timers: false, ...options, clock });
  const api = apiClient(turnout.url);
  return {
    url: turnout.url,
    clock,
    turnout,
    dataDir,
    api,
    omaha: (xml) => postOmaha(turnout.url, xml),
    release: (version, changes) => release(api, version, changes),
    async setPolicy(changes) {
      const group = await api("GET", `/apps/${FLATCAR}/groups/${STABLE_GROUP}`);
      await api("PUT", `/apps/${FLATCAR}/groups/${STABLE_GROUP}`, { ...group, ...changes });
    },
    async close() {
      await turnout.close();
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export function apiClient(url: string, token?: string) {
  return async <T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T> => {
    const response = await fetch(`${url}/api${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text === "" ? {} : JSON.parse(text)) as T; // a test knows what it asked for
  };
}

export async function release(
  api: ReturnType<typeof apiClient>,
  version: string,
  changes: Record<string, unknown> = {},
): Promise<string> {
  const { id } = await api<{ id: string }>("POST", `/apps/${FLATCAR}/packages`, {
    application_id: FLATCAR,
    type: 1,
    arch: 1,
    version,
    url: `https://update.release.flatcar-linux.net/amd64-usr/${version}/`,
    filename: "flatcar_production_update.gz",
    description: `Flatcar ${version}`,
    size: "501234567",
    hash: "DWDFOxrHPmQs9BW4iyawePscnD0=",
    flatcar_action: { sha256: "sGWSKGG6ThF1d1Q79UPTq1xN7mJyz870KaIUGrDJIDA=" },
    channels_blacklist: [],
    ...changes,
  });
  await api("PUT", `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`, {
    name: "stable",
    color: "#14b9d6",
    arch: 1,
    application_id: FLATCAR,
    package_id: id,
  });
  return id;
}

export async function postOmaha(url: string, xml: string): Promise<string> {
  const response = await fetch(`${url}/v1/update/`, {
    method: "POST",
    headers: { "Content-Type": "text/xml" },
    body: xml,
  });
  const body = await response.text();
  readStrictly({ body: xml }, { status: response.status, contentType: response.headers.get("content-type"), body });
  return body;
}

/** What a machine says, in update_engine's words. */
export interface Says {
  readonly machineId?: string;
  readonly version?: string;
  readonly track?: string;
  readonly bootId?: string;
  readonly alias?: string;
  readonly oem?: string;
  readonly board?: string;
  readonly ping?: boolean;
  readonly check?: boolean;
  readonly events?: readonly string[];
}

export const NODE_ID = "b7d94e2c61f84a0f9d3355aa10c2e8f4";

export function says(what: Says): string {
  const { machineId = NODE_ID, version = "4081.2.0", track = "stable", bootId = "{boot-1}" } = what;
  const { alias = "", oem = "azure", board = "amd64-usr", ping = false, check = false, events = [] } = what;
  return `<?xml version="1.0" encoding="UTF-8"?>
<request protocol="3.0" version="update_engine-0.4.10" updaterversion="update_engine-0.4.10" installsource="scheduler" ismachine="1">
    <os version="Chateau" platform="CoreOS" sp="${version}_x86_64"></os>
    <app appid="{${FLATCAR}}" version="${version}" track="${track}" bootid="${bootId}" oem="${oem}" oemversion="${version}" alephversion="4081.2.0" machineid="${machineId}" machinealias="${alias}" lang="en-US" board="${board}" hardware_class="" delta_okay="false" >
${ping ? '        <ping active="1"></ping>\n' : ""}${check ? "        <updatecheck></updatecheck>\n" : ""}${events.map((event) => `        <event ${event}></event>\n`).join("")}    </app>
</request>
`;
}

export const checks = (what: Says = {}) =>
  says({ ping: true, check: true, events: ['eventtype="3" eventresult="2" previousversion=""'], ...what });
export const pings = (what: Says = {}) => says({ ping: true, ...what });
export const reports = (type: number, result: number, what: Says = {}, errorCode?: number) =>
  says({
    events: [
      `eventtype="${type}" eventresult="${result}"${errorCode === undefined ? "" : ` errorcode="${errorCode}"`}`,
    ],
    ...what,
  });

/** A process of its own: the real thing, to be killed. */
export interface TurnoutProcess {
  readonly url: string;
  readonly child: ChildProcess;
  output(): string;
  /** Resolves with the exit code, or the signal's name. */
  ended: Promise<number | string>;
}

export async function aProcess(dataDir: string, environment: Record<string, string> = {}): Promise<TurnoutProcess> {
  const child = spawn(process.execPath, [resolve(import.meta.dirname, "../../src/main.ts")], {
    cwd: resolve(import.meta.dirname, "../.."),
    env: {
      PATH: process.env.PATH,
      TURNOUT_PORT: "0",
      TURNOUT_DATA_DIR: dataDir,
      TURNOUT_AUTH: "none",
      TURNOUT_LOG_LEVEL: "warn",
      ...environment,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const ended = new Promise<number | string>((done) => child.once("exit", (code, signal) => done(signal ?? code ?? 0)));
  const url = await new Promise<string>((ready, failed) => {
    const read = (chunk: Buffer) => {
      output += chunk;
      const match = /turnout listening on (\S+)/.exec(output);
      if (match?.[1] !== undefined) ready(match[1]);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    void ended.then((how) => failed(new Error(`turnout ended with ${how} before it was ready:\n${output}`)));
  });
  return { url, child, output: () => output, ended };
}
