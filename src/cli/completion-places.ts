/** What can be completed where, as the commands themselves say it. */
import type { Command } from "commander";

/** A command, and what can come after it. */
export interface Place {
  /** e.g. `turnout groups set` */
  readonly path: string;
  readonly commands: readonly Word[];
  readonly options: readonly OptionWords[];
  /** What its argument can be, if that is told. */
  readonly choices: readonly string[];
  readonly takesFile: boolean;
}
export interface Word {
  readonly name: string;
  readonly description: string;
}
export interface OptionWords {
  /** e.g. `-y` and `--yes` */
  readonly names: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  readonly takesFile: boolean;
}

/** The command with all that are below it. */
export function placesOf(command: Command, path: string): Place[] {
  const help = command.createHelp();
  const commands = help.visibleCommands(command);
  const options = help.visibleOptions(command);
  const [argument] = command.registeredArguments;
  const place: Place = {
    path,
    commands: commands.map((one) => ({ name: one.name(), description: one.description() })),
    options: options.map((option) => ({
      names: [option.short, option.long].filter((name) => name !== undefined),
      description: option.description,
      takesValue: option.required || option.optional,
      choices: option.argChoices ?? [],
      takesFile: option.flags.includes("<file>"),
    })),
    choices: argument?.argChoices ?? [],
    takesFile: argument?.name() === "file",
  };
  // `turnout help` is followed by the names of the commands, and by nothing else.
  const below = commands.filter((one) => one.name() !== "help");
  return [place, ...below.flatMap((one) => placesOf(one, `${path} ${one.name()}`))];
}

/** Each option that takes a value, behind the command that has it: `turnout groups set --track`. */
export function takingValues(places: readonly Place[]): string[] {
  return places.flatMap(({ path, options }) =>
    options.filter(({ takesValue }) => takesValue).flatMap(({ names }) => names.map((name) => `${path} ${name}`)),
  );
}

/** In bash and zsh: a word before the cursor leads to a command, or is an option whose value is passed over. */
export function walkCases(places: readonly Place[]): string {
  const commands = places.slice(1).map(({ path }) => path);
  const patterns = (all: readonly string[]) => all.map((one) => `"${one}"`).join(" | \\\n      ");
  return `      ${patterns(commands)}) at="$at $word" ;;\n      ${patterns(takingValues(places))}) i=$((i + 1)) ;;`;
}
