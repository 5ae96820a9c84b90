/** Completion for fish. */
import { type OptionWords, type Place, takingValues } from "./completion-places.ts";

export function fishScript(places: readonly Place[]): string {
  return `# Completion of turnout for fish: turnout completion fish | source
function __turnout_at
    set -l at turnout
    set -l skip no
    for word in (commandline -opc)[2..]
        if test $skip = yes
            set skip no
            continue
        end
        switch "$at $word"
            case ${quoted(places.slice(1).map(({ path }) => path))}
                set at "$at $word"
            case ${quoted(takingValues(places))}
                set skip yes
        end
    end
    test "$at" = "$argv[1]"
end
complete -c turnout -f
${places.flatMap(lines).join("\n")}
`;
}

function lines({ path, commands, options, choices, takesFile }: Place): string[] {
  const here = `complete -c turnout -n '__turnout_at "${path}"'`;
  return [
    ...commands.map(({ name, description }) => `${here} -a ${name} -d ${quote(description)}`),
    ...options.map((option) => `${here} ${flags(option)} -d ${quote(option.description)}`),
    ...(choices.length > 0 ? [`${here} -a ${quote(choices.join(" "))}`] : []),
    ...(takesFile ? [`${here} -F`] : []),
  ];
}

function flags({ names, takesValue, choices, takesFile }: OptionWords): string {
  const spelled = names.map((name) => (name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
  const value = !takesValue
    ? []
    : takesFile
      ? ["-r -F"]
      : [`-x${choices.length > 0 ? ` -a ${quote(choices.join(" "))}` : ""}`];
  return [...spelled, ...value].join(" ");
}

function quoted(texts: readonly string[]): string {
  return texts.map(quote).join(" ");
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
