import { expect, it } from "vitest";
import { Api } from "../../src/cli/api.ts";
import { moveChannels } from "../../src/cli/import-channels.ts";
import { afterwards } from "../afterwards.ts";
import { aTurnout, FLATCAR, STABLE_CHANNEL } from "../e2e/turnout.ts";

const CHANNEL = `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`;

it.each([
  ["to the same release, is there", "4230.2.1", { from: "4230.2.1", state: "there" }],
  ["to another one, is moved from there", "4152.2.0", { from: "4152.2.0", state: "moved" }],
  ["to a newer one, stays there", "4459.2.0", { from: "4459.2.0", state: "newer" }],
])("a channel that somebody else moves meanwhile %s", async (_, version, moved) => {
  const server = await aTurnout();
  afterwards(() => server.close());
  const id = await server.release("4230.2.1");
  const others = version === "4230.2.1" ? id : await server.release(version);
  await server.release("4081.2.0");
  let isMoved = false;
  class Late extends Api {
    override async seen<T>(path: string) {
      const seen = await super.seen<T>(path);
      if (!isMoved) await server.api("PUT", CHANNEL, { ...(await server.api("GET", CHANNEL)), package_id: others });
      isMoved = true;
      return seen;
    }
  }
  const plan = { name: "stable", arch: "amd64", version: "4230.2.1", floors: [] };
  const packages = [{ id, version: "4230.2.1", arch: "amd64" }];
  expect(await moveChannels(new Late(server.url), `/apps/${FLATCAR}`, packages, [plan], { move: true })).toEqual([
    { name: "stable", arch: "amd64", to: "4230.2.1", ...moved },
  ]);
});
