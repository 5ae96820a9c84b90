/** `turnout payloads`: what the files on the server take, and what may go. */
import { Command } from "commander";
import { archName } from "../fleet/document.ts";
import { Api, acting, jsonOption, type ServerOptions, serverOption } from "./api.ts";
import { counted, facts, printJson, say, table } from "./terminal.ts";

interface Usage {
  readonly bytes: number;
  readonly unreferenced_bytes: number;
  readonly corrupt_files: number;
  readonly refused_files: number;
  readonly files_to_check: number;
  readonly uploads: number;
  readonly upload_bytes: number;
  readonly free_bytes: number;
  readonly packages: readonly {
    readonly version: string;
    readonly arch: number;
    readonly files: number;
    readonly bytes: number;
  }[];
}

interface Collected {
  readonly bytes: number;
  readonly removed: readonly { readonly kind: string; readonly name: string; readonly bytes: number }[];
}

export function payloadsCommand(): Command {
  return new Command("payloads")
    .description("the files that the server keeps")
    .addCommand(
      new Command("usage")
        .description("what they take on the disk")
        .addOption(serverOption())
        .addOption(jsonOption())
        .action(acting(usage)),
    )
    .addCommand(
      new Command("gc")
        .description("remove what no package has any more, and uploads that nobody went on with for a week")
        .option("--dry-run", "only say what would be removed")
        .addOption(serverOption())
        .addOption(jsonOption())
        .action(acting(gc)),
    );
}

async function usage({ server, json }: ServerOptions): Promise<void> {
  const answer = await new Api(server).call<Usage>("GET", "/payloads");
  if (json) return printJson(answer);
  const rows = answer.packages.map((one) => [one.version, archName(one.arch), one.files, size(one.bytes)]);
  const { bytes, unreferenced_bytes: unreferenced, corrupt_files: corrupt } = answer;
  if (rows.length > 0) process.stdout.write(`${table(["VERSION", "ARCH", "FILES", "SIZE"], rows)}\n`);
  process.stdout.write(
    facts([
      ["in all", `${size(bytes)}; ${size(unreferenced)} of that are of no package`],
      ["uploads", `${answer.uploads} under way or abandoned, ${size(answer.upload_bytes)}`],
      ["corrupt", String(corrupt)],
      [
        "refused",
        `${answer.refused_files} not signed with the payload key; ${answer.files_to_check} still to be looked at`,
      ],
      ["free", size(answer.free_bytes)],
    ]),
  );
}

async function gc({ server, json, dryRun }: ServerOptions & { readonly dryRun?: true }): Promise<void> {
  const answer = await new Api(server).call<Collected>("POST", "/payloads/gc", { dry_run: dryRun === true });
  if (json) return printJson(answer);
  const rows = answer.removed.map(({ kind, name, bytes }) => [kind, name, size(bytes)]);
  if (rows.length > 0) process.stdout.write(`${table(["WHY", "FILE", "SIZE"], rows)}\n`);
  say(`${counted(answer.removed.length, "file")}, ${size(answer.bytes)}${dryRun ? " would go" : " removed"}`);
}

function size(bytes: number): string {
  if (bytes < 1_000_000) return `${bytes} B`;
  return bytes < 1_000_000_000 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}
