/** A file's bytes, from the first place that has them. */
import type { Payloads } from "../payloads/payloads.ts";
import { type Arrived, type UploadRefused, type WantedFile, WrongBytes } from "../payloads/uploads.ts";
import { type Source, SourceFailed } from "./release.ts";

export interface Receiving {
  readonly payloads: Pick<Payloads, "blobs" | "uploads">;
  readonly file: WantedFile;
  /** In the order to try. */
  readonly sources: readonly Source[];
  readonly signal: AbortSignal;
  /** What is here of it, as it comes. */
  readonly onBytes: (received: number) => void;
}

type Whole = Extract<Arrived, { readonly whole: true }>;

/**
 * To be called within `alone`. Where one place breaks off the next goes on, and where one has something else the next begins anew.
 * @throws SourceFailed, UploadRefused with all that was tried
 */
export async function receive(receiving: Receiving): Promise<Whole> {
  const failures: (SourceFailed | UploadRefused)[] = [];
  for (const source of receiving.sources) {
    try {
      return await receiveFrom(source, receiving);
    } catch (error) {
      const isTheirs = error instanceof SourceFailed || error instanceof WrongBytes;
      if (!isTheirs || receiving.signal.aborted) throw error;
      failures.push(
        error instanceof WrongBytes ? new WrongBytes(error.status, `${source.place}: ${error.message}`) : error,
      );
    }
  }
  const [only] = failures;
  if (only !== undefined && failures.length === 1) throw only;
  const reasons = failures.map(({ message }) => message).join("; ");
  throw new SourceFailed(reasons || `nobody says where ${receiving.file.name} is`);
}

async function receiveFrom(source: Source, receiving: Receiving): Promise<Whole> {
  const begun = await begunOf(receiving);
  try {
    return await goOn(source, receiving, begun);
  } catch (error) {
    if (!(error instanceof WrongBytes) || begun === 0) throw error;
    // What was here already may have been what is wrong, and not this place's.
    return goOn(source, receiving, 0);
  }
}

/** Where nobody knows how large it is, nobody knows whether what is here is all of it. */
async function begunOf({ payloads: { blobs }, file }: Receiving): Promise<number> {
  if (file.sizeBytes === 0) return 0;
  const begun = (await blobs.receivedOf(file.packageId, file.name)) ?? 0;
  return begun > file.sizeBytes ? 0 : begun;
}

async function goOn(source: Source, { payloads, file, signal, onBytes }: Receiving, from: number): Promise<Whole> {
  const total = file.sizeBytes === 0 ? null : file.sizeBytes;
  onBytes(from);
  const body = from === total ? nothing() : counted(() => source.open(from, signal), from, onBytes);
  const arrived = await payloads.uploads.receive(file, { from, total }, body);
  if (arrived.whole) return arrived;
  throw new SourceFailed(`${source.place} broke off after ${arrived.received} of ${file.sizeBytes} bytes`);
}

async function* nothing(): AsyncGenerator<Buffer> {}

/** Nobody is asked before somebody reads it: an answer that is never read would be held open. */
async function* counted(open: () => ReturnType<Source["open"]>, from: number, report: (received: number) => void) {
  let received = from;
  for await (const chunk of await open()) {
    yield chunk;
    received += chunk.length;
    report(received);
  }
}
