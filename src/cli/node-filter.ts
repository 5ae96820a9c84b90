/** Which nodes are meant: `--where-…`, of which all must hold. */
import { InvalidArgumentError, Option } from "commander";
import { NODE_STATUSES } from "../rollout/model/node.ts";
import { type Api, ApiError } from "./api.ts";
import { bodyOf, type Field, type Given, text } from "./fields.ts";
import { archOption, findGroup } from "./naming.ts";
import { readLabel } from "./node-labels.ts";

const GROUP = text("--where-group <group>", "group_id", "of this group: its id, name or track");
const ARCH: Field = { option: archOption("of this architecture", "--where-arch <arch>"), field: "arch" };

export const FILTER: readonly Field[] = [
  GROUP,
  {
    option: new Option("--where-status <status,...>", "that stand so")
      .choices(NODE_STATUSES)
      .argParser(listOf(NODE_STATUSES)),
    field: "state",
  },
  text("--where-version <range>", "version", 'that run a version, or one in a range, e.g. "<4100.0.0"'),
  text("--where-alias <pattern>", "alias", 'with such an alias, e.g. "rack7-*"; ? is any one character'),
  {
    option: new Option(
      "--where-label <label>",
      "with a label, NAME=VALUE, or without one, NAME-; may be repeated",
    ).argParser(readLabel),
    field: "labels",
  },
  { option: new Option("--where-held", "that are held"), field: "held" },
  { option: new Option("--where-not-held", "that are not held").preset(false).conflicts("whereHeld"), field: "held" },
  text("--where-not-seen-for <duration>", "not_seen_for", "that have not checked in for so long, e.g. 90d"),
  ARCH,
  { option: new Option("--where-oem <oem,...>", "of these platforms").argParser(listOf()), field: "oem" },
  { option: new Option("--where-id <id,...>", "with these machine ids").argParser(listOf()), field: "id" },
];

/** @throws ApiError when nothing is named: it would be all nodes. */
export async function filterOf(api: Api, app: string, given: Given): Promise<object> {
  const filter = bodyOf(FILTER, given);
  if (Object.keys(filter).length === 0) throw new ApiError("say which nodes: name at least one --where-…");
  const { [GROUP.field]: group, [ARCH.field]: arch } = filter;
  if (typeof group !== "string") return filter;
  const found = await findGroup(api, app, group, { arch: typeof arch === "number" ? arch : undefined });
  return { ...filter, [GROUP.field]: found.id };
}

/** Separated by commas, and the option may be repeated. @param choices null: anything. */
function listOf(choices: readonly string[] | null = null) {
  return (value: string, before: readonly string[] = []): readonly string[] => {
    const items = value.split(",").map((item) => item.trim());
    const wrong = items.find((item) => item === "" || choices?.includes(item) === false);
    if (wrong === "") throw new InvalidArgumentError("Write them with a comma between.");
    if (wrong !== undefined)
      throw new InvalidArgumentError(`There is no "${wrong}"; there are: ${choices?.join(", ")}.`);
    return [...before, ...items];
  };
}
