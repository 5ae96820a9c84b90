/** `turnout audit`: who changed what, and whether anybody has tampered with that. */
import { createWriteStream, renameSync, rmSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Link } from "../audit-chain.ts";
import { Api, ApiError, acting, jsonOption, type ServerOptions, serverOption } from "./api.ts";
import { type AuditEntry, type Verdict, verifyFile } from "./audit-file.ts";
import { EXIT } from "./exit-codes.ts";
import { positive, wholeNumber } from "./fields.ts";
import { moment } from "./moments.ts";
import { appPath, groupAnywhere, groupArchOption, idOf } from "./naming.ts";
import { printJson, shortTime, table } from "./terminal.ts";

interface ListOptions extends ServerOptions {
  readonly actor?: string;
  readonly action?: string;
  readonly subject?: string;
  readonly subjectId?: string;
  readonly app?: string;
  readonly group?: string;
  readonly arch?: number;
  readonly since?: string;
  readonly until?: string;
  readonly limit: number;
}

export function auditCommand(): Command {
  const command = new Command("audit").description("who changed what, and whether anybody has tampered with that");
  command
    .command("list")
    .description("the newest changes")
    .option("--actor <name>", "only by this one")
    .option("--action <operation>", "only this, e.g. updateGroup")
    .option("--subject <kind>", "only of this kind, e.g. group")
    .option("--subject-id <id>", "only of this one")
    .option("--app <app>", "only in this application: its id, product id or name")
    .option("--group <group>", "only of this group: its id, name or track")
    .addOption(groupArchOption())
    .addOption(new Option("--since <when>", "e.g. 2h, or 2026-03-04T12:00:00Z").argParser(moment("ago")))
    .addOption(new Option("--until <when>", "likewise").argParser(moment("ago")))
    .option("--limit <n>", "at most so many", positive, 50)
    .addOption(serverOption())
    .addOption(jsonOption())
    .action(acting(list));
  command
    .command("export")
    .description("the whole log, the oldest line first, as lines of JSON")
    .option("--after <no>", "only what came after this line", wholeNumber, 0)
    .option("-o, --output <file>", "where to; to the standard output when left out")
    .addOption(serverOption())
    .action(acting(exportLog));
  command
    .command("verify")
    .description("whether a line was altered or taken away")
    .option("-f, --file <file>", "check what was exported, here, without a server; - reads the standard input")
    .addOption(
      new Option("--head <no:hash>", "also whether this line, noted earlier, is still the same").argParser(readLink),
    )
    .addOption(serverOption())
    .addOption(jsonOption())
    .addHelpText("after", VERIFY_HELP)
    .action(acting(verify));
  return command;
}

const VERIFY_HELP = `
Each line's hash covers the line before. Keep the head that is printed elsewhere:
with --head, even a log that was rewritten as a whole is found out.
Exit code ${EXIT.unsound}: it is not as it was written.
`;

/** @throws InvalidArgumentError */
function readLink(text: string): Link {
  const [, no, hash] = /^(\d{1,15}):([\da-f]{64})$/.exec(text) ?? [];
  if (no === undefined || hash === undefined) throw new InvalidArgumentError("Write it as it was printed: NO:HASH.");
  return { no: Number(no), hash };
}

async function list(options: ListOptions): Promise<void> {
  const api = new Api(options.server);
  const { limit } = options;
  const query = Object.entries({
    actor: options.actor,
    action: options.action,
    subject: options.subject,
    subjectID: options.subjectId,
    appID: options.app === undefined ? undefined : idOf(await appPath(api, options.app)),
    groupID: options.group === undefined ? undefined : (await groupAnywhere(api, options.group, options)).id,
    start: options.since,
    end: options.until,
  }).flatMap(([name, value]) => (value === undefined ? [] : [`&${name}=${encodeURIComponent(value)}`]));
  const entries: AuditEntry[] = [];
  let totalCount = 0;
  for (let page = 1; ; page += 1) {
    const perPage = Math.min(limit, 1_000);
    const path = `/audit?page=${page}&perpage=${perPage}${query.join("")}`;
    const answer = await api.call<{ totalCount: number; entries: readonly AuditEntry[] }>("GET", path);
    totalCount = answer.totalCount;
    entries.push(...answer.entries);
    if (entries.length >= limit || answer.entries.length < perPage) break;
  }
  const shown = entries.slice(0, limit);
  if (options.json) return printJson({ totalCount, count: shown.length, entries: shown });
  const rows = shown.map((entry) => [
    entry.no,
    shortTime(entry.created_ts),
    entry.actor,
    entry.action,
    `${entry.subject} ${nameOf(entry)}`,
    changed(entry),
  ]);
  process.stdout.write(table(["NO", "WHEN", "WHO", "ACTION", "WHAT", "CHANGED"], rows));
}

/** What people call it, where that is told. */
function nameOf({ before, after, subject_id: id }: AuditEntry): string {
  const name = after?.name ?? before?.name ?? after?.version ?? before?.version;
  return typeof name === "string" ? `"${name}"` : id;
}

function changed({ before, after }: AuditEntry): string {
  if (before === null) return "made";
  if (after === null) return "gone";
  const differs = (field: string) => JSON.stringify(before[field]) !== JSON.stringify(after[field]);
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(differs).join(", ");
}

interface ExportOptions {
  readonly server: string;
  readonly after: number;
  readonly output?: string;
}

async function exportLog({ server, after, output }: ExportOptions): Promise<void> {
  const lines = Readable.from(exported(new Api(server), after));
  if (output === undefined) return pipeline(lines, process.stdout, { end: false });
  // Whole, or not there.
  const partial = `${output}.partial`;
  try {
    await pipeline(lines, createWriteStream(partial, { flush: true }));
    renameSync(partial, output);
  } catch (error) {
    rmSync(partial, { force: true });
    if (error instanceof Error && "syscall" in error) throw new ApiError(error.message);
    throw error;
  }
}

/** Portions of the log, as lines of JSON. */
async function* exported(api: Api, from: number): AsyncGenerator<string> {
  for (let after = from; ; ) {
    const path = `/audit?after=${after}&perpage=1000`;
    const { entries } = await api.call<{ entries: readonly AuditEntry[] }>("GET", path);
    const last = entries.at(-1);
    if (last === undefined) return;
    yield entries.map((entry) => `${JSON.stringify(entry)}\n`).join("");
    after = last.no;
  }
}

interface VerifyOptions extends ServerOptions {
  readonly file?: string;
  readonly head?: Link;
}

async function verify({ server, file, head, json }: VerifyOptions): Promise<void> {
  const verdict = file === undefined ? await verifyOnServer(new Api(server), head) : await verifyFile(file, head);
  if (json) printJson(verdict);
  else process.stdout.write(described(verdict));
  if (verdict.broken !== null) process.exitCode = EXIT.unsound;
}

async function verifyOnServer(api: Api, head: Link | undefined): Promise<Verdict> {
  const verdict = await api.call<Verdict>("GET", "/audit/verify");
  if (verdict.broken !== null || head === undefined) return verdict;
  const { entries } = await api.call<{ entries: readonly AuditEntry[] }>(
    "GET",
    `/audit?after=${head.no - 1}&perpage=1`,
  );
  const line = entries.find(({ no }) => no === head.no);
  if (line?.hash === head.hash) return verdict;
  const why =
    line === undefined ? "the line that was noted is not there any more" : "the line is another one than was noted";
  return { ...verdict, broken: { no: head.no, why } };
}

function described({ first, lines, head, broken }: Verdict): string {
  if (broken !== null) return `broken at line ${broken.no}: ${broken.why}\n`;
  const which = first === undefined ? `${lines} lines` : `lines ${first} to ${lines} (${first} is taken as it is)`;
  return `${which}, unbroken\nhead ${lines}:${head}\n`;
}
