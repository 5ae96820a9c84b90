/** `turnout counters`: counts the nodes again, and says where the kept counters differ. */
import { Command } from "commander";
import { Api, acting, jsonOption, type ServerOptions, serverOption } from "./api.ts";
import { EXIT } from "./exit-codes.ts";
import { printJson, say, table } from "./terminal.ts";

interface Recount {
  readonly differences: readonly {
    readonly id: string;
    readonly what: string;
    readonly kept: number;
    readonly counted: number;
  }[];
  readonly repaired: boolean;
}

export function countersCommand(): Command {
  return new Command("counters")
    .description(
      "count the nodes of all present rollouts again, and say where the kept counters differ (check-ins wait meanwhile)",
    )
    .option("--repair", "write what was counted")
    .addOption(serverOption())
    .addOption(jsonOption())
    .action(acting(recount));
}

async function recount(options: ServerOptions & { readonly repair?: true }): Promise<void> {
  const body = { repair: options.repair === true };
  const answer = await new Api(options.server).call<Recount>("POST", "/counters/recount", body);
  if (options.json) return printJson(answer);
  if (answer.differences.length === 0) {
    say("the counters are what the nodes say");
    return;
  }
  const rows = answer.differences.map(({ id, what, kept, counted }) => [id, what, kept, counted]);
  process.stdout.write(table(["ROLLOUT OR GROUP", "COUNTER", "KEPT", "COUNTED"], rows));
  process.stdout.write(answer.repaired ? "repaired\n" : "nothing was changed; --repair writes what was counted\n");
  if (!answer.repaired) process.exitCode = EXIT.unsound;
}
