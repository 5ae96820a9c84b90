/** Servers that are killed (-9) while they bring a release of the bare layout in: what has come is gone on from. */
import { closeSync, openSync, readdirSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as soon } from "node:timers/promises";
import Database from "better-sqlite3";
import { expect, it } from "vitest";
import { aFolder, afterwards } from "../afterwards.ts";
import { aProcess, apiClient, FLATCAR, STABLE_CHANNEL } from "../e2e/turnout.ts";
import { aPayload, sha256 } from "../payloads/build.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { BareLayout, served } from "./bare-layout.ts";
import { aServer, Follower, fileStates, MAIN, OEM, packagesOf } from "./world.ts";

const VERSION = "4230.2.1";

/** A process that has the upstream, and has been told to check it. */
async function checking(dataDir: string, url: string, environment: Record<string, string> = {}) {
  const { url: server, child, ended } = await aProcess(dataDir, { TURNOUT_DISK_RESERVE: "0", ...environment });
  afterwards(() => child.kill("SIGKILL"));
  const api = apiClient(server);
  const { upstreams } = await api<{ upstreams: { id: string }[] }>("GET", `/apps/${FLATCAR}/upstreams`);
  const made = { kind: "plain", url, track: "stable", channel_id: STABLE_CHANNEL, policy: "follow" };
  const { id } =
    upstreams[0] ??
    (await api<{ id: string }>("POST", `/apps/${FLATCAR}/upstreams`, { ...made, private_addresses: true }));
  await api("POST", `/apps/${FLATCAR}/upstreams/${id}/check`);
  return {
    id,
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** As if the lease of whoever was killed had ended by now. */
function endLease(dataDir: string): void {
  const db = new Database(join(dataDir, "turnout.db"));
  db.exec("UPDATE upstreams SET lease_until = 0");
  db.close();
}

/** What has come of a file so far. */
function partial(dataDir: string): { path: string; bytes: number } {
  const folder = join(dataDir, "payloads", "uploads");
  const [name] = readdirSync(folder);
  if (name === undefined) return { path: "", bytes: 0 };
  return { path: join(folder, name), bytes: statSync(join(folder, name)).size };
}

async function whenever(condition: () => boolean): Promise<void> {
  while (!condition()) await soon();
}

async function finished(dataDir: string, id: string, environment: Record<string, string> = {}): Promise<Follower> {
  endLease(dataDir);
  const site = new Follower(await aServer(environment, { dataDir, clock: new VirtualClock(Date.now()) }), id);
  expect(await site.check()).toMatchObject({ last_error: null, moved_to: VERSION });
  const { [VERSION]: here } = await packagesOf(site.server);
  expect(await fileStates(site.server, here?.id)).toEqual({ [MAIN]: "hosted", [OEM]: "hosted" });
  return site;
}

it("a download from a web server survives three kills, and a tail that never came to disk", async () => {
  const layout = new BareLayout();
  layout.release(VERSION);
  const web = await served(layout);
  const content = readFileSync(layout.path(VERSION, MAIN));
  web.instead.set(`${VERSION}/${MAIN}`, (request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const range = from === 0 ? {} : { "Content-Range": `bytes ${from}-${content.length - 1}/${content.length}` };
    response.writeHead(from === 0 ? 200 : 206, { "Content-Length": content.length - from, ...range });
    if (request.method === "HEAD") response.end();
    else response.write(content.subarray(from, from + 50_000)); // and no more
  });
  const dataDir = aFolder();
  let id = "";
  for (const bytes of [50_000, 100_000, 150_000]) {
    const server = await checking(dataDir, web.url);
    id = server.id;
    await whenever(() => partial(dataDir).bytes === bytes);
    await server.kill();
    endLease(dataDir);
  }
  // What a power cut may leave: the right length, and zeros where nothing was written.
  const torn = openSync(partial(dataDir).path, "r+");
  writeSync(torn, Buffer.alloc(10_000), 0, 10_000, 140_000);
  closeSync(torn);

  web.instead.clear();
  await finished(dataDir, id);
  const asked = web.asked.filter((one) => one.startsWith(`GET ${VERSION}/${MAIN}`) && !one.includes(".gz."));
  const range = (from: number) => `GET ${VERSION}/${MAIN} bytes=${from}-`;
  const whole = `GET ${VERSION}/${MAIN}`;
  expect(asked).toEqual([whole, range(50_000), range(100_000), range(150_000), whole]);
});

it("a copy from a directory survives a kill: only the rest is copied", async () => {
  const layout = new BareLayout();
  layout.release(VERSION);
  // What has no signatures may have anything behind its manifest.
  const content = Buffer.concat([aPayload("large", 4), Buffer.alloc(200 * 2 ** 20, 7)]);
  layout.write(VERSION, MAIN, content);
  layout.write(VERSION, `${MAIN}.sha256`, `${sha256(content).toString("hex")}  ${MAIN}\n`);
  const allowed = { TURNOUT_SYNC_DIRS: layout.folder };
  const dataDir = aFolder();
  const server = await checking(dataDir, layout.url, allowed);
  await whenever(() => partial(dataDir).bytes > 10 * 2 ** 20);
  await server.kill();
  const { bytes: here } = partial(dataDir);
  expect(here).toBeLessThan(content.length);

  const site = await finished(dataDir, server.id, allowed);
  const metrics = await (await fetch(`${site.server.url}/metrics`)).text();
  const oem = statSync(layout.path(VERSION, OEM)).size;
  expect(metrics).toContain(`turnout_upstream_bytes_total ${content.length - here + oem}\n`);
});
