import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { placesOf } from "../../src/cli/completion-places.ts";
import { EXIT_CODES } from "../../src/cli/exit-codes.ts";
import { programOf } from "../../src/cli/turnout.ts";
import { aProcess, checks, postOmaha, type TurnoutProcess } from "../e2e/turnout.ts";
import { caught, parts } from "./caught.ts";
import { ran } from "./ran.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "turnout-program-"));
const servers: TurnoutProcess[] = [];
afterAll(async () => {
  for (const { child, ended } of servers) {
    child.kill("SIGKILL");
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

async function aServer(dataDir: string): Promise<TurnoutProcess> {
  const server = await aProcess(dataDir);
  servers.push(server);
  return server;
}

describe("the turnout command", () => {
  it("describes every command, and takes --json wherever something is answered", async () => {
    const places = placesOf(programOf(parts), "turnout");
    expect(places.length).toBeGreaterThan(50);
    const withoutJson: string[] = [];
    for (const { path, commands } of places) {
      const { code, out, err } = await caught([...path.split(" ").slice(1), "--help"]);
      expect([code, err], path).toEqual([0, ""]);
      const [usage, description = ""] = out.split("\n\n");
      expect(usage, path).toContain(`Usage: ${path}`);
      expect(description, path).not.toMatch(/^(Options|Arguments|Commands|$)/);
      for (const line of out.split("\n")) expect(line.length, `${path}: ${line}`).toBeLessThanOrEqual(125);
      if (commands.length === 0 && !out.includes("--json")) withoutJson.push(path);
    }
    expect(withoutJson.sort()).toEqual(["turnout audit export", "turnout completion", "turnout serve"]);
  });

  it("says what its exit codes mean, in its help and in the documents alike", async () => {
    const { out } = await caught(["--help"]);
    const document = readFileSync(join(ROOT, "docs/command-line.md"), "utf8");
    for (const [code, meaning] of EXIT_CODES) {
      expect(out).toContain(`\n  ${code}  ${meaning}\n`);
      expect(document).toContain(`| ${code} | ${meaning} |`);
    }
  });

  it.each([
    [["grups"], "turnout: unknown command 'grups' (Did you mean groups?); there are: status, nodes, "],
    [
      ["groups", "lst"],
      "turnout: unknown command 'lst' (Did you mean list?); there are: list, show, create, set, resume-updates, delete",
    ],
    [
      ["groups", "list", "--jsn"],
      "turnout: unknown option '--jsn' (Did you mean --json?) (see turnout groups list --help)",
    ],
    [["groups", "show"], "turnout: missing required argument 'group' (see turnout groups show --help)"],
    [
      ["status", "now"],
      "turnout: too many arguments for 'status'. Expected 0 arguments but got 1. (see turnout status --help)",
    ],
  ])("says in one line what is wrong with %j, and exits with 2", async (args, message) => {
    const { code, out, err } = await caught(args);
    expect([code, out]).toEqual([2, ""]);
    expect(err.startsWith(message), err).toBe(true);
    expect(err).toMatch(/^[^\n]+\n$/);
  });

  it("tells its version", async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    expect(await caught(["--version"])).toEqual({ code: 0, out: `${version}\n`, err: "" });
  });

  it("ends quietly when nobody reads on, as head does", () => {
    const { stdout, stderr } = spawnSync("bash", ["-c", `set -o pipefail; ${process.execPath} bin/turnout completion fish | head -1; sleep 0`], { cwd: ROOT, encoding: "utf8" }); // biome-ignore format: one line
    expect([stdout.split("\n").length, stderr]).toEqual([2, ""]);
  });

  it.skipIf(spawnSync("script", ["--version"]).status !== 0)(
    "asks before it deletes, where there is somebody to ask",
    async () => {
      const server = await aServer(join(folder, "asking"));
      const answering = async (answer: string): Promise<string> => {
        // `script` makes a terminal.
        const command = `${process.execPath} bin/turnout groups delete "Edge (ARM)"`;
        const child = spawn("script", ["-qec", command, "/dev/null"], {
          cwd: ROOT,
          env: { ...process.env, TURNOUT_SERVER: server.url },
        });
        let output = "";
        const asked = new Promise<void>((done) => {
          child.stdout.on("data", (chunk: Buffer) => {
            output += chunk;
            if (output.includes("[y/N]")) done();
          });
        });
        await asked;
        child.stdin.write(`${answer}\n`);
        await new Promise((done) => child.once("exit", done));
        return output;
      };
      expect(await answering("n")).toMatch(/Delete group "Edge \(ARM\)"\? \[y\/N\].*n\s+turnout: nothing was changed/s);
      expect(await answering("\u0004")).toMatch(/\[y\/N\].*turnout: nothing was changed/s);
      expect(await answering("y")).toMatch(/deleted group "Edge \(ARM\)"/);
    },
  );
});

describe("turnout db", () => {
  const dataDir = join(folder, "data");
  const db = (...args: string[]) => caught(["db", ...args], { environment: { TURNOUT_DATA_DIR: dataDir } });
  const file = join(folder, "backup.db");

  it("backs up, checks, restores and migrates, in words and in JSON, as a process beside the server's", async () => {
    const server = await aServer(dataDir);
    await postOmaha(server.url, checks());
    const environment = { TURNOUT_DATA_DIR: dataDir };
    const made = await ran(["db", "backup", file], environment);
    expect(made).toEqual({
      code: 0,
      out: expect.stringMatching(/^\S+backup\.db: \d+ KiB, complete and checked\n$/),
      err: "",
    });
    expect(await ran(["db", "restore", file], environment)).toMatchObject({ code: 1, out: "", err: expect.stringMatching(/^turnout: \S+data is in use: [^\n]+\n$/) }); // biome-ignore format: one line
    server.child.kill("SIGKILL");
    await server.ended;

    expect(await db("backup", file)).toMatchObject({
      code: 1,
      err: `turnout: ${file} is there already; --force overwrites it\n`,
    });
    expect(JSON.parse((await db("backup", file, "--force", "--json")).out)).toMatchObject({
      file,
      database: join(dataDir, "turnout.db"),
    });
    const checked = await db("check", file);
    expect([checked.code, checked.out]).toEqual([0, expect.stringMatching(/^pages +sound\nreferences +sound\ncounters +sound\naudit log +\d+ lines, unbroken, head \d+:[\da-f]+\nall in all +sound\n$/m)]); // biome-ignore format: one line
    expect((await db("restore", file)).out).toBe(
      `restored ${dataDir}/turnout.db from ${file}\nthe database before is kept as ${dataDir}/turnout.db.before-restore\n`,
    );
    expect(JSON.parse((await db("restore", file, "--json")).out).replaced).toMatch(/before-restore-2$/);
    expect((await db("migrate")).out).toMatch(/^nothing to do: the schema is up to date \(\d+\)\n$/);
    expect(JSON.parse((await db("migrate", "--dry-run", "--json")).out).migrations).toEqual([]);
    const nowhere = await caught(["db", "check"], { environment: { TURNOUT_DATA_DIR: join(folder, "nowhere") } });
    expect([nowhere.code, nowhere.err]).toEqual([1, expect.stringMatching(/^turnout: there is no database [^\n]+\n$/)]);
    const unset = await caught(["db", "check"], { environment: { TURNOUT_PORT: "http", TURNOUT_HOST: "" } });
    expect([unset.code, unset.err]).toEqual([1, "turnout: TURNOUT_PORT: must be a whole number\n"]);
  });

  it("exits with 6 when the check finds something, and says what", async () => {
    const { default: Database } = await import("better-sqlite3");
    const broken = new Database(file);
    broken.exec(
      "UPDATE group_counters SET in_flight = 5; DELETE FROM seen; PRAGMA foreign_keys = OFF; DELETE FROM applications",
    );
    broken.close();
    const { code, out } = await db("check", file);
    expect(code).toBe(6);
    expect(out).toMatch(/^references +\d+ rows of \w+ pointing to nothing; /m);
    expect(out).toMatch(/^all in all +NOT SOUND$/m);
    const json = await db("check", file, "--json");
    expect([json.code, JSON.parse(json.out).sound]).toEqual([6, false]);
  });
});
