/** Flatcar's update_engine as a reader of answers. Source: CLIENTS.md §1.3: what it does not read, this does not look at. */
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
      readonly disablePayloadBackoff: boolean;
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
    disablePayloadBackoff: action?.attributes.get("DisablePayloadBackoff") === "true",
    pollInterval,
  };
}

function error(code: number, why: string): UpdateEngineReading {
  return { kind: "error", code, why };
}

function positiveInteger(text: string | undefined): number | null {
  const value = /^\d+$/.test(text ?? "") ? Number(text) : 0;
  return value > 0 ? value : null;
}
