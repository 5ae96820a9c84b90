/** Whether a file is where nodes will be sent for it, without fetching it: for releases whose files are not kept here. */
import type { PackageFile } from "../rollout/model/configuration.ts";
import { type Answered, type Http, hangUp, shown } from "./http.ts";
import { SourceFailed } from "./release.ts";

/** For each file, with its redirects. */
const ANSWER_MS = 30_000;

export interface Place {
  /** Of the release's files, ending with a slash; or of a file. */
  readonly url: string;
  readonly privateAddresses: boolean;
}

/** @throws SourceFailed when it is not there, or of another length */
export async function probe(http: Http, place: Place, file: PackageFile, signal: AbortSignal): Promise<void> {
  const address = `${place.url}${file.name}`;
  const { status, bytes } = await lengthAt(http, { ...place, url: address }, file.sizeBytes, signal);
  if (status !== 200 && status !== 206) {
    throw new SourceFailed(`${shown(new URL(address))}, where nodes would get it, answers ${status}`);
  }
  // A server that doesn't say is taken at its word: the file is there.
  if (bytes === null || bytes === file.sizeBytes) return;
  throw new SourceFailed(
    `${shown(new URL(address))}, where nodes would get it, has ${bytes} bytes; ${file.sizeBytes} are expected`,
  );
}

/**
 * Asks with HEAD, and where that says nothing certain (servers refuse it, or leave the length out) for one byte with GET.
 * @param expected bytes; null: any
 * @returns as `bytes` those of the whole file; null: the answer doesn't say
 */
export async function lengthAt(
  http: Http,
  { url, privateAddresses }: Place,
  expected: number | null,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly bytes: number | null }> {
  const ask = async (method: "HEAD" | "GET", range: Record<string, string>) => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
    const headers = { "Accept-Encoding": "identity", ...range };
    const answer = await http.ask(url, { method, headers, privateAddresses, signal: limit });
    // Whoever answers a question for one byte with all of them is not listened to.
    hangUp(answer);
    return { status: answer.status, bytes: lengthOf(answer) };
  };
  const head = await ask("HEAD", {});
  const isCertain = expected === null ? (head.bytes ?? 0) > 0 : head.bytes === expected;
  return head.status === 200 && isCertain ? head : ask("GET", { Range: "bytes=0-0" });
}

function lengthOf({ status, headers }: Answered): number | null {
  const text = status === 206 ? /\/(\d+)$/.exec(String(headers["content-range"]))?.[1] : headers["content-length"];
  return text === undefined ? null : Number(text);
}
