/** The server's admin API, as the command line uses it. */
import { type Command, Option } from "commander";
import { MirrorError } from "../mirror/keys.ts";
import { FLATCAR_APP_ID } from "../virtual/options.ts";
import { EXIT } from "./exit-codes.ts";
import { note } from "./terminal.ts";

export interface ServerOptions {
  readonly server: string;
  readonly json?: true;
}
export interface AppOptions extends ServerOptions {
  readonly app: string;
}

export const serverOption = (): Option =>
  new Option("--server <url>", "the server").env("TURNOUT_SERVER").default("http://127.0.0.1:8000");
export const appOption = (): Option =>
  new Option("--app <app>", "the application: its id, product id or name").default(FLATCAR_APP_ID, "Flatcar");
export const groupOption = (): Option =>
  new Option("--group <group>", "the group: its id, name or track").makeOptionMandatory();
export const jsonOption = (description = "print what the server answers, as JSON"): Option =>
  new Option("--json", description);

/** With the options of whatever asks about an application. */
export function ofApp(command: Command): Command {
  return command.addOption(appOption()).addOption(serverOption()).addOption(jsonOption());
}

/** The server said no, or could not be asked: the message is for the person at the terminal. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** HTTP's; null: it did not come to an answer, or the server was not asked. */
  readonly status: number | null;

  constructor(message: string, status: number | null = null) {
    super(message);
    this.status = status;
  }
}

type Method = "GET" | "POST" | "PUT" | "DELETE";

/** Something with its version: it is changed only as long as it is still so. */
export interface Seen<T> {
  readonly value: T;
  readonly etag: string;
}

/** More is not answered at once. */
const LONGEST_PAGE = 1_000;

/** The token is in TURNOUT_TOKEN, so that it is in no list of processes. */
export class Api {
  readonly server: string;

  constructor(server: string) {
    this.server = server.replace(/\/+$/, "");
  }

  /**
   * @param seen what it is about, as it was: nothing is done when it is not so any more.
   * @throws ApiError
   */
  async call<T>(method: Method, path: string, body?: unknown, seen?: Seen<unknown>): Promise<T> {
    return (await this.#ask<T>(method, path, body, seen)).value;
  }

  /** @throws ApiError */
  seen<T>(path: string): Promise<Seen<T>> {
    return this.#ask("GET", path);
  }

  /**
   * Changes some fields of a thing and leaves all others as they are.
   * @throws ApiError also when it is not as it was seen any more: then nothing is done.
   */
  change<T>(path: string, seen: Seen<T>, changes: object): Promise<T> {
    return this.call("PUT", path, { ...seen.value, ...changes }, seen);
  }

  /** @throws ApiError also when it is not as it was seen any more. */
  async remove(path: string, seen: Seen<unknown>): Promise<void> {
    await this.call("DELETE", path, undefined, seen);
  }

  /** Part of a file, as a stream. @throws ApiError */
  async put<T>(path: string, contentRange: string, body: ReadableStream): Promise<T> {
    const headers = { "Content-Type": "application/octet-stream", "Content-Range": contentRange };
    return (await this.#send<T>("PUT", path, headers, body)).value;
  }

  /** A whole list, page by page. */
  async all<T>(path: string, name: string): Promise<T[]> {
    const items: T[] = [];
    for (let page = 1; ; page += 1) {
      const separator = path.includes("?") ? "&" : "?";
      const query = `${separator}page=${page}&perpage=${LONGEST_PAGE}`;
      // A list has its items under their name; some are null where they are empty.
      const here = (await this.call<Record<string, T[] | null>>("GET", `${path}${query}`))[name] ?? [];
      items.push(...here);
      if (here.length < LONGEST_PAGE) return items;
    }
  }

  #ask<T>(method: Method, path: string, body?: unknown, seen?: Seen<unknown>): Promise<Seen<T>> {
    const headers = onlyIf(seen?.etag ?? "");
    if (body === undefined) return this.#send(method, path, headers);
    return this.#send(method, path, { ...headers, "Content-Type": "application/json" }, JSON.stringify(body));
  }

  async #send<T>(
    method: Method,
    path: string,
    headers: Record<string, string>,
    body?: string | ReadableStream,
  ): Promise<Seen<T>> {
    const token = process.env.TURNOUT_TOKEN;
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${this.server}/api${path}`, {
        method,
        headers: { ...headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) },
        ...(body === undefined ? {} : { body, duplex: "half" as const }),
      });
      text = await response.text();
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
      throw new ApiError(`${this.server} can't be reached: ${cause}`);
    }
    const { status } = response;
    if (status === 401) throw new ApiError(`${this.server} wants a valid token: set TURNOUT_TOKEN`, status);
    if (!response.ok) {
      const detail = detailOf(text) ?? `${method} ${path}: HTTP ${status}`;
      throw new ApiError(await this.#withKnown(detail), status);
    }
    // Each caller knows what its path answers.
    return { value: this.#parsed(text) as T, etag: response.headers.get("ETag") ?? "" };
  }

  /** Of an application that is not there: those that are. */
  async #withKnown(detail: string): Promise<string> {
    const unknown = /^App not found for :(.+)$/.exec(detail)?.[1];
    if (unknown === undefined) return detail;
    const known = await this.all<{ name: string }>("/apps", "applications");
    return thereIsNo(
      `application "${unknown}"`,
      known.map(({ name }) => `"${name}"`),
    );
  }

  #parsed(text: string): unknown {
    try {
      return text === "" ? {} : JSON.parse(text);
    } catch {
      throw new ApiError(`${this.server} does not answer as Turnout does: is that its address?`);
    }
  }
}

function onlyIf(etag: string): Record<string, string> {
  return etag === "" ? {} : { "If-Match": etag };
}

/**
 * @param what e.g. `group "canary"`
 * @param known what there is, the likeliest first.
 */
export function thereIsNo(what: string, known: readonly string[]): string {
  const shown = known.slice(0, MOST_NAMED).join(", ");
  const more = known.length > MOST_NAMED ? ` and ${known.length - MOST_NAMED} more` : "";
  return `there is no ${what}; there ${known.length === 0 ? "is none" : `are: ${shown}${more}`}`;
}
const MOST_NAMED = 20;

/** A `set` without a single option. */
export function nothingToChange(): ApiError {
  return new ApiError("name at least one thing to change; --help lists them");
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

/** A file that can't be read, a disk that is full. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && "syscall" in error;
}

/** Runs a command's action; what a person can mend is one line on stderr and exit code 1. */
export function acting<A extends unknown[]>(action: (...args: A) => Promise<void>): (...args: A) => Promise<void> {
  return async (...args) => {
    try {
      await action(...args);
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof MirrorError || isSystemError(error))) throw error;
      note(`turnout: ${error.message.replace(/\s*\n\s*/g, "; ")}`);
      process.exitCode = EXIT.refused;
    }
  };
}
