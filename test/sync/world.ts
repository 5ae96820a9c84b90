/** A server that follows an upstream: another Turnout, or one made by hand that lies. Time is ours. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterwards } from "../afterwards.ts";
import { aTurnout, FLATCAR, STABLE_CHANNEL, type TestTurnout } from "../e2e/turnout.ts";
import { aPayload, described, extraFile } from "../payloads/build.ts";

export const MAIN = "flatcar_production_update.gz";
export const OEM = "oem-azure.gz";

export interface UpstreamState {
  readonly last_error: string | null;
  readonly held_back: string | null;
  readonly moved_to: string | null;
  readonly next_check_ts: string | null;
  readonly last_success_ts: string | null;
  readonly consecutive_failures: number;
  readonly found: { target: string | null; floors: string[]; incomplete: { version: string; why: string }[] } | null;
  readonly downloading: { file: string; received: number; total: number } | null;
}
export interface Upstream {
  readonly id: string;
  readonly state: UpstreamState;
  readonly [field: string]: unknown;
}

export async function aServer(
  environment: Record<string, string> = {},
  options: Parameters<typeof aTurnout>[1] = {},
): Promise<TestTurnout> {
  const server = await aTurnout({ TURNOUT_DISK_RESERVE: "0", ...environment }, options);
  afterwards(() => server.close());
  return server;
}

/** Follows what is at the URL, for the stable channel of amd64. */
export class Follower {
  readonly server: TestTurnout;
  readonly id: string;

  constructor(server: TestTurnout, id: string) {
    this.server = server;
    this.id = id;
  }

  get path(): string {
    return `/apps/${FLATCAR}/upstreams/${this.id}`;
  }

  upstream(): Promise<Upstream> {
    return this.server.api("GET", this.path);
  }

  async state(): Promise<UpstreamState> {
    return (await this.upstream()).state;
  }

  async set(changes: Record<string, unknown>): Promise<void> {
    await this.server.api("PUT", this.path, { ...(await this.upstream()), ...changes });
  }

  /** What the timer does, when it is due. */
  async sync(): Promise<UpstreamState> {
    await this.server.turnout.syncing.run();
    return this.state();
  }

  /** Whether it is due or not. */
  async check(): Promise<UpstreamState> {
    await this.server.api("POST", `${this.path}/check`);
    await this.server.turnout.syncing.idle();
    return this.state();
  }

  async version(): Promise<string | null> {
    return versionOf(this.server);
  }
}

export async function versionOf(server: TestTurnout): Promise<string | null> {
  const { package: target } = await server.api<{ package: { version: string } | null }>(
    "GET",
    `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`,
  );
  return target?.version ?? null;
}

export async function aFollower(
  url: string,
  changes: Record<string, unknown> = {},
  server?: TestTurnout,
): Promise<Follower> {
  const follower = server ?? (await aServer());
  const { id } = await follower.api<{ id: string }>("POST", `/apps/${FLATCAR}/upstreams`, {
    url,
    track: "stable",
    channel_id: STABLE_CHANNEL,
    policy: "follow",
    private_addresses: true,
    ...changes,
  });
  return new Follower(follower, id);
}

export interface Version {
  readonly version: string;
  readonly payload: Buffer;
  readonly oem: Buffer;
}

export function aVersion(version: string, blocks = 16): Version {
  return { version, payload: aPayload(`main ${version}`, blocks), oem: aPayload(`oem ${version}`, 4) };
}

/** Hosts the version, files and all; answers the package's id. */
export async function host(server: TestTurnout, { version, payload, oem }: Version): Promise<string> {
  const { id } = await server.api<{ id: string }>("POST", `/apps/${FLATCAR}/packages`, {
    type: 1,
    arch: 1,
    version,
    url: "https://nowhere.example.org/",
    hosting: "only",
    filename: MAIN,
    ...described(payload),
    extra_files: [extraFile(OEM, oem)],
  });
  for (const [name, content] of [
    [MAIN, payload],
    [OEM, oem],
  ] as const) {
    const response = await fetch(`${server.url}/api/apps/${FLATCAR}/packages/${id}/files/${name}`, {
      method: "PUT",
      headers: { "Content-Type": "application/octet-stream" },
      body: new Uint8Array(content),
    });
    if (!response.ok) throw new Error(await response.text());
  }
  return id;
}

export async function point(server: TestTurnout, packageId: string | null): Promise<void> {
  const path = `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`;
  await server.api("PUT", path, { ...(await server.api("GET", path)), package_id: packageId });
}

export async function packagesOf(server: TestTurnout): Promise<Record<string, Record<string, unknown>>> {
  const { packages } = await server.api<{ packages: { version: string }[] | null }>(
    "GET",
    `/apps/${FLATCAR}/packages?perpage=100`,
  );
  return Object.fromEntries((packages ?? []).map((one) => [one.version, one]));
}

export async function fileStates(server: TestTurnout, packageId: unknown): Promise<Record<string, string>> {
  const { files } = await server.api<{ files: { name: string; state: string }[] }>(
    "GET",
    `/apps/${FLATCAR}/packages/${packageId}/files`,
  );
  return Object.fromEntries(files.map(({ name, state }) => [name, state]));
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** An upstream made by hand. */
export class Handmade {
  readonly url: string;
  /** What every Omaha request is answered with. */
  answer: string | Handler = "";
  /** By name: what a file's address is answered with. */
  readonly files = new Map<string, Buffer | Handler>();
  /** Of Omaha requests. */
  readonly asked: string[] = [];
  /** Name, range. */
  readonly fetched: string[] = [];

  constructor(url: string) {
    this.url = url;
  }

  get omaha(): string {
    return `${this.url}/v1/update/`;
  }

  /** Offers the versions, the last one as target, the others as floors. */
  offer(...versions: Version[]): void {
    this.answer = answerOf(
      `${this.url}/files/${versions.at(-1)?.version}/`,
      versions.map((one, index) => manifestOf(one, index === versions.length - 1 ? "" : ' is_floor="true"')).join(""),
    );
    for (const { version, payload, oem } of versions) {
      this.files.set(`${version}/${MAIN}`, payload);
      this.files.set(`${version}/${OEM}`, oem);
    }
  }
}

export function manifestOf({ version, payload, oem }: Version, marks = ""): string {
  const { size, hash, flatcar_action: action } = described(payload);
  const extra = extraFile(OEM, oem);
  return (
    `<manifest version="${version}"${marks}><packages><package name="${MAIN}" hash="${hash}" size="${size}" required="true"/>` +
    `<package name="${OEM}" hash="${extra.hash}" hash_sha256="${extra.hash256}" size="${extra.size}" required="false"/></packages>` +
    `<actions><action event="postinstall" sha256="${action.sha256}" DisablePayloadBackoff="true"/></actions></manifest>`
  );
}

/** @param more codebases, for when the first has not what is wanted */
export function answerOf(codebase: string, manifests: string, more: readonly string[] = []): string {
  const urls = [codebase, ...more].map((one) => `<url codebase="${one}"/>`).join("");
  return (
    `<?xml version="1.0" encoding="UTF-8"?><response protocol="3.0" server="x"><daystart elapsed_seconds="0"/>` +
    `<app appid="{${FLATCAR}}" status="ok"><updatecheck status="ok"><urls>${urls}</urls>` +
    `${manifests}</updatecheck></app></response>`
  );
}

export const NO_UPDATE = `<response protocol="3.0"><app appid="{${FLATCAR}}" status="ok"><updatecheck status="noupdate"/></app></response>`;

export async function handmade(): Promise<Handmade> {
  let upstream: Handmade;
  const server = createServer(async (request, response) => {
    if (request.method === "POST") {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      upstream.asked.push(Buffer.concat(chunks).toString());
      if (typeof upstream.answer === "function") upstream.answer(request, response);
      else response.end(upstream.answer);
      return;
    }
    const name = (request.url ?? "").replace("/files/", "");
    upstream.fetched.push(`${name} ${request.headers.range ?? ""}`.trim());
    const file = upstream.files.get(name);
    if (typeof file === "function") return file(request, response);
    if (file === undefined) return response.writeHead(404).end();
    send(file, request, response);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  upstream = new Handmade(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  afterwards(() => {
    server.closeAllConnections();
    server.close();
  });
  return upstream;
}

/** With ranges, as a web server does. */
export function send(file: Buffer, request: IncomingMessage, response: ServerResponse): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const rest = file.subarray(from);
  response.writeHead(from === 0 ? 200 : 206, {
    "Content-Length": rest.length,
    ...(from === 0 ? {} : { "Content-Range": `bytes ${from}-${file.length - 1}/${file.length}` }),
  });
  response.end(rest);
}
