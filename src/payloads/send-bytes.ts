/** Part of a file, to a client: one buffer for a download, filled again when the kernel has taken it. */
import type { FileHandle } from "node:fs/promises";
import type { Response } from "express";
import { paced, type Rate } from "./rate.ts";

const SMALLEST_BUFFER = 64 * 2 ** 10;
const LARGEST_BUFFER = 2 ** 20;
/** Of all downloads together, unless they are very many. */
const BUFFERS = 32 * 2 ** 20;

export interface Bytes {
  readonly start: number;
  /** The last one. */
  readonly end: number;
}

/**
 * @param openDownloads the more there are, the smaller their buffers
 * @returns how many bytes went; less than all when the client has gone away
 * @throws Error when the file is shorter than it should be, or can't be read
 */
export async function sendBytes(
  file: FileHandle,
  { start, end }: Bytes,
  response: Response,
  rate: Rate | null,
  openDownloads: number,
): Promise<number> {
  const size = rate === null ? Math.min(LARGEST_BUFFER, BUFFERS / Math.max(1, openDownloads)) : SMALLEST_BUFFER;
  const buffer = Buffer.allocUnsafeSlow(Math.min(Math.max(SMALLEST_BUFFER, Math.floor(size)), end - start + 1));
  let gone = response.destroyed;
  let wake = () => {};
  response.once("close", () => {
    gone = true;
    wake();
  });
  let at = start;
  while (at <= end) {
    await paced(rate, Math.min(buffer.length, end - at + 1));
    if (gone) break;
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - at + 1), at);
    if (bytesRead === 0) throw new Error(`the file ends at ${at}, not at ${end + 1}`);
    if (gone) break;
    await new Promise<void>((taken) => {
      wake = taken;
      response.write(bytesRead === buffer.length ? buffer : buffer.subarray(0, bytesRead), () => taken());
    });
    if (gone) break;
    at += bytesRead;
  }
  if (!gone) response.end();
  return at - start;
}
