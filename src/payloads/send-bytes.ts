/** Part of a file, to a client: one buffer for a download, filled again when the kernel has taken it. */
import type { FileHandle } from "node:fs/promises";
import type { Response } from "express";
import { paced, type Rate } from "./rate.ts";
import { giveBack, takeBuffer } from "./send-buffers.ts";

export interface Bytes {
  readonly start: number;
  /** The last one. */
  readonly end: number;
}

/** Where downloads share a rate, none takes more at once. */
const PACED_BYTES = 64 * 2 ** 10;

/**
 * @returns how many bytes went; less than all when the client has gone away
 * @throws Error when the file is shorter than it should be, or can't be read
 */
export async function sendBytes(
  file: FileHandle,
  { start, end }: Bytes,
  response: Response,
  rate: Rate | null,
): Promise<number> {
  const buffer = takeBuffer(rate === null ? end - start + 1 : Math.min(PACED_BYTES, end - start + 1));
  let gone = response.destroyed;
  let wake = () => {};
  const left = new Promise<void>((resolve) => {
    response.once("close", () => {
      gone = true;
      wake();
      resolve();
    });
  });
  let at = start;
  try {
    while (at <= end && !gone) {
      const wanted = Math.min(buffer.length, end - at + 1);
      if (rate !== null) await Promise.race([paced(rate, wanted), left]);
      if (gone) break;
      const { bytesRead } = await file.read(buffer, 0, wanted, at);
      if (bytesRead === 0) throw new Error(`the file ends at ${at}, not at ${end + 1}`);
      if (gone) break;
      await new Promise<void>((taken) => {
        wake = taken;
        response.write(bytesRead === buffer.length ? buffer : buffer.subarray(0, bytesRead), () => taken());
      });
      if (!gone) at += bytesRead;
    }
  } finally {
    giveBack(buffer, !gone);
  }
  if (!gone) response.end();
  return at - start;
}
