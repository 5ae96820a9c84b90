/**
 * Downloads as nodes do them: update_engine's of the payload, from one URL after the other, going on with `Range` after it broke
 * off; and ue-rs's of the OEM image, from the first URL, without. Source: CLIENTS.md §1.1, §1.5 and §3.
 */
import { createHash } from "node:crypto";
import { Agent, request } from "undici";
import type { ExtraFile, Offer } from "./answer.ts";
import type { Random } from "./random.ts";

export interface Downloaded {
  /** update_engine's code; null: it is whole. */
  readonly errorCode: number | null;
  /** What belongs to it could not be fetched, or was not what it should be. */
  readonly extraFailed: boolean;
  readonly bytes: number;
  readonly resumed: number;
}

export interface Downloader {
  /** Never rejects. @param random breaks every other download off in its middle */
  fetch(offer: Offer, oem: string, random: Random): Promise<Downloaded>;
  close(): Promise<void>;
}

/** As update_engine waits. */
const CONNECT_MS = 30_000;
const STALL_MS = 90_000;

const TRANSFER_FAILED = 9;
const WRONG_HASH = 10;
const WRONG_SIZE = 11;

interface Got {
  readonly bytes: number;
  readonly sha1: Buffer;
  readonly sha256: Buffer;
  readonly resumed: boolean;
}

export function downloader(connections: number): Downloader {
  const agent = new Agent({
    connections,
    connect: { timeout: CONNECT_MS },
    headersTimeout: STALL_MS,
    bodyTimeout: STALL_MS,
  });

  /** @param breakAt after so many bytes it breaks off, and goes on. Null: it can't be had. */
  async function get(url: string, breakAt: number): Promise<Got | null> {
    const [sha1, sha256] = [createHash("sha1"), createHash("sha256")];
    let bytes = 0;
    let resumed = false;
    const part = async (until: number): Promise<boolean> => {
      const headers = { accept: "*/*", ...(bytes > 0 && { range: `bytes=${bytes}-` }) };
      const { statusCode, headers: said, body } = await request(url, { dispatcher: agent, headers });
      const begins =
        bytes === 0 ? statusCode === 200 : statusCode === 206 && rangeStart(said["content-range"]) === bytes;
      if (!begins) {
        await body.dump();
        return false;
      }
      for await (const chunk of body as AsyncIterable<Buffer>) {
        const piece = chunk.subarray(0, until - bytes);
        sha1.update(piece);
        sha256.update(piece);
        bytes += piece.length;
        if (bytes >= until) break;
      }
      return true;
    };
    try {
      if (breakAt > 0) {
        resumed = await part(breakAt);
        if (!resumed) return null;
      }
      if (!(await part(Number.POSITIVE_INFINITY))) return null;
      return { bytes, sha1: sha1.digest(), sha256: sha256.digest(), resumed };
    } catch {
      return null;
    }
  }

  async function payload(offer: Offer, random: Random): Promise<Omit<Downloaded, "extraFailed">> {
    for (const codebase of offer.codebases) {
      const breakAt = random() < 0.5 ? Math.floor(random() * offer.sizeBytes) : 0;
      const got = await get(joined(codebase, offer.packageName), breakAt);
      if (got === null) continue;
      const { bytes } = got;
      const wrong = bytes !== offer.sizeBytes ? WRONG_SIZE : WRONG_HASH;
      const right = bytes === offer.sizeBytes && got.sha256.toString("base64") === offer.sha256;
      return { errorCode: right ? null : wrong, bytes, resumed: Number(got.resumed) };
    }
    return { errorCode: TRANSFER_FAILED, bytes: 0, resumed: 0 };
  }

  async function extra(offer: Offer, file: ExtraFile): Promise<number | null> {
    const got = await get(joined(offer.codebases[0] ?? "", file.name), 0);
    if (got === null) return null;
    const right =
      file.sha256 === null ? got.sha1.toString("base64") === file.sha1 : got.sha256.toString("hex") === file.sha256;
    return right ? got.bytes : null;
  }

  return {
    async fetch(offer, oem, random) {
      const main = await payload(offer, random);
      const image = offer.extraFiles.find(({ name }) => name.endsWith(`oem-${oem}.gz`));
      if (main.errorCode !== null || oem === "" || image === undefined) return { ...main, extraFailed: false };
      const bytes = await extra(offer, image);
      return { ...main, bytes: main.bytes + (bytes ?? 0), extraFailed: bytes === null };
    },
    close: () => agent.destroy(),
  };
}

function joined(codebase: string, name: string): string {
  return `${codebase}${codebase.endsWith("/") ? "" : "/"}${name}`;
}

function rangeStart(contentRange: string | string[] | undefined): number | null {
  const start = /^bytes (\d+)-/.exec(String(contentRange))?.[1];
  return start === undefined ? null : Number(start);
}
