import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { aTurnout, type TestTurnout } from "../e2e/turnout.ts";
import { asking } from "./asking.ts";

let server: TestTurnout;
beforeAll(async () => {
  server = await aTurnout();
});
afterAll(() => server.close());

const { turnout, done } = asking(() => server.url);

describe("turnout upstreams", () => {
  it("does what the page on releases says", async () => {
    const page = readFileSync(resolve(import.meta.dirname, "../../docs/releases.md"), "utf8");
    const [, commands = ""] = /^```sh upstreams\n([\s\S]*?)^```$/m.exec(page) ?? [];
    const lines = commands.trim().split("\n");
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) {
      const [command, ...args] = line.split(" ");
      expect(command).toBe("turnout");
      expect(await done(...args)).toMatch(/^min-age +3d$/m);
    }
  });

  it("shows, changes, asks and removes one, by its channel", async () => {
    const stable = ["stable", "--arch", "amd64"];
    const shown = await done("upstreams", "show", ...stable);
    expect(shown).toMatch(/^channel +stable \(amd64\)\nkind +omaha\nurl +https:\S+\ntrack +stable\npolicy +follow\n/);
    expect(shown).toMatch(/^state +not asked yet$/m);
    const nowhere = ["--url", "http://127.0.0.1:9/", "--private-addresses", "on"];
    const pins = ["--version", "4152.2.0", "--version", "4230.2.1", "--min-age", "none"];
    const set = await done("upstreams", "set", ...stable, ...nowhere, ...pins);
    expect(set).toMatch(/^versions +4152\.2\.0, 4230\.2\.1$/m);
    expect(set).toMatch(/^min-age +-$/m);
    expect(await done("upstreams", "check", ...stable)).toMatch(/^it is being asked; turnout upstreams show stable/);
    await server.turnout.syncing.idle();
    expect(await done("upstreams", "list")).toMatch(
      /^CHANNEL +POLICY +LAST CHECK +STATE\nstable \(amd64\) +follow +2026-03-04 12:00 UTC +failed once: http:\/\/127\.0\.0\.1:9\/: nobody takes connections there \(ECONNREFUSED\)/,
    );
    expect(await done("status")).toMatch(/\nall is well\n$/);
    for (let more = 0; more < 2; more += 1) {
      await done("upstreams", "check", ...stable);
      await server.turnout.syncing.idle();
    }
    const status = await turnout("status");
    expect(status.code).toBe(3);
    expect(status.out).toMatch(
      /^! the upstream of stable \(amd64\): http:\/\/127\.0\.0\.1:9\/: nobody takes connections/m,
    );
    expect(JSON.parse(await done("upstreams", "list", "--json")).totalCount).toBe(1);
    const { code, err } = await turnout("upstreams", "show", "beta", "--arch", "amd64");
    expect([code, err]).toEqual([
      1,
      "turnout: there is no upstream of channel beta (amd64); there are: stable (amd64)\n",
    ]);
    expect((await turnout("upstreams", "set", ...stable, "--interval", "1 second")).err).toContain("interval: must be");
    expect(await done("upstreams", "remove", ...stable, "--yes")).toBe(
      "removed the upstream of channel stable (amd64)\n",
    );
    expect(await done("upstreams", "list")).toBe("no upstreams\n");
  });
});
