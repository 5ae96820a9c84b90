/** `turnout completion`: what a shell needs to complete commands and options, made from the commands themselves. */
import { Argument, Command } from "commander";
import { bashScript } from "./completion-bash.ts";
import { fishScript } from "./completion-fish.ts";
import { placesOf } from "./completion-places.ts";
import { zshScript } from "./completion-zsh.ts";

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;
const SHELLS = ["bash", "zsh", "fish"] as const;

const HELP = `
For this shell, or in the file that it reads when it starts:

  source <(turnout completion bash)
  source <(turnout completion zsh)
  turnout completion fish | source
`;

/** @param program the whole tree. */
export function completionCommand(program: Command): Command {
  return new Command("completion")
    .description("print a script that lets a shell complete commands and options")
    .addArgument(new Argument("<shell>").choices(SHELLS))
    .addHelpText("after", HELP)
    .action((shell: (typeof SHELLS)[number]) => {
      process.stdout.write(SCRIPTS[shell](placesOf(program, program.name())));
    });
}
