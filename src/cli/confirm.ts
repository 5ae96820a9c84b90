/** Asking before something that can't be taken back. */
import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { Option } from "commander";
import { ApiError } from "./api.ts";
import { printable } from "./terminal.ts";

export const NOBODY_TO_ASK = "nothing was changed: say --yes where nobody can be asked";
export const yesOption = (): Option => new Option("-y, --yes", "do not ask");

/** @throws ApiError when the answer is no, or nobody can be asked. */
export async function confirm(question: string): Promise<void> {
  if (!process.stdin.isTTY) throw new ApiError(NOBODY_TO_ASK);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-D and Ctrl-C are answers, too; how they come differs between versions of Node.
  const ended = once(terminal, "close").then(() => "");
  const asked = terminal.question(`${printable(question)} [y/N] `).catch(() => "");
  const answer = await Promise.race([asked, ended]);
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new ApiError("nothing was changed");
}
