/** A central server and its sites, real ones, over loopback. Time is ours. */
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { beforeEach } from "vitest";
import { aFolder, afterwards } from "../afterwards.ts";
import { apiClient, aTurnout, FLATCAR, release, STABLE_GROUP, type TestTurnout } from "../e2e/turnout.ts";
import { described } from "../payloads/build.ts";

export const ADMIN = "a-token-of-the-tests-0001";

export interface CentralServer {
  readonly url: string;
  readonly turnout: TestTurnout;
  readonly api: ReturnType<typeof apiClient>;
}

export interface State {
  readonly state: string;
  readonly error: string | null;
  readonly failures: number;
  readonly held: readonly Record<string, unknown>[];
  readonly applications: readonly Record<string, unknown>[];
  readonly path: readonly string[];
  readonly instance: string;
  readonly [field: string]: unknown;
}

export interface Channel {
  readonly name: string;
  readonly arch: number;
  readonly package: { readonly version: string } | null;
}

/** What the tests of a file have to do with: a new one for each. */
export class World {
  readonly #stopped = new Set<TestTurnout>();

  folder(): string {
    return aFolder();
  }

  async start(environment: Record<string, string>, options: Parameters<typeof aTurnout>[1] = {}): Promise<TestTurnout> {
    const server = await aTurnout({ TURNOUT_DISK_RESERVE: "0", ...environment }, options);
    afterwards(() => this.stop(server));
    return server;
  }

  async stop(server: TestTurnout): Promise<void> {
    if (this.#stopped.has(server)) return;
    this.#stopped.add(server);
    await server.close();
  }

  async central(environment: Record<string, string> = {}, dataDir = this.folder()): Promise<CentralServer> {
    const turnout = await this.start(
      { TURNOUT_AUTH: "token", TURNOUT_ADMIN_TOKEN: ADMIN, ...environment },
      { dataDir },
    );
    return { url: turnout.url, turnout, api: apiClient(turnout.url, ADMIN) };
  }

  /** A server that is this site of the central one. */
  async site(
    central: { url: string; api: CentralServer["api"] },
    {
      site = "berlin",
      applications,
      ...environment
    }: { site?: string; applications?: string[] } & Record<string, unknown> = {},
  ): Promise<TestTurnout> {
    const token = await siteToken(central.api, site, applications);
    return this.start(
      { ...siteOf(central.url, token, site), ...(environment as Record<string, string>) },
      { dataDir: this.folder() },
    );
  }

  /** A server of our own that answers as it likes. */
  async impostor(answer: RequestListener): Promise<string> {
    const server = createServer(answer);
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    afterwards(() => {
      server.closeAllConnections();
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // it listens on a port
  }
}

export const siteOf = (url: string, token: string, site = "berlin") => ({
  TURNOUT_CENTRAL_URL: url,
  TURNOUT_CENTRAL_TOKEN: token,
  TURNOUT_SITE: site,
});

export async function siteToken(
  api: CentralServer["api"],
  site: string,
  applications?: readonly string[],
): Promise<string> {
  const name = `${site} ${Math.random()}`;
  const body = { name, role: "site", site, ...(applications && { applications }) };
  return (await api<{ token: string }>("POST", "/tokens", body)).token;
}

export const GROUP = `/apps/${FLATCAR}/groups/${STABLE_GROUP}`;
/** A strategy whose rollouts don't end by themselves. */
export const STAGES = { stages: [{ percent: 10 }, { percent: 100 }] };

/** Of the group of stable nodes. */
export async function changeGroup(api: CentralServer["api"], changes: Record<string, unknown>): Promise<void> {
  await api("PUT", GROUP, { ...(await api("GET", GROUP)), ...changes });
}

/** What the timers do, when a round is due. */
export async function round(site: TestTurnout, minutes = 2): Promise<State> {
  site.clock.move({ minutes });
  await site.turnout.edge?.keepUp();
  await site.turnout.edge?.run();
  return site.api<State>("GET", "/central");
}

export async function channel(api: CentralServer["api"], name = "stable", arch = 1): Promise<string | null> {
  const { channels } = await api<{ channels: Channel[] }>("GET", `/apps/${FLATCAR}/channels?perpage=100`);
  return channels.find((one) => one.name === name && one.arch === arch)?.package?.version ?? null;
}

/** Points the stable channel to a release with a payload of the real format, kept at that server. */
export async function hostedRelease(
  api: CentralServer["api"],
  url: string,
  version: string,
  payload: Buffer,
  changes: Record<string, unknown> = {},
): Promise<string> {
  const id = await release(api, version, { ...described(payload), ...changes });
  await bring(url, id, payload);
  return id;
}

/** A package's payload, by hand. */
export async function bring(url: string, packageId: string, payload: Buffer): Promise<void> {
  const path = `${url}/api/apps/${FLATCAR}/packages/${packageId}/files/flatcar_production_update.gz`;
  const headers = { "Content-Type": "application/octet-stream", Authorization: `Bearer ${ADMIN}` };
  const answer = await fetch(path, { method: "PUT", headers, body: new Uint8Array(payload) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
}

/** Whatever the API answers: its status, and its body as text. */
export async function answerOf(
  url: string,
  method: string,
  path: string,
  { token, body, headers = {} }: { token?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<readonly [status: number, text: string, headers: Headers]> {
  const response = await fetch(`${url}/api${path}`, {
    method,
    headers: {
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return [response.status, await response.text(), response.headers];
}

/** For each test of the file: `use` gets its world. */
export function worlds(use: (world: World) => void): void {
  beforeEach(() => use(new World()));
}
