/**
 * Part of a file, to a client. Bytes go through one buffer a download, filled again when the kernel has taken it; where the kernel
 * can take them from the file by itself, they do so until the socket is full, and the next buffer waits until it isn't.
 */
import type { FileHandle } from "node:fs/promises";
import type { Response } from "express";
import { paced, type Rate } from "./rate.ts";
import { giveBack, SMALL_BYTES, takeBuffer } from "./send-buffers.ts";
import { Sendfile } from "./sendfile.ts";

export interface Bytes {
  readonly start: number;
  /** The last one. */
  readonly end: number;
}

export interface Way {
  /** Shared with all other downloads; null: as fast as it goes. */
  readonly rate: Rate | null;
  /** Whether the kernel may be asked to do it. */
  readonly sendfile: boolean;
}

/** It has fewer bytes than it should. */
export class FileTooShort extends Error {
  override readonly name = "FileTooShort";
}

/**
 * @returns how many bytes went; less than all when the client has gone away
 * @throws FileTooShort
 * @throws Error when the file can't be read
 */
export async function sendBytes(
  file: FileHandle,
  { start, end }: Bytes,
  response: Response,
  { rate, sendfile }: Way,
): Promise<number> {
  const count = end - start + 1;
  // What is small is not worth a second way, and what is shared out goes in small parts.
  const direct = sendfile && rate === null && count > SMALL_BYTES ? await Sendfile.to(response.socket) : null;
  const buffer = takeBuffer(rate === null && direct === null ? count : Math.min(SMALL_BYTES, count));
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
      const most = rate === null ? buffer.length : Math.min(buffer.length, rate.part);
      const wanted = Math.min(most, end - at + 1);
      if (rate !== null) await Promise.race([paced(rate, wanted), left]);
      if (gone) break;
      const { bytesRead } = await file.read(buffer, 0, wanted, at);
      if (bytesRead === 0) throw new FileTooShort(`the file ends at ${at}, not at ${end + 1}`);
      if (gone) break;
      await new Promise<void>((taken) => {
        wake = taken;
        response.write(bytesRead === buffer.length ? buffer : buffer.subarray(0, bytesRead), () => taken());
      });
      if (gone) break;
      at += bytesRead;
      if (direct !== null) at += await direct.fill(file.fd, at, end - at + 1, () => isAlive(response));
    }
  } finally {
    giveBack(buffer, !gone);
    direct?.close();
  }
  if (!gone) response.end();
  return at - start;
}

/** What the kernel sends doesn't show in Node's socket, which would take the client for a dead one. */
function isAlive({ socket }: Response): void {
  socket?.setTimeout(socket.timeout ?? 0);
}
