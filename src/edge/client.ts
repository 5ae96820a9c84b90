/** What a site asks of its central server. Nothing that comes from there is trusted before it has been looked at. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { z } from "zod";
import { parseJson } from "../admin/json.ts";
import { Problem } from "../admin/problem.ts";
import { type SiteDocument, siteDocument } from "../admin/site-document.ts";
import type { SiteReport } from "../admin/site-report.ts";
import { type FleetDocument, fleetSchema } from "../fleet/document.ts";
import { Stall } from "./stall.ts";

/** Some thousand packages. */
const MAX_DOCUMENT_BYTES = 8 * 2 ** 20;
const MAX_PROBLEM_BYTES = 4_096;
/** For all of an answer, in timeouts for a byte of it. */
const LONGEST_TIMEOUTS = 20;

const packed = promisify(gzip);

export interface CentralOptions {
  /** Without a slash at its end. */
  readonly url: string;
  readonly token: string;
  readonly site: string;
  /** Of this server. */
  readonly instance: string;
  readonly userAgent: string;
  /** Without an answer, or a further byte of it, for so long, it has failed. */
  readonly timeoutMs: number;
  /** The server is stopping. */
  readonly stop: AbortSignal;
}

/** It did not answer, or not as it should. The message says why. */
export class CentralFailed extends Error {
  override readonly name = "CentralFailed";
  /** There was no answer at all. */
  readonly silent: boolean;

  constructor(message: string, silent = false) {
    super(message);
    this.silent = silent;
  }
}

/** The same document twice: as it is kept and handed on, and as it is applied. */
export interface Configuration {
  readonly document: SiteDocument;
  readonly fleet: FleetDocument;
}

export class Central {
  readonly #options: CentralOptions;

  constructor(options: CentralOptions) {
    this.#options = options;
  }

  /** Null: it is still what has this ETag. @throws CentralFailed */
  async configuration(etag: string | null): Promise<(Configuration & { readonly etag: string }) | null> {
    const headers = { "Turnout-Instance": this.#options.instance, ...(etag !== null && { "If-None-Match": etag }) };
    const answered = await this.#asking("fleet", { headers }, async (answer, stall) => {
      if (answer.status === 304 && etag !== null) return null;
      if (answer.status !== 200) throw new CentralFailed(await refusalOf(answer));
      // Proxies that pack answers make it a weak one.
      const [, given] = /^(?:W\/)?("[^"]{1,100}")$/.exec(answer.headers.get("etag") ?? "") ?? [];
      if (given === undefined) throw new CentralFailed("its answer has no ETag: is it a Turnout?");
      const bytes = await readAtMost(answer, MAX_DOCUMENT_BYTES, stall);
      if (bytes === null) throw new CentralFailed(`its configuration is larger than ${MAX_DOCUMENT_BYTES} bytes`);
      return { bytes, etag: given };
    });
    return answered && { ...readConfiguration(answered.bytes), etag: answered.etag };
  }

  /** Packed: the central server waits 20 seconds for it, and on a thin line that is little. @throws CentralFailed */
  async report(report: SiteReport): Promise<void> {
    const headers = { "Content-Type": "application/json", "Content-Encoding": "gzip" };
    const body = await packed(JSON.stringify(report));
    await this.#asking("report", { method: "PUT", headers, body }, async (answer) => {
      if (answer.status !== 204) throw new CentralFailed(`it did not take the report: ${await refusalOf(answer)}`);
    });
  }

  /** A thin line may take its time for a large answer, but not for ever: a trickle is cut off, too. */
  async #asking<T>(
    what: "fleet" | "report",
    init: RequestInit & { headers: Record<string, string> },
    read: (answer: Response, stall: Stall) => Promise<T>,
  ): Promise<T> {
    const { url, site, token, userAgent, stop, timeoutMs } = this.#options;
    const headers = { ...init.headers, Authorization: `Bearer ${token}`, "User-Agent": userAgent };
    const stall = new Stall(timeoutMs);
    const longest = AbortSignal.timeout(timeoutMs * LONGEST_TIMEOUTS);
    const over = new AbortController();
    const signal = AbortSignal.any([stall.signal, longest, stop, over.signal]);
    try {
      const request = { ...init, headers, redirect: "manual" as const, signal };
      return await read(await fetch(`${url}/api/sites/${encodeURIComponent(site)}/${what}`, request), stall);
    } catch (error) {
      if (error instanceof CentralFailed) throw error;
      const tooLong = longest.aborted
        ? `its answer took longer than ${(timeoutMs * LONGEST_TIMEOUTS) / 1000} seconds`
        : null;
      throw new CentralFailed(
        `the central server can't be reached: ${stall.reason ?? tooLong ?? reasonOf(error)}`,
        true,
      );
    } finally {
      stall.end();
      // Whatever was not read is hung up on.
      over.abort();
    }
  }
}

/** @throws CentralFailed that says what is wrong, and where */
export function readConfiguration(bytes: Uint8Array): Configuration {
  let given: unknown;
  try {
    given = parseJson(bytes);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new CentralFailed(`its answer can't be read: ${error.message.replace(/^the body/, "it")}`);
  }
  const document = read(siteDocument, given, "");
  const fleet = fleetIn(document.fleet);
  for (const { id, name, packages, channels, groups } of fleet.applications) {
    const parts = [...(channels ?? []), ...(groups ?? [])];
    // What is not listed would be let be; what has no id could be taken for something else.
    if (!id || !packages || !channels || !groups || parts.some((part) => part.id === undefined)) {
      throw new CentralFailed(`its configuration of application "${name}" is not whole; nothing of it was applied`);
    }
  }
  return { document, fleet };
}

/**
 * The fleet to be applied. What a file leaves out is let be; what an export leaves out is empty, and is to become so here.
 * @throws CentralFailed
 */
export function fleetIn(fleet: SiteDocument["fleet"]): FleetDocument {
  const applications = read(fleetSchema, fleet, "fleet.").applications.map((application) => ({
    description: "",
    product_id: null,
    ...application,
    packages: application.packages?.map((one) => ({
      description: "",
      hosting: "first" as const,
      extra_files: [],
      channels_blacklist: [],
      ...one,
    })),
    channels: application.channels?.map((one) => ({ floors: [], ...one })),
    groups: application.groups?.map((one) => ({
      description: "",
      strategy: null,
      maintenance_windows: [],
      freezes: [],
      ...one,
    })),
  }));
  return { applications };
}

function read<S extends z.ZodType>(schema: S, given: unknown, prefix: string): z.output<S> {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const [first] = parsed.error.issues;
  const where = `${prefix}${first?.path.join(".") ?? ""}`;
  throw new CentralFailed(
    `its configuration is not one that this version understands (${where}: ${first?.message}); nothing of it was applied`,
  );
}

/** Null: there is more. */
async function readAtMost(answer: Response, limit: number, stall: Stall | null = null): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    stall?.refresh();
    size += chunk.length;
    // Leaving the loop hangs up.
    if (size > limit) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What it says of why not; as far as it is a Turnout. */
async function refusalOf(answer: Response): Promise<string> {
  const { status } = answer;
  if (status >= 300 && status < 400) {
    await answer.body?.cancel();
    return `it answered ${status}; redirects are not followed`;
  }
  const bytes = await readAtMost(answer, MAX_PROBLEM_BYTES).catch(() => null);
  const detail = z.object({ detail: z.string().max(1_000) }).safeParse(readJson(bytes));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: no log or terminal wants to see them
  const said = detail.success ? `: ${detail.data.detail.replace(/[\u0000-\u001f\u007f]/g, "�")}` : "";
  return `it answered ${status}${said}`;
}

function readJson(bytes: Uint8Array | null): unknown {
  try {
    return JSON.parse(Buffer.from(bytes ?? []).toString("utf8"));
  } catch {
    return null;
  }
}

/** What `fetch` says itself is no more than that it failed. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (error instanceof Error && error.cause !== undefined) return reasonOf(error.cause);
  return error instanceof Error ? error.message : String(error);
}
