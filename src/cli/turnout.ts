/** The `turnout` command. One file a subcommand. */
import { Command, CommanderError } from "commander";
import { VERSION } from "../version.ts";
import { appsCommand } from "./apps.ts";
import { auditCommand } from "./audit.ts";
import { channelsCommand } from "./channels.ts";
import { completionCommand } from "./completion.ts";
import { countersCommand } from "./counters.ts";
import { dbCommand, type LoadDatabase } from "./db.ts";
import { EXIT, EXIT_CODES } from "./exit-codes.ts";
import { explainCommand } from "./explain.ts";
import { applyCommand, exportCommand, planCommand } from "./fleet.ts";
import { fleetSimCommand } from "./fleet-sim.ts";
import { groupsCommand } from "./groups.ts";
import { nodesCommand } from "./nodes.ts";
import { packagesCommand } from "./packages.ts";
import { payloadsCommand } from "./payloads.ts";
import { rolloutsCommand } from "./rollouts.ts";
import { simulateCommand } from "./simulate.ts";
import { statusCommand } from "./status.ts";
import { tokenCommand } from "./token.ts";
import { upstreamsCommand } from "./upstreams.ts";

/** Handed in: they wire everything, and the other subcommands need none of it. */
export interface Parts {
  /** Runs the server. */
  readonly serve: () => Promise<void>;
  readonly database: LoadDatabase;
}

/** Does what the arguments say; the outcome is in `process.exitCode`. */
export async function turnout(argv: readonly string[], parts: Parts): Promise<void> {
  const program = programOf(parts);
  everyCommand(program, plainly);
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) process.exitCode = EXIT.usage;
  }
}

/** The whole tree of commands. */
export function programOf({ serve, database }: Parts): Command {
  const program = new Command("turnout")
    .description("Update server for Flatcar Container Linux fleets")
    .version(VERSION)
    // Subcommands have a --version of their own.
    .enablePositionalOptions();
  const add = (heading: string, ...commands: readonly Command[]) => {
    for (const command of commands) program.addCommand(command.helpGroup(heading));
  };
  const serving = new Command("serve")
    .description("run the server; settings come from the environment and config/turnout.yaml")
    .action(serve);
  add("How it stands:", statusCommand(), nodesCommand(), explainCommand());
  add(
    "What is updated, and how:",
    appsCommand(),
    packagesCommand(),
    payloadsCommand(),
    channelsCommand(),
    upstreamsCommand(),
    groupsCommand(),
  );
  add("Rollouts:", rolloutsCommand(), simulateCommand());
  add("The fleet as a file:", planCommand(), applyCommand(), exportCommand());
  add("The server:", serving, tokenCommand(), auditCommand(), dbCommand(database), countersCommand());
  add("Other:", fleetSimCommand(), completionCommand(program));
  program.addHelpCommand(
    new Command("help").argument("[command]").description("how a command is used").helpGroup("Other:"),
  );
  return program.addHelpText("after", HELP);
}

const HELP = `
Commands ask the server at TURNOUT_SERVER (or --server), with the token in
TURNOUT_TOKEN; with --json they print what scripts read. To set things up:

  turnout apps create Lab --clone-from "Flatcar Container Linux"
  turnout groups create Canary --track canary --channel beta --arch amd64
  turnout token create ci --role operator --group Canary --expires 90d
  turnout packages create 4230.2.1 --arch amd64 …    (see its --help)
  turnout channels set beta --arch amd64 --package 4230.2.1

docs/command-line.md says more.

Exit codes:
${EXIT_CODES.map(([code, meaning]) => `  ${code}  ${meaning}\n`).join("")}`;

function everyCommand(command: Command, visit: (command: Command, path: string) => void, path = command.name()): void {
  visit(command, path);
  for (const one of command.commands) everyCommand(one, visit, `${path} ${one.name()}`);
}

/** What is wrong is said in one line, in our words. */
function plainly(command: Command, path: string): void {
  command.exitOverride().configureOutput({
    outputError(text, write) {
      const said = text
        .replace(/^error: /, "")
        .replace(/\n(?=.)/g, " ")
        .trimEnd();
      const known = command.commands.map((one) => one.name()).join(", ");
      const more = said.startsWith("unknown command") ? `; there are: ${known}` : ` (see ${path} --help)`;
      write(`turnout: ${said}${more}\n`);
    },
  });
}
