import { readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, it, onTestFinished } from "vitest";
import { aFolder, afterwards } from "../afterwards.ts";
import { canHaveSmallDisks, smallDisk } from "./small-disk.ts";
import { aTurnout, checks, NODE_ID, reports, type TestTurnout } from "./turnout.ts";

async function running(
  environment: Record<string, string> = {},
  options: Parameters<typeof aTurnout>[1] = {},
): Promise<TestTurnout> {
  const server = await aTurnout(environment, options);
  afterwards(() => server.close());
  return server;
}

const machine = (n: number) => n.toString(16).padStart(32, "0");
const rawPost = (url: string, body: string | Uint8Array<ArrayBuffer>) =>
  fetch(`${url}/v1/update/`, { method: "POST", headers: { "Content-Type": "text/xml" }, body });

describe("bad input", () => {
  it("is refused with one line, stores nothing, and leaves the server alive", async () => {
    const server = await running();
    const bomb = `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>${checks()}`;
    const many = `<request protocol="3.0">${'<app appid="x"></app>'.repeat(2500)}</request>`;
    const refused: [string | Uint8Array<ArrayBuffer>, number][] = [
      ["", 400],
      ["not xml", 400],
      ["<request", 400],
      [bomb, 400],
      [many, 400],
      [`<request protocol="3.0">${"<a>".repeat(5000)}${"</a>".repeat(5000)}</request>`, 400],
      [checks().replace("stable", "sta\0ble"), 400],
      [new Uint8Array(Buffer.from(checks(), "utf16le")), 400],
      [checks().replace('protocol="3.0"', 'protocol="2.0"'), 400],
      ["x".repeat(64 * 1024 + 1), 413],
      [JSON.stringify({ request: { protocol: "3.1" } }), 400],
    ];
    for (const [body, status] of refused) {
      const response = await rawPost(server.url, body);
      const text = await response.text();
      expect(response.status, text).toBe(status);
      expect(response.headers.get("content-type")).toContain("text/plain");
      expect(text.trim().split("\n")).toHaveLength(1);
    }
    const counts = await server.turnout.store.read.selectFrom("nodes").select("no").execute();
    expect(counts).toEqual([]);
    expect(await (await fetch(`${server.url}/health`)).text()).toBe("OK");
  });
});

describe("an address that has slashes too many", () => {
  const asked = async (url: string, path: string) =>
    (await fetch(`${url}${path}`, { method: "POST", body: checks() })).status;

  it("is the one that was meant: of the update path, with a secret, too, and of the API", async () => {
    const server = await running();
    for (const path of [
      "/v1/update",
      "/v1/update/",
      "//v1/update/",
      "/v1/update//",
      "///v1//update///",
      "//v1/update?x=//",
    ])
      expect(await asked(server.url, path), path).toBe(200);
    for (const path of ["//v1/updates/", "/v1/update//x", "/v1//", "//"])
      expect(await asked(server.url, path), path).toBe(404);
    expect((await fetch(`${server.url}//api/apps`)).status).toBe(200);
    // What has no name in its path is not what is left without it.
    expect((await fetch(`${server.url}/api/apps//groups`)).status).toBe(404);

    const hidden = await running({ TURNOUT_OMAHA_SECRET: "s3cret" });
    for (const path of ["//v1/update/s3cret", "/v1/update//s3cret//"])
      expect(await asked(hidden.url, path), path).toBe(200);
    for (const path of ["//v1/update/", "/v1/update//guess"]) expect(await asked(hidden.url, path), path).toBe(404);
  });
});

describe("a slow client", () => {
  it("keeps nobody waiting and is cut off", async () => {
    const server = await running({}, { timeouts: { headersMs: 400, requestMs: 600 } });
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    const closed = new Promise<void>((done) => socket.once("close", () => done()));
    socket.on("error", () => {});
    socket.resume();
    socket.write("POST /v1/update/ HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n<");
    expect(await server.omaha(checks())).toContain("noupdate");
    await closed; // would hang, and fail, if it were not cut off
  });
});

describe("a database that can't be written", () => {
  it("locked: 503 with Retry-After, nothing half-written, and it recovers by itself", async () => {
    const dataDir = aFolder();
    const server = await running({}, { dataDir });
    await server.release("4230.2.1");
    const other = new Database(join(dataDir, "turnout.db"));
    other.exec("BEGIN IMMEDIATE");
    const response = await rawPost(server.url, checks());
    expect(response.status).toBe(503);
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await (await fetch(`${server.url}/health`)).text()).toBe("OK");
    other.exec("ROLLBACK");
    other.close();
    expect(await server.turnout.store.read.selectFrom("nodes").select("no").execute()).toEqual([]);
    expect(await server.omaha(checks())).toContain("4230.2.1");
  });

  it.skipIf(!canHaveSmallDisks)(
    "full: 503 with Retry-After, nothing half-written, and it recovers by itself",
    async () => {
      const disk = smallDisk(3);
      onTestFinished(() => disk.remove());
      // As many are to be granted as the disk takes, not ten.
      const server = await running({ TURNOUT_DEFAULT_STRATEGY: "none" }, { dataDir: disk.dataDir });
      await server.release("4230.2.1");
      disk.fill();
      const statuses: number[] = [];
      const acknowledged: number[] = [];
      for (let n = 0; n < 400 && !statuses.includes(503); n += 1) {
        const response = await rawPost(server.url, checks({ machineId: machine(n) }));
        statuses.push(response.status);
        if (response.ok) acknowledged.push(n);
        else expect(response.headers.get("retry-after")).not.toBeNull();
      }
      expect(statuses).toContain(503);
      expect(await (await fetch(`${server.url}/health`)).text()).toBe("OK");
      disk.empty();
      expect(await server.omaha(checks({ machineId: machine(5000) }))).toContain("4230.2.1");
      const rows = await server.turnout.store.read.selectFrom("nodes").select("id").execute();
      expect(rows.map(({ id }) => id).sort()).toEqual([...acknowledged.map(machine), machine(5000)].sort());
      const rollouts = await server.turnout.store.read.selectFrom("rollout_counters").select("granted").execute();
      expect(rollouts).toEqual([{ granted: acknowledged.length + 1 }]);
    },
  );
});

describe("a clock set back by an hour", () => {
  it("loses no grant and doubles no quota", async () => {
    const server = await running();
    await server.setPolicy({ policy_max_updates_per_period: 3, policy_period_interval: "30 minutes" });
    await server.release("4230.2.1");
    const offers = async (from: number, count: number) => {
      let offered = 0;
      for (let n = from; n < from + count; n += 1) {
        if ((await server.omaha(checks({ machineId: machine(n) }))).includes("<manifest")) offered += 1;
      }
      return offered;
    };
    expect(await offers(0, 5)).toBe(3);
    server.clock.move({ hours: -1 });
    await server.turnout.housekeeping.expireDeadlines();
    expect(await offers(10, 5)).toBe(0);
    expect(await server.omaha(checks({ machineId: machine(0) }))).toContain("<manifest");
    server.clock.move({ minutes: 31 });
    for (let n = 0; n < 3; n += 1) await server.omaha(checks({ machineId: machine(n), version: "4230.2.1" }));
    expect(await offers(20, 5)).toBe(3); // a period later, long before the clock has caught up
  });
});

describe("a flood of invented machine ids", () => {
  it("is answered but not stored beyond the limit; known nodes are not affected", async () => {
    const server = await running({ TURNOUT_NEW_NODES_PER_MINUTE: "5" });
    await server.release("4230.2.1");
    await server.omaha(checks());
    const answers = [];
    for (let n = 0; n < 20; n += 1) answers.push(await server.omaha(checks({ machineId: machine(n) })));
    expect(answers.filter((answer) => answer.includes("<manifest")).length).toBe(4);
    expect(await server.turnout.store.read.selectFrom("nodes").select("no").execute()).toHaveLength(5);
    expect(await server.omaha(checks({ machineId: NODE_ID }))).toContain("<manifest");
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toContain('turnout_checkins_total{outcome="noupdate",reason="too-many-new-nodes"} 16');
    server.clock.move({ minutes: 1, seconds: 1 });
    expect(await server.omaha(checks({ machineId: machine(30) }))).toContain("<manifest");
  });

  it("leaves metric labels bounded, and nodes seen once are forgotten", async () => {
    const server = await running();
    for (let n = 0; n < 60; n += 1) await server.omaha(checks({ machineId: machine(n), version: `1000.0.${n}` }));
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics.split("\n").filter((line) => line.startsWith("turnout_nodes{")).length).toBeLessThanOrEqual(21);
    server.clock.move({ days: 1 });
    await server.omaha(checks({ machineId: machine(1) }));
    server.clock.move({ days: 6, hours: 1 });
    await server.turnout.housekeeping.flushSeen();
    await server.turnout.housekeeping.deleteOldRows();
    const left = await server.turnout.store.read.selectFrom("nodes").select("id").execute();
    expect(left).toEqual([{ id: machine(1) }]);
  });
});

describe("retention", () => {
  it("deletes old events, history and activity, and the file does not grow for ever", async () => {
    const dataDir = aFolder();
    const server = await running({ TURNOUT_HISTORY_DAYS: "30" }, { dataDir });
    await server.release("4230.2.1");
    const path = join(dataDir, "turnout.db");
    const month = async () => {
      await Promise.all(Array.from({ length: 300 }, (_, n) => server.omaha(reports(13, 1, { machineId: machine(n) }))));
      server.clock.move({ days: 31 });
      await server.turnout.housekeeping.deleteOldRows();
    };
    await month();
    expect(await server.turnout.store.read.selectFrom("events").select("no").execute()).toEqual([]);
    const pages = () => new Database(path, { readonly: true }).pragma("page_count", { simple: true }) as number;
    await month();
    const before = pages();
    for (let i = 0; i < 4; i += 1) await month();
    expect(pages()).toBeLessThanOrEqual(before + 2);
    expect(statSync(path).size).toBeGreaterThan(0);
    expect(readFileSync(path).subarray(0, 6).toString()).toBe("SQLite");
  });
});

describe("a node behind a proxy", () => {
  const from = (server: TestTurnout, machineId: string, forwarded: string) =>
    fetch(`${server.url}/v1/update/`, { method: "POST", headers: { "X-Forwarded-For": forwarded }, body: checks({ machineId }) }); // biome-ignore format: one line
  const addressOf = async (server: TestTurnout, id: string) =>
    (await server.turnout.store.read.selectFrom("nodes").select("ip").where("id", "=", id).executeTakeFirst())?.ip;

  it("has one address whatever port the proxy names with it, for the limits, too", async () => {
    const server = await running({ TURNOUT_TRUST_PROXY: "loopback, 10.0.0.0/8", TURNOUT_NEW_NODES_PER_MINUTE: "1" });
    await from(server, machine(1), "198.51.100.5:5000");
    await from(server, machine(2), "198.51.100.5:5001");
    await from(server, machine(3), "[2001:db8::7]:4711");
    await from(server, machine(4), "[2001:DB8::7]:4712, 10.0.0.9:80");
    expect(await addressOf(server, machine(1))).toBe("198.51.100.5");
    expect(await addressOf(server, machine(2))).toBeUndefined();
    expect(await addressOf(server, machine(3))).toBe("2001:db8::7");
    expect(await addressOf(server, machine(4))).toBeUndefined();
  });

  it("has the address of the proxy that says no address of it", async () => {
    const server = await running({ TURNOUT_TRUST_PROXY: "loopback, 10.0.0.0/8" });
    for (const [n, [forwarded, address]] of [
      ["unknown", "127.0.0.1"],
      ["unknown, 10.0.0.9", "10.0.0.9"],
      ["198.51.100.5, unknown", "127.0.0.1"],
      ["", "127.0.0.1"],
    ].entries()) {
      await from(server, machine(n), forwarded ?? "");
      expect(await addressOf(server, machine(n)), forwarded).toBe(address);
    }
  });

  it("counts with all its ports as one address where passwords are guessed, and in the audit log", async () => {
    const server = await running({
      TURNOUT_TRUST_PROXY: "1",
      TURNOUT_AUTH: "token",
      TURNOUT_ADMIN_TOKEN: "x".repeat(16),
    });
    const asks = async (token: string, forwarded: string) => {
      const headers = {
        Authorization: `Bearer ${token}`,
        "X-Forwarded-For": forwarded,
        "Content-Type": "application/json",
      };
      const body = JSON.stringify({ name: `app of ${forwarded}` });
      return (await fetch(`${server.url}/api/apps`, { method: "POST", headers, body })).status;
    };
    expect(await asks("x".repeat(16), "203.0.113.9:1")).toBe(200);
    const [line] = await server.turnout.store.read.selectFrom("audit").select("address").where("action", "=", "createApplication").execute(); // biome-ignore format: one line
    expect(line).toEqual({ address: "203.0.113.9" });
    const statuses = [];
    for (let port = 1; port <= 31; port += 1) statuses.push(await asks("guess", `203.0.113.9:${port}`));
    expect(statuses.at(-1)).toBe(429);
  });
});
