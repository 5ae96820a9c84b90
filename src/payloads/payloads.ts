/** The files that this server keeps, and everything that may be done to them. One for a data directory. */
import { Blobs } from "./blobs.ts";
import { type Arrived, Uploads } from "./uploads.ts";

export interface PayloadsOptions {
  readonly folder: string;
  /** Bytes that uploads leave free on the disk. */
  readonly reserve: number;
}

export class Payloads {
  readonly blobs: Blobs;
  readonly uploads: Uploads;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(blobs: Blobs, uploads: Uploads) {
    this.blobs = blobs;
    this.uploads = uploads;
  }

  static async open({ folder, reserve }: PayloadsOptions): Promise<Payloads> {
    const blobs = await Blobs.open(folder);
    return new Payloads(blobs, new Uploads(blobs, reserve));
  }

  /** One at a time: a file and the row that says it is there come and go together, and no collector comes in between. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  /** Gives a whole file its place, and then lets `record` say so; when that fails, the upload is as it was before. */
  publish<T>({ path, content }: Extract<Arrived, { whole: true }>, record: () => Promise<T>): Promise<T> {
    return this.exclusive(async () => {
      const present = await this.blobs.has(content.sha256);
      await this.blobs.place(path, content.sha256);
      try {
        return await record();
      } catch (error) {
        if (!present) await this.blobs.unplace(content.sha256, path);
        throw error;
      }
    });
  }
}
