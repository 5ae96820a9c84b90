/**
 * Asking upstreams over HTTP: with limits on everything, and nowhere that was not allowed. Names are looked up and checked for
 * every connection, also of redirects, so that no answer leads into this server's own network.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import type { Agent } from "undici";
import { checkedLookup, type Resolve, refusalOf } from "../target.ts";
import { reasonOf } from "./reasons.ts";
import { SourceFailed } from "./release.ts";

const MAX_REDIRECTS = 5;
/** Bytes a second. */
const SLOWEST_RATE = 32 * 2 ** 10;

export interface HttpTimeouts {
  readonly connectMs: number;
  /** Until the answer begins, and between any two pieces of it. */
  readonly idleMs: number;
  /** For a question and all of its answer. */
  readonly answerMs: number;
  /** For a file, beyond what its bytes take at the slowest rate: else a trickle would hold it for ever. */
  readonly fileMs: number;
}
export const TIMEOUTS: HttpTimeouts = { connectMs: 30_000, idleMs: 60_000, answerMs: 120_000, fileMs: 600_000 };

export interface HttpOptions {
  /** e.g. http://proxy.example.org:3128, never https; null: none. With a proxy, it is the proxy that decides where names lead. */
  readonly proxy: string | null;
  readonly resolve: Resolve;
  readonly userAgent: string;
  readonly timeouts?: HttpTimeouts | undefined;
  /** The library is loaded with the first question: most servers never ask one. */
  readonly load?: () => Promise<Pick<typeof import("./agent.ts"), "openAgent">>;
}

export interface Asked {
  readonly method?: "GET" | "POST" | "HEAD";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Whether it may lead to private addresses. */
  readonly privateAddresses: boolean;
  readonly signal: AbortSignal;
}

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** To be read to its end, or destroyed. */
  readonly body: Readable;
}

export class Http {
  readonly #options: HttpOptions;
  readonly #wait: HttpTimeouts;
  /** See `HttpTimeouts`. */
  readonly answerMs: number;
  readonly fileMs: number;
  /** To private addresses, too, and to others only. */
  readonly #agents = new Map<boolean, Promise<Agent>>();

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#wait = options.timeouts ?? TIMEOUTS;
    this.answerMs = this.#wait.answerMs;
    this.fileMs = this.#wait.fileMs;
  }

  /** @throws SourceFailed when there is no answer, or it leads where it must not */
  async ask(address: string, asked: Asked): Promise<Answered> {
    let url = new URL(address);
    for (let hops = 0; ; hops += 1) {
      const { headers = {} } = asked;
      // What somebody may do here is nobody else's business.
      const { Authorization: _, ...others } = headers;
      const isHome = url.origin === new URL(address).origin;
      const answer = await this.#once(url, { ...asked, headers: isHome ? headers : others });
      const target = redirectOf(answer, asked);
      if (target === null) return answer;
      hangUp(answer);
      const next = URL.canParse(target, url.href) ? new URL(target, url) : null;
      if (next === null || !/^https?:$/.test(next.protocol)) throw new SourceFailed(`${shown(url)} redirects nowhere`);
      if (url.protocol === "https:" && next.protocol === "http:") {
        throw new SourceFailed(`${shown(url)} redirects from https to http, which is not followed`);
      }
      if (hops === MAX_REDIRECTS) throw new SourceFailed(`${shown(url)} redirects more than ${MAX_REDIRECTS} times`);
      url = next;
    }
  }

  async close(): Promise<void> {
    for (const agent of this.#agents.values())
      await agent.then(
        (loaded) => loaded.destroy(),
        () => undefined,
      );
  }

  async #once(url: URL, asked: Asked): Promise<Answered> {
    const { method = "GET", headers = {}, body = null, privateAddresses, signal } = asked;
    const refusal = refusalOf(url, ruleOf(privateAddresses));
    if (refusal !== null) throw new SourceFailed(refusal);
    const { proxy, userAgent } = this.#options;
    // A proxy takes the whole address where nothing is encrypted, and is tunnelled through else.
    const isProxied = proxy !== null && url.protocol === "http:";
    const where = isProxied
      ? { origin: new URL(proxy).origin, path: `${url.origin}${url.pathname}${url.search}` }
      : { origin: url.origin, path: `${url.pathname}${url.search}` };
    const sent = { Host: url.host, "User-Agent": userAgent, ...headers };
    try {
      const agent = await this.#agent(privateAddresses);
      const { statusCode, ...got } = await agent.request({ ...where, method, headers: sent, body, signal });
      return { status: statusCode, headers: got.headers, body: got.body };
    } catch (error) {
      throw failureOf(url, error, signal);
    }
  }

  #agent(privateTargets: boolean): Promise<Agent> {
    const known = this.#agents.get(privateTargets);
    if (known !== undefined) return known;
    const { proxy, resolve, load = () => import("./agent.ts") } = this.#options;
    const lookup = checkedLookup(resolve, ruleOf(privateTargets));
    const agent = load().then(({ openAgent }) => openAgent({ proxy, lookup, ...this.#wait }));
    this.#agents.set(privateTargets, agent);
    // The next question tries again: there may have been no more files to be had.
    agent.catch(() => this.#agents.delete(privateTargets));
    return agent;
  }
}

/** Whatever is still to come is not read. */
export function hangUp({ body }: Answered): void {
  body.on("error", () => undefined).destroy();
}

/** As text, so many bytes at most. @throws SourceFailed */
export async function textOf(
  address: string,
  { body }: Answered,
  maxBytes: number,
  signal: AbortSignal,
): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > maxBytes) throw new SourceFailed(`${shown(new URL(address))} answers more than ${maxBytes} bytes`);
    }
  } catch (error) {
    throw failureOf(new URL(address), error, signal);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/**
 * A file from an offset on. What doesn't come as asked for is never taken for it.
 * @throws SourceFailed
 */
export async function fileAt(
  http: Http,
  address: string,
  from: number,
  sizeBytes: number,
  asked: Pick<Asked, "privateAddresses" | "signal">,
): Promise<AsyncIterable<Buffer>> {
  const url = new URL(address);
  const range: Record<string, string> = from === 0 ? {} : { Range: `bytes=${from}-` };
  const headers = { "Accept-Encoding": "identity", ...range };
  const inTime = AbortSignal.timeout(http.fileMs + Math.ceil((sizeBytes / SLOWEST_RATE) * 1_000));
  const signal = AbortSignal.any([asked.signal, inTime]);
  const answer = await http.ask(address, { ...asked, headers, signal });
  const { status } = answer;
  try {
    if (status !== 200 && !(status === 206 && from > 0)) throw new SourceFailed(`${shown(url)} answers ${status}`);
    if (status === 206) checkRange(url, answer.headers["content-range"], from, sizeBytes);
    const length = Number(answer.headers["content-length"] ?? Number.NaN);
    const expected = sizeBytes - (status === 206 ? from : 0);
    if (sizeBytes > 0 && length > expected) {
      throw new SourceFailed(`${shown(url)} has ${length} bytes; ${expected} are expected`);
    }
  } catch (error) {
    hangUp(answer);
    throw error;
  }
  return piecesOf(url, answer.body, status === 206 ? 0 : from, signal);
}

/** @param skip bytes that are here already: the server knows no ranges. */
async function* piecesOf(url: URL, body: Readable, skip: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  let left = skip;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      const skipped = Math.min(left, chunk.length);
      left -= skipped;
      if (skipped < chunk.length) yield chunk.subarray(skipped);
    }
  } catch (error) {
    throw failureOf(url, error, signal);
  }
}

function checkRange(url: URL, header: string | string[] | undefined, from: number, sizeBytes: number): void {
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(String(header)) ?? [];
  if (Number(first) === from && (sizeBytes === 0 || total === "*" || Number(total) === sizeBytes)) return;
  throw new SourceFailed(`${shown(url)} was asked for the bytes from ${from} on, and answers ${header ?? "no range"}`);
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** A POST keeps its body with 307 and 308 only: others would make a GET of it. */
function redirectOf({ status, headers }: Answered, { method = "GET" }: Asked): string | null {
  const isFollowed = REDIRECTS.has(status) && (method !== "POST" || status >= 307);
  return isFollowed && typeof headers.location === "string" ? headers.location : null;
}

export function ruleOf(privateTargets: boolean) {
  return { privateTargets, allowedBy: '"private_addresses": true in the upstream' };
}

/** Without what may be secret in it. */
export function shown({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}

function failureOf(url: URL, error: unknown, signal: AbortSignal): SourceFailed {
  if (error instanceof SourceFailed) return error;
  if (signal.aborted) {
    const { reason } = signal;
    return new SourceFailed(
      `${shown(url)}: ${reason instanceof Error && reason.name === "TimeoutError" ? "it took too long" : "broken off"}`,
    );
  }
  return new SourceFailed(`${shown(url)}: ${reasonOf(error)}`, { cause: error });
}
