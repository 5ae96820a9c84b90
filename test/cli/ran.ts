/** The `turnout` command as a process of its own. */
import { execFile } from "node:child_process";
import { resolve } from "node:path";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export function ran(args: readonly string[], environment: Record<string, string> = {}): Promise<Ran> {
  const bin = resolve(import.meta.dirname, "../../bin/turnout");
  const env = { PATH: process.env.PATH, ...environment };
  return new Promise((done) => {
    execFile(process.execPath, [bin, ...args], { env }, (error, out, err) => {
      done({ code: typeof error?.code === "number" ? error.code : 0, out, err });
    });
  });
}
