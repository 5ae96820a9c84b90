/** The `turnout` command in this process, one at a time: what it prints is caught. Much faster than a process each. */
import { turnout } from "../../src/cli/turnout.ts";
import type { Ran } from "./ran.ts";

export const parts = {
  serve: async () => {
    throw new Error("a server is started as a process, see ../e2e/turnout.ts");
  },
  database: () => import("../../src/database.ts"),
};

// A server of the same process has threads, which all listen for the end of its output.
process.stdout.setMaxListeners(Number.POSITIVE_INFINITY);

export interface Surroundings {
  readonly environment?: Readonly<Record<string, string>>;
  /** The width of the terminal; without: it is none. */
  readonly columns?: number;
}

export async function caught(args: readonly string[], { environment = {}, columns }: Surroundings = {}): Promise<Ran> {
  const caught = { out: "", err: "" };
  const into =
    (name: "out" | "err") =>
    (chunk: string | Uint8Array, ...rest: unknown[]) => {
      caught[name] += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
      for (const one of rest) if (typeof one === "function") one();
      return true;
    };
  const restore = [
    set(process.stdout, "write", into("out")),
    set(process.stderr, "write", into("err")),
    set(process.stdout, "isTTY", columns !== undefined),
    set(process.stdout, "columns", columns),
    set(process.stdin, "isTTY", false),
    ...Object.entries(environment).map(([name, value]) => set(process.env, name, value)),
  ];
  process.exitCode = undefined;
  try {
    await turnout(["node", "turnout", ...args], parts);
    return { code: Number(process.exitCode ?? 0), ...caught };
  } finally {
    process.exitCode = undefined;
    for (const back of restore) back();
  }
}

/** @returns what makes it as it was. */
function set(object: object, name: string, value: unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true });
  return () => {
    if (before === undefined) Reflect.deleteProperty(object, name);
    else Object.defineProperty(object, name, before);
  };
}
