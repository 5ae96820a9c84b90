import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { Http, textOf } from "../../src/sync/http.ts";
import { SourceFailed } from "../../src/sync/release.ts";
import { afterwards } from "../afterwards.ts";

async function anUpstream(): Promise<string> {
  const server = createServer((_, response) => response.end("here"));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  afterwards(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`; // it listens on a port
}

const asked = () => ({ privateAddresses: true, signal: new AbortController().signal });

it("a client that could not be loaded is an upstream that could not be asked, and is loaded with the next question", async () => {
  const url = await anUpstream();
  let filesAreLeft = false;
  // As Node has it when no more files can be opened: an import fails, and the next one tries again.
  async function load() {
    if (!filesAreLeft) throw new Error("EMFILE: too many open files");
    return import("../../src/sync/agent.ts");
  }
  const http = new Http({ proxy: null, resolve: async () => [], userAgent: "x", load });
  const first = http.ask(url, asked());
  await expect(first).rejects.toBeInstanceOf(SourceFailed);
  await http.close();
  filesAreLeft = true;
  const { signal } = asked();
  expect(await textOf(url, await http.ask(url, asked()), 100, signal)).toBe("here");
  await http.close();
});
