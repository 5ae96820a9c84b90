/** From the body of a request to what each of its apps says. Source: OMAHA.md, "What update_engine posts", "Bad input". */
import { isUtf8 } from "node:buffer";
import { type X2jOptions, XMLParser } from "fast-xml-parser";
import { REFERENCES } from "./references.ts";
import { repairQuotes, unquoted } from "./repair.ts";
import { examine } from "./wellformed.ts";

export const MAX_BODY_BYTES = 64 * 1024;
const MAX_APPS = 64;
const MAX_EVENTS = 64;
/** What mirrors call themselves, and what update_engine called itself on every node until 2016. */
const OLD_UPDATE_ENGINE = "CoreOSUpdateEngine-0.1.0.0";
const UUID_IN_BRACES = /^\{[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\}$/i;

/** 0 all, 1 amd64, 2 aarch64, 3 x86: the numbers of the admin API. */
export type ArchNumber = 0 | 1 | 2 | 3;

export interface EventReport {
  readonly type: number;
  readonly result: number;
  /** As sent, unsigned 32 bits, flags included; null when absent. */
  readonly errorCode: number | null;
  readonly previousVersion: string;
}

/** One `app` of a request. Attributes that were not sent are "", but for the alias. */
export interface AppRequest {
  /** As sent, braces and all: it is answered byte for byte. */
  readonly appId: string;
  readonly version: string;
  readonly track: string;
  readonly machineId: string;
  /** Null: not sent. update_engine sends it always, without one as "". */
  readonly machineAlias: string | null;
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
  | { readonly ok: true; readonly apps: readonly AppRequest[]; readonly repaired: boolean }
  | { readonly ok: false; readonly status: 400 | 413; readonly reason: string };

type Attributes = Readonly<Record<string, string | undefined>>;

interface AppElement {
  readonly attributes: Attributes;
  readonly events: Attributes[];
  ping: boolean;
  updateCheck: Attributes | null;
}

/** What a document has of the elements that we know, where they belong. Filled by the parser as it goes. */
interface Elements {
  root: string;
  request: Attributes;
  os: Attributes;
  readonly apps: AppElement[];
  /** The app that is being read; null inside of anything else. */
  app: AppElement | null;
}

function noElements(): Elements {
  return { root: "", request: {}, os: {}, apps: [], app: null };
}

/** Parsing is synchronous, so one document at a time is being read. */
let reading = noElements();

function takeElement(name: string, depth: number, attributes: Attributes): void {
  if (depth === 1) {
    reading.root = name;
    reading.request = attributes;
  } else if (depth === 2) {
    reading.app = name === "app" ? { attributes, events: [], ping: false, updateCheck: null } : null;
    if (reading.app !== null) reading.apps.push(reading.app);
    else if (name === "os") reading.os = attributes;
  } else if (depth === 3 && reading.app !== null) {
    if (name === "event") reading.app.events.push(attributes);
    else if (name === "ping") reading.app.ping = true;
    else if (name === "updatecheck") reading.app.updateCheck = attributes;
  }
}

const LEAN: X2jOptions = {
  ignoreAttributes: false,
  attributeNamePrefix: "",
  parseAttributeValue: false,
  parseTagValue: false,
  trimValues: false,
  entityDecoder: REFERENCES,
  jPath: false,
  // We take each element as it comes; the parser builds no tree of them. A quarter faster.
  updateTag(name, path, attributes) {
    takeElement(name, typeof path === "string" ? 0 : path.getDepth(), attributes);
    return false;
  },
};
/** Prefixes are rare, and taking them off costs a third of the time. */
const plainParser = new XMLParser(LEAN);
const prefixParser = new XMLParser({ ...LEAN, removeNSPrefix: true });

/** Never throws: what can't be read comes back with a status and one line that says why. */
export function parseRequest(body: Buffer): Parsed {
  if (body.length > MAX_BODY_BYTES) return tooLarge();
  if (body.length === 0) return malformed("the body is empty; an Omaha request is expected");
  if (!isUtf8(body)) return malformed("the body is not UTF-8");
  const text = body.toString("utf8");
  const document = examine(text);
  if (document.ok) return read(document.root, document.prefixed, false);
  if (JSON_BEGINS.test(text)) return malformed(NOT_JSON);
  const mended = repairQuotes(text);
  const repaired = mended === null ? document : examine(mended);
  return repaired.ok ? read(repaired.root, repaired.prefixed, true) : malformed(document.reason);
}

export function tooLarge(): Parsed & { ok: false } {
  return { ok: false, status: 413, reason: `the request is larger than ${MAX_BODY_BYTES} bytes` };
}

function malformed(reason: string): Parsed {
  return { ok: false, status: 400, reason };
}

/** As Omaha's later versions begin, also behind the guard that Google's servers put in front. */
const JSON_BEGINS = /^\s*[[{)]/;
const NOT_JSON = 'the body is JSON; this server speaks Omaha 3.0 XML: send <request protocol="3.0">...</request>';

/** Something in the request that makes all of it unusable. */
class BadRequest extends Error {}

function read(root: string, prefixed: boolean, repaired: boolean): Parsed {
  reading = noElements();
  try {
    // Spaces between tags say nothing, and the parser takes them one by one.
    (prefixed ? prefixParser : plainParser).parse(root.replace(BETWEEN_TAGS, "><"));
  } catch {
    return malformed("a name in the document is not taken: __proto__, constructor and prototype are reserved");
  }
  const elements = reading;
  if (elements.root !== "request") return malformed("the root element must be <request>");
  if (!/^3\.\d{1,3}$/.test(elements.request.protocol ?? "")) return malformed('request: protocol must be "3.0"');
  if (elements.apps.length > MAX_APPS) return malformed(`more than ${MAX_APPS} <app> elements`);
  try {
    return { ok: true, apps: elements.apps.map((app) => readApp(app, elements, repaired)), repaired };
  } catch (error) {
    if (error instanceof BadRequest) return malformed(error.message);
    throw error;
  }
}

/** In well-formed XML no "<" stands in a value, so between ">" and "<" there is nothing but text. */
const BETWEEN_TAGS = />\s+</g;

function readApp(app: AppElement, { request, os }: Elements, repaired: boolean): AppRequest {
  if (app.events.length > MAX_EVENTS) throw new BadRequest(`more than ${MAX_EVENTS} <event> elements in one app`);
  const { attributes, updateCheck } = app;
  const { installsource = "", version: client = "", updaterversion = "" } = request;
  const { track = "", machinealias = null } = attributes;
  const syncer = client === OLD_UPDATE_ENGINE && installsource === "scheduler" && isMirror(app);
  return {
    appId: attributes.appid ?? "",
    version: attributes.version ?? "",
    track: repaired ? unquoted(track) : track,
    machineId: attributes.machineid ?? "",
    machineAlias: repaired && machinealias !== null ? unquoted(machinealias) : machinealias,
    bootId: attributes.bootid ?? "",
    oem: attributes.oem ?? "",
    oemVersion: attributes.oemversion ?? "",
    alephVersion: attributes.alephversion ?? "",
    arch: archOf(attributes.board ?? "", os),
    ping: app.ping,
    updateCheck: updateCheck !== null,
    targetVersionPrefix: updateCheck?.targetversionprefix ?? "",
    events: app.events.map(readEvent),
    onDemand: installsource === "ondemandupdate" || installsource === "ondemand",
    syncer,
    multiManifest: isTrue(attributes.multi_manifest_ok),
    updateEngine:
      client.startsWith("update_engine") ||
      updaterversion.startsWith("update_engine") ||
      (client === OLD_UPDATE_ENGINE && !syncer),
    brokenQuotes: repaired,
  };
}

/**
 * What tells a mirror from an old node that calls itself the same. A node's update_engine always writes its board, and pings or
 * reports something with every request, which no mirror does. Mirrors that have a boot id (Nebraska's syncer, ours) have a
 * machine id in braces beside it; a node's has none. Source: CLIENTS.md §3; the source of both.
 */
function isMirror({ attributes, ping, events }: AppElement): boolean {
  const { board, bootid, machineid = "" } = attributes;
  return (
    !ping && events.length === 0 && board === undefined && (bootid === undefined || UUID_IN_BRACES.test(machineid))
  );
}

function readEvent(attributes: Attributes): EventReport {
  return {
    type: integer(attributes, "eventtype"),
    result: integer(attributes, "eventresult"),
    errorCode: attributes.errorcode === undefined ? null : integer(attributes, "errorcode") >>> 0,
    previousVersion: attributes.previousversion ?? "",
  };
}

/** As Go's clients and servers read it: spaces around and a sign are taken, absent or empty is 0. 32 bits, signed or not. */
function integer(attributes: Attributes, name: string): number {
  const text = (attributes[name] ?? "").trim();
  if (text === "") return 0;
  const value = /^[+-]?\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= -0x8000_0000 && value <= 0xffff_ffff)) {
    throw new BadRequest(`event: ${name} must be a whole number of 32 bits, e.g. ${name}="3"`);
  }
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
