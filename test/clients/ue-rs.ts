/**
 * ue-rs as a reader of answers: the post-install step hands it the whole answer to pick system extensions out of. Any
 * violation fails the whole document. Source: CLIENTS.md §3, "ue-rs".
 */
import { childrenNamed, readXml, type XmlElement } from "./xml.ts";

export interface UeRsPackage {
  /** The first codebase, joined with the name as URLs are. */
  readonly url: string;
  readonly name: string;
  readonly size: number;
  readonly required: boolean;
}

export type UeRsReading =
  | { readonly kind: "ok"; readonly version: string; readonly packages: readonly UeRsPackage[] }
  | { readonly kind: "error"; readonly why: string };

const UUID = /^(\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i;
const ACTION_EVENTS = ["preinstall", "install", "postinstall", "update"];
const SUCCESS_ACTIONS = ["default", "exitsilently", "exitsilentlyonlaunchcmd"];

class Violation extends Error {}

export function readAsUeRs(body: string): UeRsReading {
  try {
    return readResponse(body);
  } catch (error) {
    if (error instanceof Violation) return { kind: "error", why: error.message };
    throw error;
  }
}

function readResponse(body: string): UeRsReading {
  const root = readXml(body);
  if (root?.name !== "response") throw new Violation("no response element");
  required(root, "protocol");
  const apps = childrenNamed(root, "app");
  const [first] = apps.map(readApp);
  if (first === undefined) throw new Violation("response has no app");
  return { kind: "ok", ...first };
}

function readApp(app: XmlElement): { version: string; packages: UeRsPackage[] } {
  if (!UUID.test(required(app, "appid"))) throw new Violation("appid is no UUID");
  required(app, "status");
  const updateCheck = only(app, "updatecheck");
  required(updateCheck, "status");
  const codebases = childrenNamed(only(updateCheck, "urls"), "url").map(readUrl);
  const manifest = only(updateCheck, "manifest");
  for (const action of childrenNamed(only(manifest, "actions"), "action")) checkAction(action);
  const packages = childrenNamed(only(manifest, "packages"), "package").map((file) => {
    const read = readPackage(file);
    const [codebase] = codebases;
    if (codebase === undefined) throw new Violation("there is no url");
    return { ...read, url: new URL(read.name, codebase).href };
  });
  for (const file of childrenNamed(only(manifest, "packages"), "package").slice(1)) {
    if (!file.attributes.has("hash") && !file.attributes.has("hash_sha256")) {
      throw new Violation(`package ${file.attributes.get("name")} has no hash to check it by`);
    }
  }
  return { version: required(manifest, "version"), packages };
}

function readUrl(url: XmlElement): string {
  if ([...url.attributes.keys()][0] !== "codebase") throw new Violation("codebase is not the first attribute of url");
  const codebase = required(url, "codebase");
  if (!URL.canParse(codebase)) throw new Violation(`codebase "${codebase}" is not an absolute URL`);
  return codebase;
}

function readPackage(file: XmlElement): Omit<UeRsPackage, "url"> {
  const name = required(file, "name");
  const size = required(file, "size");
  if (!/^\d+$/.test(size)) throw new Violation(`package ${name}: size "${size}"`);
  const hash = file.attributes.get("hash");
  if (hash !== undefined) checkBase64(`package ${name}: hash`, hash, 20);
  const sha256 = file.attributes.get("hash_sha256");
  if (sha256 !== undefined && !/^[0-9a-fA-F]{64}$/.test(sha256))
    throw new Violation(`package ${name}: hash_sha256 "${sha256}"`);
  return { name, size: Number(size), required: bool(`package ${name}: required`, required(file, "required")) };
}

function checkAction(action: XmlElement): void {
  const event = required(action, "event");
  if (!ACTION_EVENTS.includes(event)) throw new Violation(`action event "${event}"`);
  checkBase64("action: sha256", required(action, "sha256"), 32);
  const backoff = action.attributes.get("DisablePayloadBackoff");
  if (backoff !== undefined) bool("action: DisablePayloadBackoff", backoff);
  const success = action.attributes.get("successaction");
  if (success !== undefined && !SUCCESS_ACTIONS.includes(success)) throw new Violation(`successaction "${success}"`);
}

function checkBase64(what: string, text: string, bytes: number): void {
  const decoded = Buffer.from(text, "base64");
  if (decoded.length !== bytes || decoded.toString("base64") !== text) {
    throw new Violation(`${what} "${text}" is not base64 of ${bytes} bytes`);
  }
}

function bool(what: string, text: string): boolean {
  if (["true", "1", "yes"].includes(text)) return true;
  if (["false", "0", "no"].includes(text)) return false;
  throw new Violation(`${what} is "${text}"`);
}

function required(element: XmlElement, name: string): string {
  const value = element.attributes.get(name);
  if (value === undefined) throw new Violation(`${element.name} has no ${name}`);
  return value;
}

function only(element: XmlElement, name: string): XmlElement {
  const [found, ...more] = childrenNamed(element, name);
  if (found === undefined) throw new Violation(`${element.name} has no ${name}`);
  if (more.length > 0) throw new Violation(`${element.name} has more than one ${name}`);
  return found;
}
