import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { aTurnout, FLATCAR, STABLE_GROUP, type TestTurnout } from "../e2e/turnout.ts";
import { caught } from "./caught.ts";

const ADMIN = "a-token-of-the-tests-0001";
const folder = mkdtempSync(join(tmpdir(), "turnout-access-"));
let server: TestTurnout;
beforeAll(async () => {
  server = await aTurnout({ TURNOUT_AUTH: "token", TURNOUT_ADMIN_TOKEN: ADMIN });
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const turnout = (args: readonly string[], token = ADMIN) =>
  caught(args, { environment: { TURNOUT_SERVER: server.url, TURNOUT_TOKEN: token } });
async function done(...args: string[]): Promise<string> {
  const { code, out, err } = await turnout(args);
  expect([code, err], args.join(" ")).toEqual([0, ""]);
  return out;
}

describe("turnout token", () => {
  it("makes a token for some groups and a time, alone on the standard output, which can do that and no more", async () => {
    const args = [
      "token",
      "create",
      "ci",
      "--role",
      "operator",
      "--group",
      "Stable (AMD64)",
      "beta",
      "--expires",
      "90d",
    ];
    expect((await turnout(args)).err).toContain('several groups have the track "beta"');
    args.splice(7, 1, "Beta (AMD64)");
    const made = await turnout(args);
    expect(made.code).toBe(0);
    expect(made.out).toMatch(/^turnout_[\w-]{43}\n$/);
    expect(made.err).toMatch(
      /^token "ci": operator for 2 groups until \d{4}-\d\d-\d\d \d\d:\d\d UTC; it is not shown again\n$/,
    );
    const token = made.out.trim();
    expect((await turnout(["status"], token)).out).toMatch(/^you +token "ci", operator, changes 2 groups$/m);
    const denied = await turnout(["groups", "set", "Stable (AMD64)", "--safe-mode", "on"], token);
    expect([denied.code, denied.err]).toEqual([1, expect.stringContaining("updateGroup needs the role admin")]);

    expect(await done("token", "list")).toMatch(/^ci +operator +2 groups +active +\d{4}-\d\d-\d\d \d\d:\d\d UTC +/m);
    expect((await turnout(["token", "revoke", "ic"])).err).toBe(
      'turnout: there is no token "ic"; there are: "ci", "admin"\n',
    );
    expect(await done("token", "revoke", "ci")).toBe('token "ci" is revoked\n');
    const gone = await turnout(["status"], token);
    expect([gone.code, gone.err]).toEqual([1, `turnout: ${server.url} wants a valid token: set TURNOUT_TOKEN\n`]);
    expect((await turnout(["token", "revoke", "admin"])).err).toContain("the last token that may do everything");
  });

  it("takes applications by name, and a moment for its end", async () => {
    const args = [
      "token",
      "create",
      "reader",
      "--role",
      "viewer",
      "--app",
      "flatcar container linux",
      "--expires",
      "2030-01-01T00:00:00Z",
    ];
    const made = JSON.parse(await done(...args, "--json"));
    expect(made).toMatchObject({ applications: [FLATCAR], groups: null, expires_ts: "2030-01-01T00:00:00.000Z" });
    expect(JSON.parse(await done("token", "list", "--json")).tokens[0]).toMatchObject({ name: "reader" });
    expect(JSON.parse(await done("token", "revoke", made.id, "--json"))).toMatchObject({ state: "revoked" });
    const wrong = await turnout(["token", "create", "x", "--role", "viewer", "--expires", "soon"]);
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("Write a time from now, e.g. 90d")]);
  });
});

describe("turnout token for a site", () => {
  it("is the site's, for its applications; without the site's name there is none", async () => {
    const create = (...more: string[]) => turnout(["token", "create", "site berlin", "--role", "site", ...more]);
    expect((await create()).err).toContain("site: must be the site's name");
    const { out, err } = await create("--site", "berlin", "--app", "Flatcar Container Linux");
    expect(out).toMatch(/^turnout_[\w-]{43}\n$/);
    expect(err).toBe('token "site berlin": site for berlin, 1 application; it is not shown again\n');
    const ask = (site: string) =>
      fetch(`${server.url}/api/sites/${site}/fleet`, { headers: { Authorization: `Bearer ${out.trim()}` } });
    expect([(await ask("berlin")).status, (await ask("paris")).status]).toEqual([200, 403]);
    expect(await done("token", "list")).toMatch(/^site berlin +site +berlin, 1 application +active +- +/m);
    await done("token", "revoke", "site berlin");
  });
});

describe("turnout audit", () => {
  it("lists who changed what, and finds it by person, kind, application, group and time", async () => {
    await done("groups", "set", STABLE_GROUP, "--description", "for production", "--safe-mode", "on");
    const line =
      /^ *\d+ +\d{4}-\d\d-\d\d \d\d:\d\d UTC +admin +updateGroup +group "Stable \(AMD64\)" +description, policy_safe_mode$/m;
    expect(await done("audit", "list")).toMatch(line);
    const found = async (...args: string[]) => JSON.parse(await done("audit", "list", "--json", ...args));
    const ours = await found("--actor", "admin", "--group", "Stable (AMD64)", "--app", "Flatcar Container Linux");
    expect(ours).toMatchObject({
      totalCount: 1,
      count: 1,
      entries: [{ action: "updateGroup", before: { policy_safe_mode: false } }],
    });
    expect((await found("--subject", "group", "--subject-id", STABLE_GROUP)).count).toBe(2);
    expect((await found("--action", "createToken", "--limit", "1")).entries).toHaveLength(1);
    expect((await found("--until", "2000-01-01T00:00:00Z")).totalCount).toBe(0);
    expect((await found("--since", "2000-01-01T00:00:00Z")).totalCount).toBeGreaterThan(20);
  });

  it("exports the log, which is checked here without a server, from its beginning or from a later line on", async () => {
    const file = join(folder, "audit.jsonl");
    await done("audit", "export", "--output", file);
    expect(existsSync(`${file}.partial`)).toBe(false);
    const text = readFileSync(file, "utf8");
    expect(await done("audit", "export")).toBe(text);
    const lines = text.trimEnd().split("\n");
    const [number, head] = /^head (\d+):([\da-f]{64})$/m.exec(await done("audit", "verify"))?.slice(1) ?? [];
    expect(lines).toHaveLength(Number(number));
    const whole = await caught(["audit", "verify", "--file", file, "--server", "http://127.0.0.1:9"]);
    expect(whole).toEqual({ code: 0, err: "", out: `${number} lines, unbroken\nhead ${number}:${head}\n` });

    const later = join(folder, "later.jsonl");
    await done("audit", "export", "--after", "10", "-o", later);
    expect(await done("audit", "verify", "-f", later)).toBe(
      `lines 11 to ${number} (11 is taken as it is), unbroken\nhead ${number}:${head}\n`,
    );
    expect(JSON.parse(await done("audit", "verify", "-f", file, "--json"))).toEqual({
      lines: Number(number),
      head,
      broken: null,
    });
    // As other tools write it: with spaces, and characters spelled out.
    writeFileSync(later, lines.map((line) => line.replaceAll('":', '" : ').replaceAll("&", "\\u0026")).join("\r\n"));
    expect(await done("audit", "verify", "-f", later)).toContain("unbroken");
  });

  it("finds any change to an exported line, any that is gone, doubled or put in another place", async () => {
    const file = join(folder, "broken.jsonl");
    const lines = (await done("audit", "export")).trimEnd().split("\n");
    const broken = async (changed: readonly string[]): Promise<string> => {
      writeFileSync(file, `${changed.join("\n")}\n`);
      const { code, out, err } = await turnout(["audit", "verify", "-f", file]);
      expect([code, err]).toEqual([6, ""]);
      return out;
    };
    const at = lines.findIndex((line) => line.includes("updateGroup"));
    const line = lines[at] ?? "";
    for (const [from, to] of [
      ['"admin"', '"nobody"'],
      ["for production", "for everybody"],
      ['"policy_safe_mode":true', '"policy_safe_mode":false'],
      ["127.0.0.1", "127.0.0.2"],
      [':00.000Z"', ':01.000Z"'],
    ] as const) {
      const changed = line.replace(from, to);
      expect(changed).not.toBe(line);
      expect(await broken(lines.with(at, changed))).toBe(
        `broken at line ${at + 1}: the line, or its place, is not as it was written\n`,
      );
    }
    expect(await broken(lines.toSpliced(3, 2))).toBe("broken at line 4: lines are missing here, up to 6\n");
    expect(await broken(lines.toSpliced(3, 0, lines[3] ?? ""))).toBe("broken at line 4: the line comes after line 4\n");
    expect(await broken(lines.with(3, lines[4] ?? "").with(4, lines[3] ?? ""))).toContain("broken at line 4: ");
    for (const [text, why] of [
      ["no json", "is not JSON"],
      ['{"no":1}', "is no line of the audit log"],
    ] as const) {
      // biome-ignore format: one line
      writeFileSync(file, `${lines[0]}\n${text}\n`);
      expect(await turnout(["audit", "verify", "-f", file])).toMatchObject({
        code: 1,
        err: `turnout: ${file}: line 2 ${why}\n`,
      });
    }
    expect((await turnout(["audit", "verify", "-f", join(folder, "nix")])).err).toContain("there is no file");
  });

  it("holds the log against a line that was noted earlier, on the server and in a file", async () => {
    const noted = /head (\d+:[\da-f]{64})/.exec(await done("audit", "verify"))?.[1] ?? "";
    await done("groups", "set", STABLE_GROUP, "--safe-mode", "off");
    const file = join(folder, "noted.jsonl");
    await done("audit", "export", "-o", file);
    const [number] = noted.split(":");
    for (const where of [[], ["-f", file]]) {
      expect(await done("audit", "verify", ...where, "--head", noted)).toContain("unbroken");
      const other = await turnout(["audit", "verify", ...where, "--head", `${number}:${"0".repeat(64)}`]);
      expect(other).toMatchObject({
        code: 6,
        out: `broken at line ${number}: the line is another one than was noted\n`,
      });
      const gone = await turnout(["audit", "verify", ...where, "--head", `9999:${"0".repeat(64)}`, "--json"]);
      expect([gone.code, JSON.parse(gone.out).broken.no]).toEqual([6, 9999]);
    }
    expect((await turnout(["audit", "verify", "--head", "12"])).code).toBe(2);
  });

  it("finds out a log that was altered, shortened or added to in the database", async () => {
    const copy = join(folder, "copy.db");
    const columns = "at, actor_kind, actor, actor_id, address, request_id, action, subject, subject_id, hash";
    for (const [tampering, place] of [
      ["UPDATE audit SET after = '{}' WHERE no = 7", "broken at line 7: "],
      ["DELETE FROM audit WHERE no = 7", "broken at line 7: "],
      ["DELETE FROM audit WHERE no = (SELECT max(no) FROM audit)", "1 lines are missing at the end"],
      ["DELETE FROM audit", "lines are missing at the end"],
      [
        `INSERT INTO audit (${columns}) SELECT ${columns} FROM audit WHERE no = 7`,
        "the line, or its place, is not as it was written",
      ],
      [`INSERT INTO audit (no, ${columns}) SELECT 0, ${columns} FROM audit WHERE no = 7`, "broken at line 0: "],
      [`INSERT INTO audit (no, ${columns}) SELECT -9, ${columns} FROM audit WHERE no = 7`, "broken at line -9: "],
    ] as const) {
      rmSync(copy, { force: true });
      new Database(join(server.dataDir, "turnout.db")).exec(`VACUUM INTO '${copy}'`).close();
      const db = new Database(copy);
      db.exec(`DROP TRIGGER audit_is_not_altered; DROP TRIGGER audit_is_not_shortened; ${tampering}`);
      db.close();
      const { code, out } = await turnout(["db", "check", copy]);
      expect([code, out], tampering).toEqual([6, expect.stringContaining(place)]);
    }
    const db = new Database(join(server.dataDir, "turnout.db"));
    db.exec("DROP TRIGGER audit_is_not_altered; UPDATE audit SET actor = 'nobody' WHERE no = 2");
    db.close();
    const { code, out } = await turnout(["audit", "verify"]);
    expect([code, out]).toEqual([6, "broken at line 2: the line, or its place, is not as it was written\n"]);
  });
});
