/** A server with a package whose files can be brought to it. */
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { aTurnout, FLATCAR, type TestTurnout } from "../e2e/turnout.ts";
import { aPayload, described, extraFile } from "./build.ts";

export const VERSION = "4230.2.1";
export const MAIN = "flatcar_production_update.gz";
export const OEM = "oem-azure.gz";

export const payload = aPayload("main", 64);
export const oem = aPayload("oem", 8);

export interface Raw {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** As a node asks: no more headers than these, nothing is followed or decoded. */
export function get(url: string, headers: Record<string, string> = {}, method = "GET"): Promise<Raw> {
  return new Promise((done, failed) => {
    const request = httpRequest(url, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", failed);
      response.on("end", () =>
        done({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    });
    request.on("error", failed);
    request.end();
  });
}

export class Hosting {
  readonly server: TestTurnout;
  readonly packageId: string;

  constructor(server: TestTurnout, packageId: string) {
    this.server = server;
    this.packageId = packageId;
  }

  /** The address of a file as nodes know it. */
  file(name = MAIN, version = VERSION): string {
    return `${this.server.url}/payloads/${FLATCAR}/amd64/${version}/${name}`;
  }

  api(name: string): string {
    return `${this.server.url}/api/apps/${FLATCAR}/packages/${this.packageId}/files/${name}`;
  }

  /** Answers the status and what was said. */
  async put(
    name: string,
    body: Buffer | ReadableStream,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; text: string; headers: Headers }> {
    const response = await fetch(this.api(name), {
      method: "PUT",
      headers: { "Content-Type": "application/octet-stream", ...headers },
      body,
      duplex: "half",
    });
    return { status: response.status, text: await response.text(), headers: response.headers };
  }

  async states(): Promise<Record<string, string>> {
    const { files } = await this.server.api<{ files: { name: string; state: string }[] }>(
      "GET",
      `/apps/${FLATCAR}/packages/${this.packageId}/files`,
    );
    return Object.fromEntries(files.map(({ name, state }) => [name, state]));
  }

  async hostAll(): Promise<void> {
    for (const [name, content] of [
      [MAIN, payload],
      [OEM, oem],
    ] as const) {
      const { status, text } = await this.put(name, content);
      if (status !== 200) throw new Error(`${name}: ${status} ${text}`);
    }
  }
}

/** With a Flatcar package on the stable channel: a payload and one OEM image. */
export async function aHosting(
  environment: Record<string, string> = {},
  changes: Record<string, unknown> = {},
  options: Parameters<typeof aTurnout>[1] = {},
): Promise<Hosting> {
  const server = await aTurnout({ TURNOUT_DISK_RESERVE: "0", ...environment }, options);
  const packageId = await server.release(VERSION, {
    filename: MAIN,
    ...described(payload),
    extra_files: [extraFile(OEM, oem)],
    ...changes,
  });
  return new Hosting(server, packageId);
}
