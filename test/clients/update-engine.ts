/**
 * Flatcar's update_engine as a reader of answers, and what it remembers of a payload from one check to the next. Source:
 * CLIENTS.md §1.3 and §1.5: what it does not read, this does not look at.
 */
import { atPath, readXml } from "./xml.ts";

export type UpdateEngineReading =
  | {
      readonly kind: "update";
      readonly version: string;
      readonly urls: readonly string[];
      readonly packageName: string;
      readonly size: number;
      /** base64 */
      readonly sha256: string;
      readonly isDelta: boolean;
      readonly disablePayloadBackoff: boolean;
      readonly maxFailureCountPerUrl: number;
      readonly pollInterval: number | null;
    }
  | { readonly kind: "noupdate"; readonly pollInterval: number | null }
  /** An answer to a ping or to an event, of which it wants to know nothing. */
  | { readonly kind: "ignored" }
  /** What it reports as 3/0: 30 empty, 31 not XML, 34 invalid, 2000 + HTTP status. */
  | { readonly kind: "error"; readonly code: number; readonly why: string };

export type UpdateEngineRequest = "check" | "ping" | "event";

export function readAsUpdateEngine(
  request: UpdateEngineRequest,
  answer: { readonly status: number; readonly body: string },
): UpdateEngineReading {
  if (request === "event") return { kind: "ignored" };
  if (answer.status < 200 || answer.status > 299) return error(2000 + answer.status, `HTTP status ${answer.status}`);
  if (answer.body === "") return error(30, "the body is empty");
  const root = readXml(answer.body);
  if (root === null) return error(31, "the body is not well-formed XML");
  if (request === "ping") return { kind: "ignored" };

  // Its XPath knows no namespaces: with one, nothing has the name it looks for.
  const updateCheck = root.attributes.has("xmlns") ? undefined : atPath(root, "response", "app", "updatecheck")[0];
  if (updateCheck === undefined) return error(34, "there is no /response/app/updatecheck");
  const pollInterval = positiveInteger(updateCheck.attributes.get("PollInterval"));
  const status = updateCheck.attributes.get("status");
  if (status === "noupdate") return { kind: "noupdate", pollInterval };
  if (status !== "ok") return error(34, `updatecheck status is "${status}"`);

  const below = (...path: readonly string[]) => atPath(root, "response", "app", "updatecheck", ...path);
  const manifest = below("manifest")[0];
  if (manifest === undefined) return error(34, "there is no manifest");
  const urls = below("urls", "url").map((url) => url.attributes.get("codebase") ?? "");
  if (urls.length === 0 || urls.includes("")) return error(34, "there is no url, or one without codebase");
  const file = below("manifest", "packages", "package")[0];
  const packageName = file?.attributes.get("name") ?? "";
  if (packageName === "") return error(34, "the first package has no name");
  const size = positiveInteger(file?.attributes.get("size"));
  if (size === null) return error(34, "the first package has no size above 0");
  const action = below("manifest", "actions", "action").find((one) => one.attributes.get("event") === "postinstall");
  const sha256 = action?.attributes.get("sha256") ?? "";
  if (sha256 === "") return error(34, "there is no postinstall action with sha256");
  return {
    kind: "update",
    version: manifest.attributes.get("version") ?? "",
    urls,
    packageName,
    size,
    sha256,
    isDelta: action?.attributes.get("IsDeltaPayload") === "true",
    disablePayloadBackoff: action?.attributes.get("DisablePayloadBackoff") === "true",
    maxFailureCountPerUrl: unsigned(action?.attributes.get("MaxFailureCountPerUrl")) ?? 10,
    pollInterval,
  };
}

export type OfferedUpdate = Extract<UpdateEngineReading, { kind: "update" }>;

/** An address counts its failures when the transfer fails; is given up at once when what came is not what was to come. */
const OF_THE_TRANSFER: readonly number[] = [1, 9, 14, 20];
const OF_THE_CONTENT: readonly number[] = [10, 11, 12, 17, 18, 21, 22, 23, 24, 25, 26, 27, 28, 29, 32, 33, 38, 39];

/** Of one node: which of a payload's addresses is next. It tries one with each check. */
export class PayloadState {
  #of = "";
  #index = 0;
  #failures = 0;
  /** Times that it came through all addresses: each puts the next try off by days, unless back-off is disabled. */
  rounds = 0;

  /** Where the payload is fetched from, after this answer. Anything else in it than before, and all failures are forgotten. */
  addressFor(offered: OfferedUpdate): string {
    const { urls, packageName, size, sha256, isDelta, maxFailureCountPerUrl, disablePayloadBackoff } = offered;
    const of = JSON.stringify([urls, size, sha256, isDelta, maxFailureCountPerUrl, disablePayloadBackoff]);
    if (of !== this.#of) {
      this.#of = of;
      this.#index = 0;
      this.#failures = 0;
      this.rounds = 0;
    }
    return `${urls[this.#index]}${packageName}`;
  }

  /** @param code as it reports it, without flags */
  failed({ urls, maxFailureCountPerUrl }: OfferedUpdate, code: number): void {
    if (OF_THE_TRANSFER.includes(code)) this.#failures += 1;
    if (!OF_THE_CONTENT.includes(code) && this.#failures < maxFailureCountPerUrl) return;
    this.#failures = 0;
    this.#index = (this.#index + 1) % urls.length;
    if (this.#index === 0) this.rounds += 1;
  }
}

function error(code: number, why: string): UpdateEngineReading {
  return { kind: "error", code, why };
}

function unsigned(text: string | undefined): number | null {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
}

function positiveInteger(text: string | undefined): number | null {
  const value = /^\d+$/.test(text ?? "") ? Number(text) : 0;
  return value > 0 ? value : null;
}
