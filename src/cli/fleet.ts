/** `turnout plan`, `apply`, `export`: the fleet as a file. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { styleText } from "node:util";
import { Command } from "commander";
import { parse, stringify } from "yaml";
import { Api, ApiError, acting, jsonOption, serverOption } from "./api.ts";
import { confirm, NOBODY_TO_ASK, yesOption } from "./confirm.ts";
import { EXIT } from "./exit-codes.ts";
import { note, printJson, say } from "./terminal.ts";

interface Change {
  readonly action: "add" | "change" | "remove";
  readonly subject: string;
  readonly name: string;
  readonly application: string;
  readonly fields: readonly { readonly field: string; readonly before: unknown; readonly after: unknown }[];
}
interface Plan {
  readonly changes: readonly Change[];
  readonly plan: string;
  readonly warnings: readonly string[];
}
interface FileOptions {
  readonly server: string;
  readonly json?: true;
  readonly file: string;
  readonly prune?: true;
}

export function planCommand(): Command {
  return ofFile("plan", "what applying a file would change")
    .option("--exit-code", `exit with ${EXIT.changes} when there are changes`)
    .action(acting(plan));
}

export function applyCommand(): Command {
  return ofFile("apply", "make a file true, in one transaction; asks first")
    .addOption(yesOption())
    .action(acting(apply));
}

export function exportCommand(): Command {
  return new Command("export")
    .description("the present fleet as such a file")
    .option("-o, --output <file>", "where to; to the terminal when left out")
    .addOption(serverOption())
    .addOption(jsonOption())
    .action(acting(exportFleet));
}

function ofFile(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .requiredOption("-f, --file <file>", "the fleet as YAML or JSON; - reads it from the standard input")
    .option("--prune", "remove what the file does not name, of each kind that it lists")
    .addOption(serverOption())
    .addOption(jsonOption());
}

async function plan(options: FileOptions & { readonly exitCode?: true }): Promise<void> {
  const answer = await planned(new Api(options.server), options);
  if (options.json) printJson(answer);
  else process.stdout.write(described(answer.changes));
  if (!options.json) for (const warning of answer.warnings) note(warning);
  if (options.exitCode && answer.changes.length > 0) process.exitCode = EXIT.changes;
}

async function apply(options: FileOptions & { readonly yes?: true }): Promise<void> {
  const api = new Api(options.server);
  const { changes, plan: expected, warnings } = await planned(api, options);
  if (!options.json) process.stdout.write(described(changes));
  if (!options.json) for (const warning of warnings) note(warning);
  if (changes.length > 0 && options.yes !== true) {
    if (options.file === "-") throw new ApiError(NOBODY_TO_ASK);
    await confirm("Apply this?");
  }
  // What was shown is what is done, or nothing: the server refuses if the fleet has moved meanwhile.
  const body = { fleet: readFleet(options.file), prune: options.prune === true, plan: expected };
  const answer =
    changes.length === 0 ? { changes, plan: expected, warnings } : await api.call<Plan>("POST", "/fleet/apply", body);
  if (options.json) printJson(answer);
  else if (changes.length > 0) say("applied");
}

function planned(api: Api, { file, prune }: FileOptions): Promise<Plan> {
  return api.call<Plan>("POST", "/fleet/plan", { fleet: readFleet(file), prune: prune === true });
}

async function exportFleet(options: { server: string; json?: true; output?: string }): Promise<void> {
  const fleet = await new Api(options.server).call<unknown>("GET", "/fleet");
  const text = options.json ? `${JSON.stringify(fleet, null, 2)}\n` : stringify(fleet, { lineWidth: 120 });
  if (options.output === undefined) process.stdout.write(text);
  else writeFileSync(options.output, text);
}

/** @throws ApiError */
function readFleet(file: string): unknown {
  if (file !== "-" && !existsSync(file)) throw new ApiError(`there is no file ${file}`);
  try {
    standardInput ??= file === "-" ? readFileSync(0, "utf8") : null;
    return parse(standardInput ?? readFileSync(file, "utf8"));
  } catch (error) {
    throw new ApiError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
/** It can be read only once. */
let standardInput: string | null = null;

const SIGNS = { add: ["+", "green"], change: ["~", "yellow"], remove: ["-", "red"] } as const;

function described(changes: readonly Change[]): string {
  if (changes.length === 0) return "the fleet is as the file says\n";
  const lines: string[] = [];
  let application = "";
  for (const change of changes) {
    if (change.application !== application) lines.push(change.application);
    application = change.application;
    const [sign, color] = SIGNS[change.action];
    lines.push(`  ${styleText(color, `${sign} ${change.subject} ${change.name}`, { stream: process.stdout })}`);
    if (change.action !== "remove") lines.push(...fieldLines(change));
  }
  const count = (action: Change["action"]) => changes.filter((one) => one.action === action).length;
  lines.push("", `${count("add")} to add, ${count("change")} to change, ${count("remove")} to remove`);
  return `${lines.join("\n")}\n`;
}

function fieldLines({ action, fields }: Change): string[] {
  const shown = action === "add" ? fields.filter(({ after }) => after !== null && after !== "") : fields;
  return shown.map(({ field, before, after }) =>
    action === "add" ? `      ${field}: ${brief(after)}` : `      ${field}: ${brief(before)} → ${brief(after)}`,
  );
}

const LONGEST = 100;

function brief(value: unknown): string {
  if (value === null) return "none";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}
