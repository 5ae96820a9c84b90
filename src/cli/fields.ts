/** Options that set a field of an API's object each: `--safe-mode on` is `policy_safe_mode: true`. */
import { type Command, InvalidArgumentError, Option } from "commander";

export interface Field {
  readonly option: Option;
  /** Its name in the API. */
  readonly field: string;
  /** `none` is no value. (Commander has no way to say so: it makes an empty text of it.) */
  readonly clearable?: true;
}

/** As commander hands them to an action. */
export type Given = Readonly<Record<string, unknown>>;

export function text(flags: string, field: string, description: string): Field {
  return { option: new Option(flags, description), field };
}

/** `none` clears it. */
export function textOrNone(flags: string, field: string, description: string): Field {
  return { option: new Option(flags, description), field, clearable: true };
}

export function onOffField(flags: string, field: string, description: string): Field {
  const option = new Option(`${flags} <on|off>`, description).choices(["on", "off"]).argParser((value) => {
    if (value === "on" || value === "off") return value === "on";
    throw new InvalidArgumentError("Write on or off.");
  });
  return { option, field };
}

export function choice(flags: string, field: string, description: string, choices: readonly string[]): Field {
  return { option: new Option(flags, description).choices(choices), field };
}

export function count(flags: string, field: string, description: string): Field {
  return { option: new Option(flags, description).argParser(wholeNumber), field };
}

export function wholeNumber(value: string): number {
  if (/^\d{1,10}$/.test(value)) return Number(value);
  throw new InvalidArgumentError("Write a whole number.");
}

export function positive(value: string): number {
  const number = wholeNumber(value);
  if (number > 0) return number;
  throw new InvalidArgumentError("Write a whole number from 1 on.");
}

/** What a reader of one text says of each of several; a reader's complaint is the option's. */
export function list<T>(flags: string, field: string, description: string, read: (value: string) => T): Field {
  const option = new Option(flags, description).argParser((value, before: readonly T[] | undefined) => {
    if (value === "none") return [];
    return [...(before ?? []), read(value)];
  });
  return { option, field };
}

export function withFields(command: Command, fields: readonly Field[]): Command {
  for (const { option } of fields) command.addOption(option);
  return command;
}

/** The fields that were given, as the API wants them. */
export function bodyOf(fields: readonly Field[], given: Given): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  for (const { option, field, clearable } of fields) {
    const value = given[option.attributeName()];
    if (value !== undefined) body[field] = clearable && value === "none" ? null : value;
  }
  return body;
}
