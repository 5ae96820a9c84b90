/** Reading what is stored, slowly, to see whether it is still what it was, and what its application wants. */
import { createHash } from "node:crypto";
import type { Blobs } from "./blobs.ts";
import { type PayloadReader, WrongPayload } from "./format.ts";
import { paced, type Rate } from "./rate.ts";

const READ_BYTES = 256 * 2 ** 10;

export interface Reading {
  readonly blobs: Blobs;
  readonly rate: Rate;
  readonly isStopping: () => boolean;
}

export type Judgement =
  | { readonly kind: "good" }
  /** It is no longer what it was. */
  | { readonly kind: "damaged"; readonly why: string }
  /** It is what it was, and no payload that the reader takes. */
  | { readonly kind: "refused"; readonly why: string }
  | { readonly kind: "stopped" };

/** Why what can't be read is no longer what it was; null: another time it may be read. */
export function damageOf(error: unknown): string | null {
  const code = error instanceof Error && "code" in error ? error.code : null;
  if (code === "ENOENT") return "the file is gone";
  return code === "EIO" ? "the disk can't read it" : null;
}

/**
 * @param payload what it must be besides; null: anything
 * @throws Error when it can't be read for now
 */
export async function judge(
  sha256: string,
  payload: PayloadReader | null,
  { blobs, rate, isStopping }: Reading,
): Promise<Judgement> {
  const hash = createHash("sha256");
  let refused: string | null = null;
  const look = (work: (reader: PayloadReader) => void) => {
    if (payload === null || refused !== null) return;
    try {
      work(payload);
    } catch (error) {
      if (!(error instanceof WrongPayload)) throw error;
      refused = error.message;
    }
  };
  try {
    const file = await blobs.read(sha256);
    try {
      const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
      for (let at = 0; ; ) {
        if (isStopping()) return { kind: "stopped" };
        const { bytesRead } = await file.read(buffer, 0, READ_BYTES, at);
        if (bytesRead === 0) break;
        const chunk = buffer.subarray(0, bytesRead);
        hash.update(chunk);
        look((reader) => reader.update(chunk));
        at += bytesRead;
        await paced(rate, bytesRead);
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    const why = damageOf(error);
    if (why === null) throw error;
    return { kind: "damaged", why };
  }
  const found = hash.digest("hex");
  if (found !== sha256) return { kind: "damaged", why: `its SHA-256 is ${found} by now` };
  look((reader) => reader.end());
  return refused === null ? { kind: "good" } : { kind: "refused", why: refused };
}
