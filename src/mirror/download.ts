/**
 * Files as they come from a web server into a directory: gone on with where they broke off, also the day after, and with their
 * name only when they are whole and on disk.
 */
import { mkdir, open, rename, rm, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Agent, EnvHttpProxyAgent, interceptors, request } from "undici";
import { contentOf } from "./directory.ts";
import { MirrorError } from "./keys.ts";

export interface Wanted {
  /** In the order in which they are tried. */
  readonly urls: readonly string[];
  /** Where it goes. */
  readonly path: string;
  readonly size: number;
  /** In hexadecimal; null: nobody says. At least one of them is there. */
  readonly sha1: string | null;
  readonly sha256: string | null;
}

export interface Content {
  readonly size: number;
  readonly sha1: string;
  readonly sha256: string;
}

export interface Downloads {
  /**
   * @param onBytes how many more of it are here; fewer when it has to begin again
   * @throws MirrorError with all that was tried
   */
  fetch(wanted: Wanted, onBytes: (bytes: number) => void): Promise<Content & { readonly fresh: boolean }>;
  /** @throws MirrorError */
  post(url: string, body: string): Promise<string>;
  close(): Promise<void>;
}

const CONNECT_MS = 30_000;
/** A transfer that stands still for so long has broken off. */
const STALL_MS = 90_000;
const MAX_ANSWER_BYTES = 4 * 2 ** 20;
/** In a row, without a byte that was not there before. */
const TRIES = 5;

/** This URL does not have it: trying it again won't help. */
class NotThere extends Error {}

/** @param wait between two tries, in milliseconds */
export function downloads(wait: (ms: number) => Promise<unknown>): Downloads {
  const patience = { headersTimeout: STALL_MS, bodyTimeout: STALL_MS, connect: { timeout: CONNECT_MS } };
  const proxied = ["http_proxy", "https_proxy"].some((name) => process.env[name] ?? process.env[name.toUpperCase()]);
  const agent = proxied ? new EnvHttpProxyAgent(patience) : new Agent(patience);
  const dispatcher = agent.compose(interceptors.redirect({ maxRedirections: 5 }));

  /** Appends what is missing; resolves when the server has nothing more to say. */
  async function goOn(url: string, part: string, size: number, onBytes: (bytes: number) => void): Promise<void> {
    const file = await open(part, "a", 0o644);
    try {
      let at = (await file.stat()).size;
      if (at > size) {
        await file.truncate(0);
        onBytes(-at);
        at = 0;
      }
      if (at === size) return;
      const headers = { accept: "*/*", ...(at > 0 && { range: `bytes=${at}-` }) };
      const { statusCode, headers: said, body } = await request(url, { dispatcher, headers });
      try {
        if (statusCode === 200 && at > 0) {
          await file.truncate(0);
          onBytes(-at);
          at = 0;
        } else if (statusCode === 206 && rangeStart(said["content-range"]) !== at) {
          throw new NotThere("it sends another part than was asked for");
        } else if (statusCode !== 200 && statusCode !== 206) {
          const message = `HTTP ${statusCode}`;
          throw statusCode >= 500 || statusCode === 429 || statusCode === 408
            ? new Error(message)
            : new NotThere(message);
        }
        for await (const chunk of body as AsyncIterable<Buffer>) {
          if (at + chunk.length > size) throw new NotThere(`it has more than the ${size} bytes that it should have`);
          await writeAll(file, chunk);
          at += chunk.length;
          onBytes(chunk.length);
        }
      } finally {
        body.destroy();
      }
      await file.sync();
      if (at < size) throw new Error(`it broke off after ${at} of ${size} bytes`);
    } finally {
      await file.close();
    }
  }

  /** @throws NotThere, or what the last try has said */
  async function insist(url: string, part: string, size: number, onBytes: (bytes: number) => void): Promise<void> {
    let most = (await sizeOf(part)) ?? 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await goOn(url, part, size, onBytes);
      } catch (error) {
        if (error instanceof NotThere || isOfTheDisk(error)) throw error;
        const here = (await sizeOf(part)) ?? 0;
        if (here > most) attempt = 0;
        else if (attempt >= TRIES) throw error;
        most = Math.max(most, here);
        await wait(1000 * 2 ** attempt);
      }
    }
  }

  return {
    async fetch(wanted, onBytes) {
      const { path, size, urls } = wanted;
      try {
        const here = await present(path, size);
        if (here !== null && differenceOf(here, wanted) === null) {
          onBytes(size);
          return { ...here, fresh: false };
        }
        await mkdir(dirname(path), { recursive: true });
        const part = partOf(wanted);
        const begun = (await sizeOf(part)) ?? 0;
        await checkRoom(dirname(path), size - begun, basename(path));
        onBytes(begun);
        const reasons: string[] = [];
        for (const url of urls) {
          try {
            await insist(url, part, size, onBytes);
            const content = await contentOf(part, () => {});
            const difference = differenceOf(content, wanted);
            if (difference !== null) {
              await rm(part, { force: true });
              onBytes(-size);
              throw new NotThere(difference);
            }
            await rename(part, path);
            await syncFolder(dirname(path));
            return { ...content, fresh: true };
          } catch (error) {
            if (isOfTheDisk(error)) throw error;
            reasons.push(`${url}: ${reasonOf(error)}`);
          }
        }
        throw new MirrorError(`${path} can't be had: ${reasons.join("; ") || "nobody says where it is"}`);
      } catch (error) {
        if (isOfTheDisk(error)) throw new MirrorError(`${path} can't be written: ${reasonOf(error)}`);
        throw error;
      }
    },
    async post(url, body) {
      try {
        const headers = { "content-type": "text/xml", accept: "*/*" };
        const answer = await request(url, { dispatcher: agent, method: "POST", headers, body });
        const chunks: Buffer[] = [];
        let bytes = 0;
        for await (const chunk of answer.body as AsyncIterable<Buffer>) {
          bytes += chunk.length;
          if (bytes > MAX_ANSWER_BYTES) throw new Error(`it answers with more than ${MAX_ANSWER_BYTES} bytes`);
          chunks.push(chunk);
        }
        if (answer.statusCode !== 200) throw new Error(`HTTP ${answer.statusCode}`);
        return Buffer.concat(chunks).toString("utf8");
      } catch (error) {
        throw new MirrorError(`${url} can't be asked: ${reasonOf(error)}`);
      }
    },
    close: () => agent.destroy(),
  };
}

/** Another file of this name begins anew. */
function partOf({ path, sha1, sha256, size }: Wanted): string {
  return join(dirname(path), `.${basename(path)}.${(sha256 ?? sha1 ?? "").slice(0, 16)}-${size}.part`);
}

async function present(path: string, size: number): Promise<Content | null> {
  return (await sizeOf(path)) === size ? contentOf(path, () => {}) : null;
}

function differenceOf(content: Content, { size, sha1, sha256 }: Wanted): string | null {
  if (content.size !== size) return `it has ${content.size} bytes, not ${size}`;
  if (sha256 !== null && content.sha256 !== sha256) return `it has the SHA-256 ${content.sha256}, not ${sha256}`;
  return sha1 !== null && content.sha1 !== sha1 ? `it has the SHA-1 ${content.sha1}, not ${sha1}` : null;
}

/** Some room is left for what else lives there. */
const RESERVE = 2 ** 20;

async function checkRoom(folder: string, bytes: number, name: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const room = bavail * bsize - RESERVE;
  if (bytes > room)
    throw new MirrorError(
      `there is no room for ${name}: ${Math.max(0, room)} bytes are free in ${folder}, and ${bytes} would come`,
    );
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export async function sizeOf(path: string): Promise<number | null> {
  const here = await stat(path).catch(() => null);
  return here?.isFile() ? here.size : null;
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, chunk: Buffer): Promise<void> {
  for (let written = 0; written < chunk.length; ) {
    written += (await file.write(chunk, written, chunk.length - written)).bytesWritten;
  }
}

const OF_THE_DISK: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full; make room and run it again, it goes on where it was",
  EDQUOT: "the quota is used up; make room and run it again, it goes on where it was",
  EFBIG: "the file system or a limit takes no files that large",
  EROFS: "the file system is read-only",
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EIO: "the disk fails (EIO)",
  ENOTDIR: "there is a file where a folder should be",
  EISDIR: "there is a folder where the file should be",
};

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function isOfTheDisk(error: unknown): boolean {
  return codeOf(error) in OF_THE_DISK;
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return OF_THE_DISK[codeOf(error)] ?? (error instanceof Error ? error.message : String(error));
}

function rangeStart(contentRange: string | string[] | undefined): number | null {
  const start = /^bytes (\d+)-/.exec(String(contentRange))?.[1];
  return start === undefined ? null : Number(start);
}
