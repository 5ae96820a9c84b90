/** Completion for bash, from 3.2 on. */
import { type Place, walkCases } from "./completion-places.ts";

export function bashScript(places: readonly Place[]): string {
  return `# Completion of turnout for bash: source <(turnout completion bash)
_turnout() {
  local at=turnout cur="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" words="" files="" i word
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$at $word" in
${walkCases(places)}
    esac
  done
  case "$at $before" in
${valueCases(places)}
  esac
  case "$at" in
${places.map(placeCase).join("\n")}
  esac
  if [[ -n $files && $cur != -* ]]; then _turnout_files "$cur"; return; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
_turnout_files() {
  local IFS=$'\\n'
  compopt -o filenames 2> /dev/null
  COMPREPLY=($(compgen -f -- "$1"))
}
complete -F _turnout turnout
`;
}

function valueCases(places: readonly Place[]): string {
  const cases = places.flatMap(({ path, options }) =>
    options
      .filter(({ takesValue }) => takesValue)
      .map(({ names, choices, takesFile }) => {
        const patterns = names.map((name) => `"${path} ${name}"`).join(" | ");
        const values = takesFile
          ? '_turnout_files "$cur"'
          : `COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$cur"))`;
        return `    ${patterns}) ${values}; return ;;`;
      }),
  );
  return cases.join("\n");
}

/** What comes next: a command, or what the argument can be; where neither is known, or after a dash, an option. */
function placeCase({ path, commands, options, choices, takesFile }: Place): string {
  const names = options.flatMap((option) => option.names).join(" ");
  const next = [...commands.map(({ name }) => name), ...choices].join(" ");
  const words = next === "" ? names : next;
  const file = takesFile ? "; files=yes" : "";
  return `    "${path}") words="${words}"; if [[ $cur == -* ]]; then words="${names}"; fi${file} ;;`;
}
