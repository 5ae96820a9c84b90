/** Whether a file is where nodes will be sent for it, without fetching it: for releases whose files are not kept here. */
import type { PackageFile } from "../rollout/model.ts";
import { type Answered, type Http, shown } from "./http.ts";
import { SourceFailed } from "./release.ts";

/** For each file, with its redirects. */
const ANSWER_MS = 30_000;

export interface Place {
  /** Of the release's files; ends with a slash. */
  readonly url: string;
  readonly privateAddresses: boolean;
}

/**
 * Asks with HEAD, and where that says nothing certain (servers refuse it, or leave the length out) for one byte with GET.
 * @throws SourceFailed when it is not there, or of another length
 */
export async function probe(http: Http, place: Place, file: PackageFile, signal: AbortSignal): Promise<void> {
  const address = `${place.url}${file.name}`;
  const ask = async (method: "HEAD" | "GET", range: Record<string, string>) => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
    const headers = { "Accept-Encoding": "identity", ...range };
    const { privateAddresses } = place;
    const answer = await http.ask(address, { method, headers, privateAddresses, signal: limit });
    // Whoever answers a question for one byte with all of them is not listened to.
    answer.body.on("error", () => undefined).destroy();
    return answer;
  };
  const head = await ask("HEAD", {});
  if (head.status === 200 && lengthOf(head) === file.sizeBytes) return;
  const answer = await ask("GET", { Range: "bytes=0-0" });
  if (answer.status !== 200 && answer.status !== 206) {
    throw new SourceFailed(`${shown(new URL(address))}, where nodes would get it, answers ${answer.status}`);
  }
  const length = lengthOf(answer);
  // A server that doesn't say is taken at its word: the file is there.
  if (length === null || length === file.sizeBytes) return;
  throw new SourceFailed(
    `${shown(new URL(address))}, where nodes would get it, has ${length} bytes; ${file.sizeBytes} are expected`,
  );
}

/** Of the whole file; null: the answer doesn't say. */
function lengthOf({ status, headers }: Answered): number | null {
  const text = status === 206 ? /\/(\d+)$/.exec(String(headers["content-range"]))?.[1] : headers["content-length"];
  return text === undefined ? null : Number(text);
}
