/** Files as they come in: gathered beside the others, hashed and looked through on the way, refused as soon as it shows. */
import { createHash, type Hash, type KeyObject } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { PackageFile } from "../rollout/model/configuration.ts";
import { fits, type HostedFile } from "../store/hosted.ts";
import type { Blobs } from "./blobs.ts";
import { PayloadReader, WrongPayload } from "./format.ts";

/** What a package says of a file that it wants. */
export interface WantedFile extends PackageFile {
  readonly packageId: string;
  /** In hexadecimal; null or absent: nobody says. */
  readonly sha512?: string | null;
  /** It must be a payload that update_engine takes. */
  readonly isPayload: boolean;
  /** That it must be signed with; null: nobody looks. */
  readonly key: KeyObject | null;
  /** The same, as the application has it. */
  readonly payloadKey: string | null;
}

/** Which part of it comes now. */
export interface Piece {
  readonly from: number;
  /** How many bytes the whole file has; null: it ends where the piece ends. */
  readonly total: number | null;
}

export type Content = Omit<HostedFile, "name">;

export type Arrived =
  | { readonly whole: false; readonly received: number }
  /** On disk, and what was wanted; not yet in its place. */
  | { readonly whole: true; readonly path: string; readonly content: Content };

/** It can't be taken; the message says why, and what would be right. */
export class UploadRefused extends Error {
  override readonly name = "UploadRefused";
  readonly status: 400 | 409 | 413 | 422 | 503 | 507;
  /** What is here of it, so that the rest can follow. */
  readonly received: number | null;

  constructor(status: UploadRefused["status"], message: string, received: number | null = null) {
    super(message);
    this.status = status;
    this.received = received;
  }
}

/** These bytes are not what was wanted; another copy of the file may be. */
export class WrongBytes extends UploadRefused {}

/** These bytes are what was wanted, and that is not what nodes would take: another copy would be the same. */
class RefusedContent extends UploadRefused {}

/** Larger than any image; for packages that don't say how large their file is. */
const MOST_BYTES = 64 * 2 ** 30;
/** How often to look whether there is still room: many uploads at once must not use up what stays free. */
const LOOK_EVERY = 2 ** 20;
const READ_BYTES = 2 ** 20;

export class Uploads {
  readonly #blobs: Blobs;
  readonly #reserve: number;
  /** Paths of what is being gathered. */
  readonly #busy = new Set<string>();
  /** Why not, by what was wanted. */
  readonly #refused = new Map<string, string>();

  /** @param reserve bytes that stay free on the disk */
  constructor(blobs: Blobs, reserve: number) {
    this.#blobs = blobs;
    this.#reserve = reserve;
  }

  /**
   * Has the file to itself as long as `work` takes.
   * @throws UploadRefused when somebody else has it
   */
  async alone<T>({ packageId, name }: { packageId: string; name: string }, work: () => Promise<T>): Promise<T> {
    const path = this.#blobs.uploadOf(packageId, name);
    if (this.#busy.has(path)) {
      throw new UploadRefused(
        409,
        `${name} is being uploaded by somebody else right now; ask again when that has ended`,
      );
    }
    this.#busy.add(path);
    try {
      return await work();
    } finally {
      this.#busy.delete(path);
    }
  }

  isBusy(path: string): boolean {
    return this.#busy.has(path);
  }

  /**
   * Why a file is not taken that came whole with its SHA-256 since this process began: it would be the same again. Null: it may be.
   */
  whyRefused(wanted: WantedFile): string | null {
    return this.#refused.get(identityOf(wanted)) ?? null;
  }

  /**
   * Takes a piece. To be called within `alone`. What has come of a piece that breaks off stays, to be gone on from.
   * @throws UploadRefused
   */
  async receive(wanted: WantedFile, piece: Piece, body: AsyncIterable<Buffer>): Promise<Arrived> {
    const total = this.#expectedBytes(wanted, piece);
    const path = this.#blobs.uploadOf(wanted.packageId, wanted.name);
    const present = (await this.#blobs.receivedOf(wanted.packageId, wanted.name)) ?? 0;
    if (piece.from !== 0 && piece.from !== present) {
      throw new UploadRefused(409, `${present} bytes of ${wanted.name} are here; go on from there`, present);
    }
    try {
      await this.#checkRoom((total ?? 0) - piece.from);
      const file = await open(path, piece.from === 0 ? "w+" : "r+", 0o600);
      try {
        return await this.#take(file, path, wanted, { from: piece.from, total }, body);
      } finally {
        await file.close();
      }
    } catch (error) {
      throw await this.#refusal(error, wanted);
    }
  }

  /** What the file will have by its package and by who brings it. @throws UploadRefused when these differ */
  #expectedBytes({ name, sizeBytes }: WantedFile, { total }: Piece): number | null {
    const said = sizeBytes === 0 ? null : sizeBytes;
    if (said !== null && total !== null && said !== total) {
      const kind = total > said ? 413 : 422;
      throw new UploadRefused(kind, `${name} has ${said} bytes by its package, not ${total}`);
    }
    const expected = said ?? total;
    if ((expected ?? 0) > MOST_BYTES) throw new UploadRefused(413, `a file can't have more than ${MOST_BYTES} bytes`);
    return expected;
  }

  async #take(
    file: FileHandle,
    path: string,
    wanted: WantedFile,
    { from, total }: Piece,
    body: AsyncIterable<Buffer>,
  ): Promise<Arrived> {
    const reading = new Reading(wanted);
    for await (const chunk of firstBytes(file, from)) reading.update(chunk);
    let [at, looked] = [from, from];
    try {
      for await (const chunk of body) {
        if (at + chunk.length > (total ?? MOST_BYTES)) {
          throw new WrongBytes(413, `${wanted.name} has ${total ?? MOST_BYTES} bytes at most, and more came`);
        }
        reading.update(chunk);
        await writeAll(file, chunk, at);
        at += chunk.length;
        if (at - looked >= LOOK_EVERY) {
          await this.#checkRoom(0);
          looked = at;
        }
      }
    } finally {
      // Also of what broke off: it is gone on from as it is on disk.
      await file.sync();
    }
    if (total !== null && at < total) return { whole: false, received: at };
    try {
      return { whole: true, path, content: reading.end(at) };
    } catch (error) {
      if (error instanceof RefusedContent) this.#refused.set(identityOf(wanted), error.message);
      throw error;
    }
  }

  /** The database needs room, too: uploads stop before the disk is full. */
  async #checkRoom(bytes: number): Promise<void> {
    const room = (await this.#blobs.free()) - this.#reserve;
    if (bytes <= room) return;
    throw new UploadRefused(
      507,
      `there is no room for it: ${Math.max(0, room)} bytes may still be written (TURNOUT_DISK_RESERVE stays free)` +
        (bytes > 0 ? `, and ${bytes} would come` : ""),
    );
  }

  /** What a failure is to whoever uploads; what can't be gone on from, and what fills the disk, is thrown away. */
  async #refusal(error: unknown, { packageId, name }: WantedFile): Promise<unknown> {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const isFull = code === "ENOSPC" || code === "EDQUOT";
    const isWrong = error instanceof WrongPayload || (error instanceof UploadRefused && error.status !== 507);
    // Somebody else is filling the disk: the database needs the room more than a file that can come again.
    const isShort = (await this.#blobs.free()) < this.#reserve / 2;
    if (isFull || isWrong || isShort) await this.#blobs.dropUpload(packageId, name);
    if (error instanceof WrongPayload) return new WrongBytes(422, refusalOf(name, error));
    if (isFull) return new UploadRefused(507, "the disk is full; nothing of the file was kept");
    if (["EIO", "EROFS", "EACCES", "EMFILE", "ENFILE"].includes(code)) {
      return new UploadRefused(503, `files can't be written now (${code})`);
    }
    if (code === "ECONNRESET" || code === "ERR_STREAM_PREMATURE_CLOSE") {
      return new UploadRefused(400, `the upload of ${name} broke off`, await this.#blobs.receivedOf(packageId, name));
    }
    return error;
  }
}

/** All that is found out about a file while it goes by. */
class Reading {
  readonly #wanted: WantedFile;
  readonly #sha1 = createHash("sha1");
  readonly #sha256 = createHash("sha256");
  readonly #sha512: Hash | null;
  readonly #payload: PayloadReader | null;

  constructor(wanted: WantedFile) {
    this.#wanted = wanted;
    this.#sha512 = wanted.sha512 ? createHash("sha512") : null;
    this.#payload = wanted.isPayload ? new PayloadReader(wanted.key) : null;
  }

  update(chunk: Buffer): void {
    this.#payload?.update(chunk);
    this.#sha1.update(chunk);
    this.#sha256.update(chunk);
    this.#sha512?.update(chunk);
  }

  /** @throws UploadRefused, WrongPayload when it is not the file that the package wants */
  end(sizeBytes: number): Content {
    const content = { sizeBytes, sha1: this.#sha1.digest("hex"), sha256: this.#sha256.digest("hex") };
    const { name, sha1, sha256 } = this.#wanted;
    if (sizeBytes === 0) throw new UploadRefused(422, `${name} is empty`);
    if (!fits(content, { ...this.#wanted, sha1: null })) {
      throw new WrongBytes(422, `${name} has the SHA-256 ${content.sha256}; its package says ${sha256}`);
    }
    if (!fits(content, this.#wanted)) {
      const given = Buffer.from(content.sha1, "hex").toString("base64");
      throw new WrongBytes(422, `${name} has the SHA-1 ${given}; its package says ${sha1}`);
    }
    const sha512 = this.#sha512?.digest("hex") ?? null;
    if (sha512 !== null && sha512 !== this.#wanted.sha512) {
      throw new WrongBytes(422, `${name} has the SHA-512 ${sha512}; its digests say ${this.#wanted.sha512}`);
    }
    try {
      this.#payload?.end();
    } catch (error) {
      if (error instanceof WrongPayload && sha256 !== null) throw new RefusedContent(422, refusalOf(name, error));
      throw error;
    }
    return content;
  }
}

function identityOf({ name, sha256, isPayload, payloadKey }: WantedFile): string {
  return JSON.stringify([name, sha256, isPayload, payloadKey]);
}

function refusalOf(name: string, { message }: WrongPayload): string {
  return `${name} was refused: ${message}`;
}

async function* firstBytes(file: FileHandle, bytes: number): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, bytes));
  for (let at = 0; at < bytes; ) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, bytes - at), at);
    if (bytesRead === 0) throw new Error("the upload has become shorter meanwhile");
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function writeAll(file: FileHandle, chunk: Buffer, position: number): Promise<void> {
  for (let written = 0; written < chunk.length; ) {
    const { bytesWritten } = await file.write(chunk, written, chunk.length - written, position + written);
    written += bytesWritten;
  }
}
