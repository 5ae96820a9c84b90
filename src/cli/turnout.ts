/** The `turnout` command. One file a subcommand. */
import { Command } from "commander";
import { countersCommand } from "./counters.ts";
import { explainCommand } from "./explain.ts";
import { applyCommand, exportCommand, planCommand } from "./fleet.ts";
import { fleetSimCommand } from "./fleet-sim.ts";
import { importCommand } from "./import.ts";
import { keysCommand } from "./keys.ts";
import { mirrorCommand } from "./mirror.ts";
import { packageCommand } from "./package-add.ts";
import { payloadsCommand } from "./payloads.ts";
import { rolloutsCommand } from "./rollouts.ts";
import { simulateCommand } from "./simulate.ts";

/** @param serve runs the server; handed in, since it wires everything and the other subcommands need none of it. */
export async function turnout(argv: readonly string[], serve: () => Promise<void>): Promise<void> {
  const program = new Command("turnout").description("Update server for Flatcar Container Linux fleets");
  program
    .command("serve")
    .description("run the server; settings come from the environment and config/turnout.yaml")
    .action(serve);
  program.addCommand(rolloutsCommand());
  program.addCommand(simulateCommand());
  program.addCommand(explainCommand());
  program.addCommand(planCommand());
  program.addCommand(applyCommand());
  program.addCommand(exportCommand());
  program.addCommand(countersCommand());
  program.addCommand(packageCommand());
  program.addCommand(payloadsCommand());
  program.addCommand(mirrorCommand());
  program.addCommand(importCommand());
  program.addCommand(keysCommand());
  program.addCommand(fleetSimCommand());
  await program.parseAsync([...argv]);
}
