/**
 * The load: connections that each have one request under way, in a process of its own. Requests are prebuilt but for the
 * few bytes that differ, answers are read only for their length and status, so that it is far faster than any server.
 *
 * Arguments: one JSON text, `LoadOptions`. Prints one line of JSON, `LoadResult`.
 */
import { connect, type Socket } from "node:net";

export interface LoadOptions {
  readonly url: string;
  readonly connections: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** Known nodes, picked at random. */
  readonly nodes: number;
  readonly version: string;
  /**
   * `steady`: a heartbeat of a node that is up to date. `durable`: each request must be on disk before it is answered: a node
   * reports the beginning of a download, which is logged.
   */
  readonly mix: "steady" | "durable";
  /** Requests a second in all; null: as many as are answered. */
  readonly rate: number | null;
  /** Random numbers repeat with it. */
  readonly seed: number;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly requests: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** The id of the n-th node of a filled database. */
export function machineId(n: number): string {
  // Spread over the whole range, as real ids are: neighbours in time are no neighbours in an index.
  return ((BigInt(n) * 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn).toString(16).padStart(16, "0").repeat(2);
}

function template({ url, version, mix }: LoadOptions): { head: string; tail: string } {
  const children =
    mix === "steady"
      ? '        <ping active="1"></ping>\n        <updatecheck></updatecheck>\n        <event eventtype="3" eventresult="2" previousversion=""></event>\n'
      : '        <event eventtype="13" eventresult="1"></event>\n';
  const before = `<?xml version="1.0" encoding="UTF-8"?>
<request protocol="3.0" version="update_engine-0.4.10" updaterversion="update_engine-0.4.10" installsource="scheduler" ismachine="1">
    <os version="Chateau" platform="CoreOS" sp="${version}_x86_64"></os>
    <app appid="{e96281a6-d1af-4bde-9a0a-97b76e56dc57}" version="${version}" track="stable" bootid="{3f0c7a52-91de-4c3b-8a46-0b6f1d2e7c95}" oem="azure" oemversion="${version}" alephversion="4081.2.0" machineid="`;
  const after = `" machinealias="" lang="en-US" board="amd64-usr" hardware_class="" delta_okay="false" >
${children}    </app>
</request>
`;
  const length = before.length + 32 + after.length;
  const { host } = new URL(url);
  const http = `POST /v1/update/ HTTP/1.1\r\nHost: ${host}\r\nAccept: */*\r\nContent-Type: text/xml\r\nContent-Length: ${length}\r\n\r\n`;
  return { head: http + before, tail: after };
}

function run(options: LoadOptions): Promise<LoadResult> {
  const { hostname, port } = new URL(options.url);
  const { head, tail } = template(options);
  let random = options.seed >>> 0 || 1;
  const next = (): number => {
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    return (random >>> 0) % options.nodes;
  };
  const latencies: number[] = [];
  let failed = 0;
  let measuring = false;
  let done = false;
  const idle: Connection[] = [];

  class Connection {
    readonly #socket: Socket;
    #received = "";
    #startedAt = 0;

    constructor() {
      this.#socket = connect(Number(port), hostname);
      this.#socket.setNoDelay(true);
      this.#socket.setEncoding("latin1");
      this.#socket.on("data", (chunk: string) => this.#read(chunk));
      this.#socket.on("error", () => {
        failed += 1;
      });
    }

    send(dueAt: number = performance.now()): void {
      this.#startedAt = dueAt;
      this.#socket.write(head + machineId(next()) + tail, "latin1");
    }

    #read(chunk: string): void {
      this.#received += chunk;
      const end = this.#received.indexOf("\r\n\r\n");
      if (end === -1) return;
      const length = Number(/content-length: (\d+)/i.exec(this.#received)?.[1] ?? 0);
      if (this.#received.length < end + 4 + length) return;
      const ok = this.#received.startsWith("HTTP/1.1 200");
      this.#received = "";
      if (measuring) {
        if (ok) latencies.push(performance.now() - this.#startedAt);
        else failed += 1;
      }
      if (done) this.#socket.destroy();
      else if (options.rate === null) this.send();
      else idle.push(this);
    }
  }

  return new Promise((resolve) => {
    const connections = Array.from({ length: options.connections }, () => new Connection());
    if (options.rate === null) for (const connection of connections) connection.send();
    else pace(options.rate, connections);

    /** Open loop: a request that finds no connection free is late, and its lateness counts. */
    function pace(rate: number, all: Connection[]): void {
      idle.push(...all);
      let dueAt = performance.now();
      const timer = setInterval(() => {
        if (done) clearInterval(timer);
        for (const now = performance.now(); dueAt <= now && idle.length > 0; dueAt += 1000 / rate)
          idle.pop()?.send(dueAt);
      }, 1);
    }

    setTimeout(() => {
      measuring = true;
      const startedAt = performance.now();
      setTimeout(() => {
        measuring = false;
        done = true;
        const seconds = (performance.now() - startedAt) / 1000;
        latencies.sort((a, b) => a - b);
        const at = (share: number) => Math.round((latencies[Math.floor(latencies.length * share)] ?? 0) * 1000) / 1000;
        resolve({
          perSecond: Math.round(latencies.length / seconds),
          requests: latencies.length,
          failed,
          p50Ms: at(0.5),
          p99Ms: at(0.99),
          maxMs: at(0.999999),
        });
      }, options.seconds * 1000);
    }, options.warmUpSeconds * 1000);
  });
}

if (process.argv[1] === import.meta.filename) {
  const result = await run(JSON.parse(process.argv[2] ?? "{}") as LoadOptions); // our own orchestrator wrote it
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exit(0);
}
