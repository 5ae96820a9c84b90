/** From the body of a request to what each of its apps says. Source: OMAHA.md, "What update_engine posts", "Bad input". */
import { isUtf8 } from "node:buffer";
import { XMLParser } from "fast-xml-parser";
import { repairQuotes, unquoted } from "./repair.ts";
import { malformation } from "./wellformed.ts";

export const MAX_BODY_BYTES = 64 * 1024;
const MAX_APPS = 64;
const MAX_EVENTS = 64;
const SYNCER_VERSION = "CoreOSUpdateEngine-0.1.0.0";

/** 0 all, 1 amd64, 2 aarch64, 3 x86: the numbers of the admin API. */
export type ArchNumber = 0 | 1 | 2 | 3;

export interface EventReport {
  readonly type: number;
  readonly result: number;
  /** As sent, unsigned 32 bits, flags included; null when absent. */
  readonly errorCode: number | null;
  readonly previousVersion: string;
}

/** One `app` of a request. Attributes that were not sent are "". */
export interface AppRequest {
  /** As sent, braces and all: it is answered byte for byte. */
  readonly appId: string;
  readonly version: string;
  readonly track: string;
  readonly machineId: string;
  readonly machineAlias: string;
  readonly bootId: string;
  readonly oem: string;
  readonly oemVersion: string;
  readonly alephVersion: string;
  readonly arch: ArchNumber;
  readonly ping: boolean;
  readonly updateCheck: boolean;
  readonly targetVersionPrefix: string;
  readonly events: readonly EventReport[];
  /** A person at the node asked. */
  readonly onDemand: boolean;
  /** Another update server, mirroring this one. */
  readonly syncer: boolean;
  readonly multiManifest: boolean;
  readonly updateEngine: boolean;
  /** Unescaped quotes were repaired. */
  readonly brokenQuotes: boolean;
}

export type Parsed =
  | { readonly ok: true; readonly apps: readonly AppRequest[] }
  | { readonly ok: false; readonly status: 400 | 413; readonly reason: string };

type Attributes = Readonly<Record<string, string | undefined>>;
/** An element as the parser builds it: "" or its text when there is nothing else in it. */
type Element = string | { readonly [ATTRIBUTES]?: Attributes; readonly [child: string]: unknown };

const ATTRIBUTES = "$";
const LEAN = {
  ignoreAttributes: false,
  attributeNamePrefix: "",
  attributesGroupName: ATTRIBUTES,
  parseAttributeValue: false,
  parseTagValue: false,
  trimValues: false,
  removeNSPrefix: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
};
/** References are rare; a document without "&" is read faster by a parser that does not look for them. */
const plainParser = new XMLParser({ ...LEAN, processEntities: false });
const referenceParser = new XMLParser({ ...LEAN, htmlEntities: true });

/** Never throws: what can't be read comes back with a status and one line that says why. */
export function parseRequest(body: Buffer): Parsed {
  if (body.length > MAX_BODY_BYTES) return tooLarge();
  if (body.length === 0) return malformed("the body is empty; an Omaha request is expected");
  if (!isUtf8(body)) return malformed("the body is not UTF-8");
  const text = body.toString("utf8");
  const fault = malformation(text);
  if (fault === null) return read(text, false);
  const repaired = repairQuotes(text);
  if (repaired === null || malformation(repaired) !== null) return malformed(fault);
  return read(repaired, true);
}

export function tooLarge(): Parsed {
  return { ok: false, status: 413, reason: `the request is larger than ${MAX_BODY_BYTES} bytes` };
}

function malformed(reason: string): Parsed {
  return { ok: false, status: 400, reason };
}

/** Something in the request that makes all of it unusable. */
class BadRequest extends Error {}

function read(text: string, repaired: boolean): Parsed {
  let document: Readonly<Record<string, unknown>>;
  try {
    document = (text.includes("&") ? referenceParser : plainParser).parse(text);
  } catch {
    // Well-formed, but the parser refuses it: names such as __proto__.
    return malformed("the document has a name that is not taken");
  }
  if (!Object.hasOwn(document, "request")) return malformed("the root element must be <request>");
  const request = document.request as Element; // whatever has this name is an element: see `Element`
  const attributes = attributesOf(request);
  const protocol = attributes.protocol ?? "";
  if (!/^3(\.\d{1,3})?$/.test(protocol)) return malformed('request: protocol must be "3.0"');
  try {
    const apps = children(request, "app");
    if (apps.length > MAX_APPS) return malformed(`more than ${MAX_APPS} <app> elements`);
    const os = attributesOf(children(request, "os").at(-1) ?? "");
    return { ok: true, apps: apps.map((app) => readApp(app, attributes, os, repaired)) };
  } catch (error) {
    if (error instanceof BadRequest) return malformed(error.message);
    throw error;
  }
}

function readApp(app: Element, request: Attributes, os: Attributes, repaired: boolean): AppRequest {
  const attributes = attributesOf(app);
  const updateCheck = children(app, "updatecheck")[0];
  const events = children(app, "event");
  if (events.length > MAX_EVENTS) throw new BadRequest(`more than ${MAX_EVENTS} <event> elements in one app`);
  const { installsource = "", version: client = "", updaterversion = "" } = request;
  const { track = "", machinealias = "" } = attributes;
  return {
    appId: attributes.appid ?? "",
    version: attributes.version ?? "",
    track: repaired ? unquoted(track) : track,
    machineId: attributes.machineid ?? "",
    machineAlias: repaired ? unquoted(machinealias) : machinealias,
    bootId: attributes.bootid ?? "",
    oem: attributes.oem ?? "",
    oemVersion: attributes.oemversion ?? "",
    alephVersion: attributes.alephversion ?? "",
    arch: archOf(attributes.board ?? "", os),
    ping: children(app, "ping").length > 0,
    updateCheck: updateCheck !== undefined,
    targetVersionPrefix: updateCheck === undefined ? "" : (attributesOf(updateCheck).targetversionprefix ?? ""),
    events: events.map(readEvent),
    onDemand: installsource === "ondemandupdate" || installsource === "ondemand",
    syncer: installsource === "scheduler" && client === SYNCER_VERSION,
    multiManifest: isTrue(attributes.multi_manifest_ok),
    updateEngine: client.startsWith("update_engine") || updaterversion.startsWith("update_engine"),
    brokenQuotes: repaired,
  };
}

function readEvent(event: Element): EventReport {
  const attributes = attributesOf(event);
  const { errorcode, previousversion = "" } = attributes;
  return {
    type: integer(attributes, "eventtype"),
    result: integer(attributes, "eventresult"),
    errorCode: errorcode === undefined || errorcode === "" ? null : integer(attributes, "errorcode") >>> 0,
    previousVersion: previousversion,
  };
}

/** As Go's clients and servers read it: spaces around and a sign are taken, empty is 0. */
function integer(attributes: Attributes, name: string): number {
  const text = (attributes[name] ?? "").trim();
  if (text === "") return 0;
  const value = /^[+-]?\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value)) throw new BadRequest(`event: ${name} must be a whole number`);
  return value;
}

function isTrue(text: string | undefined): boolean {
  return text === "true" || text === "1" || text === "t" || text === "T" || text === "True" || text === "TRUE";
}

/** `board` first, then the os's `arch`, then the suffix of `sp`, else amd64. */
function archOf(board: string, os: Attributes): ArchNumber {
  if (board === "amd64-usr") return 1;
  if (board === "arm64-usr") return 2;
  return archNamed(os.arch ?? "") ?? archNamed(/_([a-z\d_]+)$/.exec(os.sp ?? "")?.[1] ?? "") ?? 1;
}

function archNamed(name: string): ArchNumber | null {
  switch (name) {
    case "all":
      return 0;
    case "x64":
    case "amd64":
    case "x86_64":
      return 1;
    case "arm":
    case "arm64":
    case "aarch64":
      return 2;
    case "x86":
      return 3;
    default:
      return null;
  }
}

function attributesOf(element: Element): Attributes {
  return typeof element === "string" ? {} : (element[ATTRIBUTES] ?? {});
}

/** The element's children of one name, in their order. */
function children(element: Element, name: string): readonly Element[] {
  if (typeof element === "string" || !Object.hasOwn(element, name)) return [];
  const found = element[name];
  // The parser's own building: one element, or an array of them.
  return (Array.isArray(found) ? found : [found]) as readonly Element[];
}
