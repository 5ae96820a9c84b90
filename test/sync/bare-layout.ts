/** Releases of small payloads in Flatcar's bare layout, as a directory and on a web server that lists its folders. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { aFolder, afterwards } from "../afterwards.ts";
import { aPayload, type Keys, sha256 } from "../payloads/build.ts";
import { MAIN, OEM, send } from "./world.ts";

export class BareLayout {
  readonly folder: string;

  constructor() {
    this.folder = aFolder();
  }

  /** The directory, as an upstream's URL. */
  get url(): string {
    return `file://${this.folder}`;
  }

  path(version: string, name = ""): string {
    return join(this.folder, "amd64-usr", version, name);
  }

  write(version: string, name: string, content: string | Buffer): void {
    mkdirSync(dirname(this.path(version, name)), { recursive: true });
    writeFileSync(this.path(version, name), content);
  }

  /** With digests beside the files, and current. */
  release(version: string, keys: readonly Keys[] = []): void {
    for (const [name, blocks] of [
      [MAIN, 64],
      [OEM, 4],
    ] as const) {
      const content = aPayload(`${name} ${version}`, blocks, { keys });
      this.write(version, name, content);
      this.write(version, `${name}.sha256`, `${sha256(content).toString("hex")}  ${name}\n`);
    }
    this.write(version, "version.txt", versionText(version));
    this.write("current", "version.txt", versionText(version));
  }
}

export function versionText(version: string, board = "amd64-usr"): string {
  return `FLATCAR_VERSION=${version}\nFLATCAR_BOARD=${board}\nFLATCAR_BUILD_ID="2026-03-01-0000"\n`;
}

export class WebServer {
  readonly url: string;
  /** By path, e.g. `4230.2.1/oem-azure.gz`: what is answered instead. */
  readonly instead = new Map<string, (request: IncomingMessage, response: ServerResponse) => void>();
  /** Method, path, range. */
  readonly asked: string[] = [];
  listsFolders = true;

  constructor(url: string) {
    this.url = url;
  }
}

export async function served({ folder }: BareLayout): Promise<WebServer> {
  let web: WebServer;
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? "").replace("/flatcar/amd64-usr/", "");
    web.asked.push(`${request.method} ${path} ${request.headers.range ?? ""}`.trim());
    const instead = web.instead.get(path);
    if (instead !== undefined) return instead(request, response);
    const there = statSync(join(folder, "amd64-usr", path), { throwIfNoEntry: false });
    if (there?.isFile()) return send(readFileSync(join(folder, "amd64-usr", path)), request, response);
    if (there === undefined || !web.listsFolders) return response.writeHead(404).end("<html>nothing here</html>");
    const names = readdirSync(join(folder, "amd64-usr", path));
    const links = names.map((name) => `<a href="${encodeURIComponent(name)}">${name}</a>`).join("\n");
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end(`<html><a href="../">../</a><a href="?C=M">by time</a>\n${links}</html>`);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  web = new WebServer(`http://127.0.0.1:${(server.address() as AddressInfo).port}/flatcar`); // it listens on a port
  afterwards(() => {
    server.closeAllConnections();
    server.close();
  });
  return web;
}
