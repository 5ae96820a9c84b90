/** `turnout db`: the database itself, where it lies. What is done is handed in: no other command needs a database. */
import { Command } from "commander";
import type * as database from "../database.ts";
import { ApiError, acting, jsonOption } from "./api.ts";
import { EXIT } from "./exit-codes.ts";
import { facts, printJson, say, several, table } from "./terminal.ts";

/** Loads it when it is needed. */
export type LoadDatabase = () => Promise<typeof database>;

interface Json {
  readonly json?: true;
}

export function dbCommand(load: LoadDatabase): Command {
  const command = new Command("db").description("the database: backup, restore, check, migrate; no server is asked");
  const sub = (name: string, description: string) =>
    command.command(name).description(description).addOption(jsonOption("print the outcome as JSON"));
  sub("backup", "a consistent copy of the database, also while the server runs")
    .argument("<file>", "where to")
    .option("--force", "overwrite the file")
    .action(onDatabase(load, backup));
  sub("restore", "put a backup in the place of the database; not while a server runs")
    .argument("<file>", "the backup")
    .action(onDatabase(load, restore));
  sub("check", "whether the database is sound: pages, references, counters, audit log; also while the server runs")
    .argument("[file]", "a backup; the server's database when left out")
    .action(onDatabase(load, check));
  sub("migrate", "bring the database to this version's schema, as the server does when it starts")
    .option("--dry-run", "only list what would be done")
    .action(onDatabase(load, migrate));
  return command.addHelpText("after", HELP);
}

const HELP = `
The database is turnout.db in TURNOUT_DATA_DIR (./data), or where the settings
file says, as for the server.
`;

/** A command's action; what a person can mend is one line on stderr. */
function onDatabase<A extends unknown[]>(
  load: LoadDatabase,
  action: (db: typeof database, ...args: A) => Promise<void>,
) {
  return acting(async (...args: A) => {
    const db = await load();
    try {
      await action(db, ...args);
    } catch (error) {
      throw error instanceof db.DatabaseProblem ? new ApiError(error.message) : error;
    }
  });
}

async function backup(db: typeof database, file: string, options: Json & { readonly force?: true }): Promise<void> {
  const made = await db.backup(file, options.force === true);
  if (options.json) printJson(made);
  else say(`${made.file}: ${size(made.bytes)}, complete and checked`);
}

async function restore(db: typeof database, file: string, options: Json): Promise<void> {
  const done = await db.restore(file);
  if (options.json) return printJson(done);
  say(`restored ${done.database} from ${done.file}`);
  if (done.replaced !== null) say(`the database before is kept as ${done.replaced}`);
  if (done.pending.length > 0) {
    say(`the next start brings its schema up to date: ${several(done.pending.length, "migration")}`);
  }
}

async function check(db: typeof database, file: string | undefined, options: Json): Promise<void> {
  const found = await db.check(file ?? null);
  if (options.json) printJson(found);
  else process.stdout.write(described(found));
  if (!found.sound) process.exitCode = EXIT.unsound;
}

function described({
  database: path,
  schema,
  pending,
  integrity,
  dangling,
  counters,
  audit,
  sound,
}: database.Findings): string {
  const unseen = `not looked at: ${schema === null ? "the pages are damaged" : "the schema is an older one"}`;
  const behind = pending.length === 0 ? "" : `, ${several(pending.length, "migration")} behind`;
  const tables = Object.entries(dangling ?? {}).map(
    ([name, rows]) => `${several(rows, "row")} of ${name} pointing to nothing`,
  );
  const head = facts([
    ["database", path],
    ["schema", schema === null ? unseen : `${schema}${behind}`],
    ["pages", integrity.join("; ") || "sound"],
    ["references", dangling === null ? unseen : tables.join("; ") || "sound"],
    ["counters", counters === null ? unseen : counters.length === 0 ? "sound" : several(counters.length, "difference")],
    ["audit log", audit === null ? unseen : auditText(audit)],
    ["all in all", sound ? "sound" : "NOT SOUND"],
  ]);
  if (counters === null || counters.length === 0) return head;
  const rows = counters.map(({ id, what, kept, counted }) => [id, what, kept, counted]);
  return `${head}\n${table(["ROLLOUT OR GROUP", "COUNTER", "KEPT", "COUNTED"], rows)}`;
}

function auditText({ lines, head, broken }: NonNullable<database.Findings["audit"]>): string {
  return broken === null
    ? `${several(lines, "line")}, unbroken, head ${lines}:${head}`
    : `broken at line ${broken.no}: ${broken.why}`;
}

async function migrate(db: typeof database, options: Json & { readonly dryRun?: true }): Promise<void> {
  const dryRun = options.dryRun === true;
  const done = await db.migrateDatabase(dryRun);
  if (options.json) return printJson(done);
  for (const name of done.migrations) say(dryRun ? `would run ${name}` : `ran ${name}`);
  if (done.migrations.length === 0) say(`nothing to do: the schema is up to date (${done.schema})`);
}

function size(bytes: number): string {
  return bytes < 1 << 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}
