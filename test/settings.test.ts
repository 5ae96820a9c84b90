import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readSettings } from "../src/settings.ts";

function aFile(text: string): string {
  const file = join(mkdtempSync(join(tmpdir(), "turnout-settings-")), "turnout.yaml");
  writeFileSync(file, text);
  return file;
}

describe("settings", () => {
  it("have a default each", () => {
    expect(readSettings({})).toMatchObject({
      host: "127.0.0.1",
      port: 8000,
      auth: "token",
      pollIntervalSeconds: null,
      newNodesPerMinute: 0,
      historyDays: 90,
      forgetSeenOnceDays: 7,
      webhookPrivateTargets: false,
      mirrors: "everyone",
    });
  });

  it("come from the file, and from the environment before it", () => {
    const TURNOUT_CONFIG = aFile("TURNOUT_PORT: 9000\nTURNOUT_POLL_INTERVAL: 90 minutes\nTURNOUT_TRUST_PROXY: 1\n");
    expect(readSettings({ TURNOUT_CONFIG })).toMatchObject({ port: 9000, pollIntervalSeconds: 5400, trustProxy: 1 });
    expect(readSettings({ TURNOUT_CONFIG, TURNOUT_PORT: "0" }).port).toBe(0);
  });

  it("say who may mirror: everyone, nobody, or networks", () => {
    const mirrors = (text: string) => readSettings({ TURNOUT_MIRRORS: text }).mirrors;
    expect([mirrors("everyone"), mirrors("nobody")]).toEqual(["everyone", "nobody"]);
    expect(mirrors("10.0.0.0/8, 2001:db8::/32,192.0.2.7")).toEqual([
      { address: "10.0.0.0", prefix: 8 },
      { address: "2001:db8::", prefix: 32 },
      { address: "192.0.2.7", prefix: 32 },
    ]);
  });

  const wrong: [Record<string, string>, RegExp][] = [
    [{ TURNOUT_PORT: "http" }, /TURNOUT_PORT: must be a whole number/],
    [{ TURNOUT_PORT: "70000" }, /between 0 and 65535/],
    [{ TURNOUT_PROT: "1" }, /TURNOUT_PROT: there is no such setting/],
    [{ TURNOUT_AUTH: "maybe" }, /TURNOUT_AUTH/],
    [{ TURNOUT_AUTH: "none", TURNOUT_HOST: "0.0.0.0" }, /TURNOUT_AUTH=none is refused/],
    [{ TURNOUT_DATABASE_URL: "postgres://x" }, /PostgreSQL comes with a later version/],
    [{ TURNOUT_POLL_INTERVAL: "15 minuts" }, /"15 minuts" is not an interval; write e\.g\./],
    [{ TURNOUT_POLL_INTERVAL: "1d" }, /TURNOUT_POLL_INTERVAL: must be between 1 second and 4 hours/],
    [{ TURNOUT_OMAHA_SECRET: "a/b" }, /TURNOUT_OMAHA_SECRET/],
    [{ TURNOUT_MIRRORS: "10.0.0.0/33" }, /TURNOUT_MIRRORS: "10\.0\.0\.0\/33" is no network; write "everyone"/],
    [{ TURNOUT_MIRRORS: "10.0.0.0/8, all" }, /TURNOUT_MIRRORS: "all" is no network; write/],
    [{ TURNOUT_MIRRORS: "updates.example.org" }, /is no network/],
    [{ TURNOUT_MIRRORS: "," }, /TURNOUT_MIRRORS: "," is no network/],
    [{ TURNOUT_CONFIG: "/nowhere/turnout.yaml" }, /there is no file/],
    [{ TURNOUT_CONFIG: aFile("- a\n- b") }, /must be a map/],
    [{ TURNOUT_CONFIG: aFile("a: [") }, /is not YAML/],
  ];
  it.each(wrong)("that are wrong are named: %j", (environment, message) => {
    expect(() => readSettings(environment)).toThrow(message);
  });

  it("allow an open API elsewhere only when that is said twice", () => {
    const open = { TURNOUT_AUTH: "none", TURNOUT_HOST: "0.0.0.0", TURNOUT_AUTH_NONE_ANYWHERE: "yes" };
    expect(readSettings(open).auth).toBe("none");
  });
});
