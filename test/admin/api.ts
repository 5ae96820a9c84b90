/** The admin API on a real database, for supertest. */
import { dirname, join } from "node:path";
import type { Duplex } from "node:stream";
import express from "express";
import supertest from "supertest";
import { ANONYMOUS } from "../../src/admin/auth/principal.ts";
import { bearerAuthentication, firstToken } from "../../src/admin/auth/tokens.ts";
import { editor, SYNC } from "../../src/admin/editor.ts";
import { adminRouter } from "../../src/admin/router.ts";
import { Payloads } from "../../src/payloads/payloads.ts";
import { openSyncing } from "../../src/sync/open.ts";
import { aDatabase, type InProcess, NOW } from "../store/in-process.ts";
import { VirtualClock } from "../virtual-clock.ts";

export const FLATCAR = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";
export const STABLE = "e06064ad-4414-4904-9a6e-fd465593d1b2";
export const STABLE_ARM = "5dfe7b12-c94a-470d-a2b6-2eae78c5c9f5";
export const GROUP = "9a2deb70-37be-4026-853f-bfdd6b347bbe";
export const NOWHERE = "00000000-0000-4000-8000-000000000000";

export interface Api {
  readonly world: InProcess;
  readonly clock: VirtualClock;
  readonly http: ReturnType<typeof supertest>;
  readonly faults: unknown[];
  /** The addresses that they came from. */
  readonly failedLogins: string[];
  readonly token: string;
  get(path: string): supertest.Test;
  post(path: string, body: unknown): supertest.Test;
  put(path: string, body: unknown): supertest.Test;
  del(path: string): supertest.Test;
  /** Makes a package; its id. */
  aPackage(version: string, changes?: Record<string, unknown>): Promise<string>;
  point(channel: string, packageId: string | null): Promise<void>;
  close(): void;
}

export async function anApi({ auth = "none" as "none" | "token" } = {}): Promise<Api> {
  const world = await aDatabase();
  const clock = new VirtualClock(NOW);
  const faults: unknown[] = [];
  const token = (await firstToken(world.store, NOW)) ?? "";
  const authenticate = auth === "none" ? async () => ANONYMOUS : bearerAuthentication(world.store, clock);
  const app = express();
  const failedLogins: string[] = [];
  const payloads = await Payloads.open({ folder: join(dirname(world.path), "payloads"), reserve: 0 });
  const syncing = openSyncing({
    store: world.store,
    clock,
    payloads,
    editor: editor(world.store, clock, SYNC),
    version: "0.0.0",
    proxy: null,
    mirrorKeys: [],
    syncDirs: [],
    onChecked() {},
    onBytes() {},
    onError: (error) => faults.push(error),
  });
  const options = {
    store: world.store,
    clock,
    payloads,
    syncing,
    syncDirs: [],
    uploading: new WeakSet<Duplex>(),
    uploadStallMs: 60_000,
    version: "0.0.0",
    authenticate,
    privateTargets: false,
    downloads: { token: null, login: null, downloads: 0, downloadRate: null },
    onFault: (error: unknown) => faults.push(error),
    onFailedLogin: (address: string) => failedLogins.push(address),
  };
  app.use("/api", adminRouter(options));
  const http = supertest(app);
  const post = (path: string, body: unknown) => http.post(`/api${path}`).send(body as object);
  const put = (path: string, body: unknown) => http.put(`/api${path}`).send(body as object);
  return {
    world,
    clock,
    http,
    faults,
    failedLogins,
    token,
    get: (path) => http.get(`/api${path}`),
    post,
    put,
    del: (path) => http.delete(`/api${path}`),
    async aPackage(version, changes = {}) {
      const { body } = await post(`/apps/${FLATCAR}/packages`, packageBody(version, changes)).expect(200);
      return String(body.id);
    },
    async point(channel, packageId) {
      const { body } = await http.get(`/api/apps/${FLATCAR}/channels/${channel}`).expect(200);
      await put(`/apps/${FLATCAR}/channels/${channel}`, { ...body, package_id: packageId }).expect(200);
    },
    close: () => world.close(),
  };
}

export const packageBody = (version: string, changes: Record<string, unknown> = {}) => ({
  application_id: FLATCAR,
  type: 1,
  arch: 1,
  version,
  url: `https://update.release.flatcar-linux.net/amd64-usr/${version}/`,
  filename: "flatcar_production_update.gz",
  description: `Flatcar ${version}`,
  size: "465881871",
  hash: "r3nufcxgMTZaxYEqL+x2zIoeClk=",
  flatcar_action: { sha256: "LIkAKVZY2EJFiwTmltiJZLFLA5xT/FodbjVgqkyF/y8=" },
  channels_blacklist: [],
  ...changes,
});

export const groupBody = (changes: Record<string, unknown> = {}) => ({
  name: "Lab",
  policy_timezone: "Europe/Berlin",
  policy_period_interval: "15 minutes",
  policy_max_updates_per_period: 10,
  policy_update_timeout: "60 minutes",
  ...changes,
});
