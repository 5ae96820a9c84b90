/** Completion for zsh. */

import { type OptionWords, type Place, walkCases } from "./completion-places.ts";

export function zshScript(places: readonly Place[]): string {
  return `#compdef turnout
# Completion of turnout for zsh: source <(turnout completion zsh), or as _turnout in a folder of $fpath
_turnout() {
  local at=turnout i word
  local -a commands options choices
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    case "$at $word" in
${walkCases(places)}
    esac
  done
  case "$at \${words[CURRENT-1]}" in
${places.flatMap(valueCases).join("\n")}
  esac
  case "$at" in
${places.map(placeCase).join("\n")}
  esac
  if [[ $PREFIX == -* ]]; then
    _describe -o option options
  elif (( $#commands )); then
    _describe command commands
  elif (( $#choices )); then
    compadd -a choices
  fi
}
if [[ $funcstack[1] == _turnout ]]; then
  _turnout "$@"
elif (( $+functions[compdef] )); then
  compdef _turnout turnout
fi
`;
}

function valueCases({ path, options }: Place): string[] {
  return options
    .filter(({ takesValue }) => takesValue)
    .map(({ names, choices, takesFile }) => {
      const patterns = names.map((name) => `"${path} ${name}"`).join(" | ");
      return `    ${patterns}) ${takesFile ? "_files" : `choices=(${choices.join(" ")}); compadd -a choices`}; return ;;`;
    });
}

function placeCase({ path, commands, options, choices, takesFile }: Place): string {
  const described = commands.map(({ name, description }) => entry(name, description));
  const flags = options.flatMap(({ names, description }: OptionWords) => names.map((name) => entry(name, description)));
  return `    "${path}")
      commands=(${described.join(" ")})
      options=(${flags.join(" ")})
      choices=(${choices.join(" ")})${takesFile ? "\n      [[ $PREFIX == -* ]] || { _files; return }" : ""} ;;`;
}

/** As _describe wants it, in single quotes. */
function entry(name: string, description: string): string {
  const text = `${name.replaceAll(":", "\\:")}:${description}`;
  return `'${text.replaceAll("'", "'\\''")}'`;
}
