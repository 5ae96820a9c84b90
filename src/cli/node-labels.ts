/** Labels on the command line: `rack=7` sets one, `rack-` is about a node that has none of this name. */
import { InvalidArgumentError } from "commander";

/** Null: no label of this name. */
export type LabelChanges = Readonly<Record<string, string | null>>;

/** For an option or argument that is given several times. @throws InvalidArgumentError */
export function readLabel(text: string, before: LabelChanges = {}): LabelChanges {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  const gone = /^([^=]+)-$/.exec(text)?.[1];
  const named = name ?? gone;
  if (named === undefined) throw new InvalidArgumentError(`"${text}" is neither NAME=VALUE nor NAME-.`);
  if (Object.hasOwn(before, named)) throw new InvalidArgumentError(`"${named}" is named twice.`);
  return { ...before, [named]: value ?? null };
}

export function withChanges(labels: Readonly<Record<string, string>>, changes: LabelChanges): Record<string, string> {
  const entries = Object.entries({ ...labels, ...changes });
  return Object.fromEntries(entries.flatMap(([name, value]) => (value === null ? [] : [[name, value]])));
}
