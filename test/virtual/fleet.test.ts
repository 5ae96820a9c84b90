import { createServer, type Server } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { parseRule } from "../../src/virtual/behaviour.ts";
import { runFleet } from "../../src/virtual/fleet.ts";
import type { FleetOptions } from "../../src/virtual/options.ts";
import type { Progress } from "../../src/virtual/statistics.ts";

const OLD = "4081.2.0";
const NEW = "4230.2.1";
const ROOMY = `<updatecheck status="ok"><urls><url codebase="http://a/"/></urls><manifest version="${NEW}"><packages><package name="u.gz" size="1"/></packages><actions><action event="postinstall" sha256="x="/></actions></manifest></updatecheck>`;

interface Mock {
  readonly url: string;
  readonly seen: { readonly body: string; readonly headers: Record<string, unknown> }[];
  readonly connections: () => number;
  readonly server: Server;
}

const open: Server[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});

/** A server that offers NEW to every node below it, unless told otherwise. */
async function aServer(answer: (body: string) => number | string = () => ROOMY): Promise<Mock> {
  const seen: Mock["seen"] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      seen.push({ body, headers: request.headers });
      const upToDate = !body.includes("<updatecheck>") || body.includes(` version="${NEW}"`);
      const what = upToDate ? '<updatecheck status="noupdate"/>' : answer(body);
      response.writeHead(typeof what === "number" ? what : 200, { "Content-Type": "text/xml" });
      response.end(`<response protocol="3.0"><app appid="x" status="ok">${what}</app></response>`);
    });
  });
  server.on("connection", () => {
    connections += 1;
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  open.push(server);
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("it listens on no port");
  return { url: `http://127.0.0.1:${address.port}/v1/update/`, seen, connections: () => connections, server };
}

const aFleet = (server: Mock, options: Partial<FleetOptions> = {}) =>
  runFleet({ server: server.url, nodes: 60, version: OLD, speed: Number.POSITIVE_INFINITY, ...options });

describe("a fleet", () => {
  it("takes the update that it is offered, and ends when all have it", async () => {
    const server = await aServer();
    const report = await aFleet(server);
    expect(report).toMatchObject({
      end: "settled",
      settled: 60,
      target: NEW,
      onTarget: 60,
      byVersion: { [NEW]: 60 },
      byStatus: { updated: 60 },
      requests: { total: 300, checks: 120, pings: 0, events: 180 },
      answers: { update: 60, noupdate: 60, acknowledged: 180 },
    });
    expect(report.virtualMs).toBeGreaterThan(17 * 60_000);
    expect(report.virtualMs).toBeLessThan(40 * 60_000);
    expect(report.latencyMs.p99).toBeGreaterThan(0);
  });

  it("has no boot id twice, also when the same machines are simulated once more: they would be taken for clones", async () => {
    const server = await aServer();
    for (let run = 0; run < 2; run += 1) await aFleet(server, { nodes: 3 });
    const heard = server.seen.map(({ body }) => [
      /machineid="(\w+)"/.exec(body)?.[1],
      /bootid="([^"]+)"/.exec(body)?.[1],
    ]);
    expect(new Set(heard.map(([machine]) => machine)).size).toBe(3);
    // Before its update and after it, in each run.
    expect(new Set(heard.map(([, boot]) => boot)).size).toBe(3 * 2 * 2);
  });

  it("keeps to its connections, and sends what update_engine sends", async () => {
    const server = await aServer();
    await aFleet(server, { connections: 3 });
    expect(server.connections()).toBeLessThanOrEqual(3);
    expect(server.seen[0]?.headers).toMatchObject({ accept: "*/*", "content-type": "text/xml" });
    expect(server.seen[0]?.headers).not.toHaveProperty("user-agent");
    expect(server.seen[0]?.headers).not.toHaveProperty("accept-encoding");
    expect(server.seen[0]?.headers).not.toHaveProperty("transfer-encoding");
  });

  it("is the same again with the same seed, and another with another", async () => {
    const spoken = async (seed: string) => {
      const server = await aServer();
      await aFleet(server, { seed, rules: [parseRule("30%:10", "fails")] });
      // Its boots are new ones each time.
      return server.seen.map(({ body }) => body.replace(/ bootid="[^"]*"/, "")).sort();
    };
    const first = await spoken("a");
    expect(await spoken("a")).toEqual(first);
    expect(await spoken("b")).not.toEqual(first);
  });

  it("runs in real time, compressed", async () => {
    const report = await aFleet(await aServer(), { nodes: 20, speed: 6000 });
    expect(report).toMatchObject({ end: "settled", onTarget: 20 });
    expect(report.realMs).toBeGreaterThan(report.virtualMs / 6000 - 10);
  });

  it("settles when nodes that fail, die or fall back can get no further", async () => {
    const rules = [parseRule("100%:10,oem=azure", "fails"), parseRule("100%,oem=vmware", "dies")];
    const more = [parseRule("100%,oem=gce", "falls-back"), ...rules];
    const offered = new Set<string>();
    const server = await aServer((body) => {
      const id = /machineid="(\w+)"/.exec(body)?.[1] ?? "";
      if (offered.has(id)) return '<updatecheck status="noupdate"/>';
      offered.add(id);
      return ROOMY;
    });
    const report = await aFleet(server, { oems: ["azure", "vmware", "gce", ""], rules: more });
    expect(report).toMatchObject({
      end: "settled",
      onTarget: 15,
      byStatus: { failed: 15, silent: 15, "fell back": 15, updated: 15 },
    });
  });

  it("settles also when those are offered it again and again", async () => {
    const rules = [parseRule("50%:10", "fails"), parseRule("50%", "falls-back")];
    const report = await aFleet(await aServer(), { rules });
    expect(report).toMatchObject({ end: "settled", settled: 60, onTarget: 0 });
  });

  it("settles at once when there is no update", async () => {
    const report = await aFleet(await aServer(() => '<updatecheck status="noupdate"/>'));
    expect(report).toMatchObject({ end: "settled", target: null, onTarget: 0, byVersion: { [OLD]: 60 } });
    expect(report.requests.total).toBe(60);
  });

  it("waits for nodes that are held back", async () => {
    let checks = 0;
    const report = await aFleet(
      await aServer(() => {
        checks += 1;
        return checks % 2 === 0 ? ROOMY : '<updatecheck status="noupdate"/>';
      }),
    );
    expect(report).toMatchObject({ end: "settled", onTarget: 60 });
    expect(report.timeline.length).toBeGreaterThan(10);
    expect(report.timeline[0]).toMatchObject({ byVersion: { [OLD]: 60 } });
  });

  it("waits for a version that is not offered only until its time is over", async () => {
    const report = await aFleet(await aServer(() => '<updatecheck status="noupdate"/>'), {
      untilVersion: NEW,
      forMs: 3_600_000,
    });
    expect(report).toMatchObject({ end: "time over", target: NEW, settled: 0 });
    expect(report.virtualMs).toBeLessThanOrEqual(3_600_000);
  });

  it("names HTTP errors among the answers", async () => {
    const report = await aFleet(await aServer(() => 503), { forMs: 1_800_000 });
    expect(report.answers).toEqual({ "HTTP 503": 60, acknowledged: 60 });
    expect(report.end).toBe("time over");
  });

  it("ends early when it is told to, and says how far it came", async () => {
    const stop = new AbortController();
    const progress: Progress[] = [];
    const report = await aFleet(await aServer(), {
      speed: 1,
      signal: stop.signal,
      onProgress(what) {
        progress.push(what);
        stop.abort();
      },
    });
    expect(report).toMatchObject({ end: "interrupted", settled: 0, byVersion: { [OLD]: 60 } });
    expect(progress[0]).toMatchObject({ settled: 0, requests: 0, byStatus: { idle: 60 } });
  });

  it("ends when its real time is over", async () => {
    const report = await aFleet(await aServer(), { speed: 1, realLimitMs: 50 });
    expect(report.end).toBe("time over");
  });

  it("says that there is no server, rather than trying for hours", async () => {
    const server = await aServer();
    await new Promise((closed) => server.server.close(closed));
    await expect(aFleet(server)).rejects.toThrow(
      /no answer from http:\/\/127\.0\.0\.1:\d+\/v1\/update\/: .*ECONNREFUSED/,
    );
  });
});
