/** A strategy from a file, checked before anything is asked of a server. */
import { readFileSync } from "node:fs";
import { Option } from "commander";
import { parse } from "yaml";
import { strategySchema } from "../fleet/strategy.ts";
import { PRESET_NAMES, type StrategyDocument } from "../rollout/strategy.ts";
import { ApiError } from "./api.ts";

export const presetOption = (description: string): Option =>
  new Option("--preset <name>", description).choices(PRESET_NAMES);

/** @throws ApiError that names the file, and each field that is wrong */
export function readStrategyFile(file: string): StrategyDocument {
  let content: unknown;
  try {
    content = parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new ApiError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  // A file may hold the strategy alone, or under its name.
  const named = typeof content === "object" && content !== null && "strategy" in content ? content.strategy : content;
  const parsed = strategySchema.safeParse(named);
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map(({ path, message }) => `${path.join(".") || "the strategy"}: ${message}`);
  throw new ApiError(`${file}: ${errors.join("; ")}`);
}
