/** The server's admin API, as the command line uses it. */
import { Option } from "commander";
import { MirrorError } from "../mirror/keys.ts";
import { FLATCAR_APP_ID } from "../virtual/options.ts";

export interface ServerOptions {
  readonly server: string;
  readonly app: string;
  readonly json?: true;
}

export const serverOption = (): Option =>
  new Option("--server <url>", "the server").env("TURNOUT_SERVER").default("http://127.0.0.1:8000");
export const appOption = (): Option =>
  new Option("--app <id>", "the application: its id or product id").default(FLATCAR_APP_ID, "Flatcar");
export const groupOption = (): Option =>
  new Option("--group <group>", "the group: its id, name or track").makeOptionMandatory();
export const jsonOption = (): Option => new Option("--json", "print what the server answers, as JSON");

/** The server said no, or could not be asked: the message is for the person at the terminal. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** Of the answer; null: there was none. */
  readonly status: number | null;

  constructor(message: string, status: number | null = null) {
    super(message);
    this.status = status;
  }
}

/** The token is in TURNOUT_TOKEN, so that it is in no list of processes. */
export class Api {
  readonly #server: string;

  constructor(server: string) {
    this.#server = server.replace(/\/+$/, "");
  }

  /** @throws ApiError */
  call<T>(method: string, path: string, body?: unknown): Promise<T> {
    if (body === undefined) return this.#send(method, path, {});
    return this.#send(method, path, { "Content-Type": "application/json" }, JSON.stringify(body));
  }

  /** Part of a file, as a stream. @throws ApiError */
  put<T>(path: string, contentRange: string, body: ReadableStream): Promise<T> {
    const headers = { "Content-Type": "application/octet-stream", "Content-Range": contentRange };
    return this.#send("PUT", path, headers, body);
  }

  async #send<T>(
    method: string,
    path: string,
    headers: Record<string, string>,
    body?: string | ReadableStream,
  ): Promise<T> {
    const token = process.env.TURNOUT_TOKEN;
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${this.#server}/api${path}`, {
        method,
        headers: { ...headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) },
        ...(body === undefined ? {} : { body, duplex: "half" as const }),
      });
      text = await response.text();
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
      throw new ApiError(`${this.#server} can't be reached: ${cause}`);
    }
    if (response.status === 401) {
      throw new ApiError(`${this.#server} wants a valid token: set TURNOUT_TOKEN`, 401);
    }
    if (!response.ok) {
      throw new ApiError(detailOf(text) ?? `${method} ${path}: HTTP ${response.status}`, response.status);
    }
    return (text === "" ? {} : JSON.parse(text)) as T; // each caller knows what its path answers
  }

  /** The path of a group that is named by id, name or track. @throws ApiError that lists the groups there are */
  async groupPath(app: string, name: string): Promise<string> {
    const groups = await this.groups(app);
    const wanted = name.toLowerCase();
    const exact = groups.find((group) => group.id === wanted || group.name.toLowerCase() === wanted);
    const tracked = groups.filter(({ track }) => track === name);
    const found = exact ?? (tracked.length === 1 ? tracked[0] : undefined);
    if (found !== undefined) return `/apps/${encodeURIComponent(app)}/groups/${found.id}`;
    const names = (of: readonly GroupSummary[]) => of.map((group) => `"${group.name}"`).join(", ");
    throw new ApiError(
      tracked.length > 1
        ? `several groups have the track "${name}": ${names(tracked)}; say which`
        : `there is no group "${name}"; there are: ${names(groups)}`,
    );
  }

  async groups(app: string): Promise<readonly GroupSummary[]> {
    const path = `/apps/${encodeURIComponent(app)}/groups?perpage=1000`;
    return (await this.call<{ groups: readonly GroupSummary[] | null }>("GET", path)).groups ?? [];
  }
}

interface GroupSummary {
  readonly id: string;
  readonly name: string;
  readonly track: string;
}

function detailOf(text: string): string | null {
  try {
    const problem: unknown = JSON.parse(text);
    const detail = typeof problem === "object" && problem !== null && "detail" in problem ? problem.detail : null;
    return typeof detail === "string" ? detail : null;
  } catch {
    return null;
  }
}

/** Runs a command's action; what a person can mend is one line on stderr and exit code 1. */
export function acting<A extends unknown[]>(action: (...args: A) => Promise<void>): (...args: A) => Promise<void> {
  return async (...args) => {
    try {
      await action(...args);
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof MirrorError)) throw error;
      process.stderr.write(`turnout: ${error.message}\n`);
      process.exitCode = 1;
    }
  };
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Columns as wide as their widest cell; numbers stand on the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  const texts = rows.map((row) => row.map((cell) => (cell === null ? "-" : String(cell))));
  const widths = head.map((title, column) => Math.max(title.length, ...texts.map((row) => row[column]?.length ?? 0)));
  const onRight = head.map((_, column) => rows.some((row) => typeof row[column] === "number"));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (onRight[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd();
  return `${[head, ...texts].map(line).join("\n")}\n`;
}

/** 2026-03-04 14:05 UTC */
export function shortTime(iso: string): string {
  return `${iso.slice(0, 16).replace("T", " ")} UTC`;
}
