/** An answer as update_engine reads it; what it doesn't read is not looked at. Source: CLIENTS.md §1.3. */
import { XMLParser, XMLValidator } from "fast-xml-parser";

/** What ue-rs picks by its name, and checks by either hash. Source: CLIENTS.md §3. */
export interface ExtraFile {
  readonly name: string;
  /** base64, or null. */
  readonly sha1: string | null;
  /** hexadecimal, or null. */
  readonly sha256: string | null;
}

export interface Offer {
  readonly version: string;
  /** In order of preference. */
  readonly codebases: readonly string[];
  readonly packageName: string;
  readonly sizeBytes: number;
  /** base64 */
  readonly sha256: string;
  readonly extraFiles: readonly ExtraFile[];
}

/** update_engine's codes: empty answer, not XML, something is missing. */
type InvalidCode = 30 | 31 | 34;

export type Answer = {
  /** From every answer that could be read; null: none, or none that counts. */
  readonly pollIntervalSeconds: number | null;
  /** The first app's status. update_engine ignores it; people who simulate a fleet want to see it. */
  readonly appStatus: string | null;
} & (
  | { readonly kind: "noupdate" }
  | { readonly kind: "update"; readonly offer: Offer }
  | { readonly kind: "invalid"; readonly code: InvalidCode }
);

type Element = Readonly<Record<string, unknown>>;

const ATTRIBUTE = "@";
const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: ATTRIBUTE,
  parseAttributeValue: false,
  parseTagValue: false,
  htmlEntities: true,
});

export function readAnswer(body: string): Answer {
  if (body === "") return invalid(30);
  const document = parse(body);
  if (document === null) return invalid(31);
  const response = children(document, "response")[0];
  // Its XPath knows no namespaces: with one on the root nothing is found.
  if (response === undefined || attribute(response, "xmlns") !== undefined) return invalid(34);
  const apps = children(response, "app");
  const check = apps.flatMap((app) => children(app, "updatecheck"))[0];
  const appStatus = (apps[0] && attribute(apps[0], "status")) ?? null;
  if (check === undefined) return { ...invalid(34), appStatus };

  const found = { pollIntervalSeconds: pollInterval(attribute(check, "PollInterval")), appStatus };
  const status = attribute(check, "status");
  if (status === "noupdate") return { ...found, kind: "noupdate" };
  const offer = status === "ok" ? readOffer(check) : null;
  return offer === null ? { ...found, kind: "invalid", code: 34 } : { ...found, kind: "update", offer };
}

/** Null when something is missing that an update needs. */
function readOffer(check: Element): Offer | null {
  const manifests = children(check, "manifest");
  const manifest = manifests[0];
  const codebases = grandchildren([check], "urls", "url").map((url) => attribute(url, "codebase") ?? "");
  const [file, ...others] = grandchildren(manifests, "packages", "package");
  const action = grandchildren(manifests, "actions", "action").find((it) => attribute(it, "event") === "postinstall");
  if (manifest === undefined || file === undefined || action === undefined) return null;

  const packageName = attribute(file, "name") ?? "";
  const size = attribute(file, "size") ?? "";
  const sha256 = attribute(action, "sha256") ?? "";
  const complete = codebases.length > 0 && !codebases.includes("") && packageName !== "" && sha256 !== "";
  if (!complete || !/^\d+$/.test(size) || Number(size) === 0) return null;
  const version = attribute(manifest, "version") ?? "";
  return { version, codebases, packageName, sizeBytes: Number(size), sha256, extraFiles: others.map(extraFile) };
}

function extraFile(file: Element): ExtraFile {
  const hash = (name: string) => attribute(file, name) ?? null;
  return { name: attribute(file, "name") ?? "", sha1: hash("hash"), sha256: hash("hash_sha256") };
}

function pollInterval(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,9}$/.test(text) && Number(text) > 0 ? Number(text) : null;
}

function invalid(code: InvalidCode): Answer {
  return { kind: "invalid", code, pollIntervalSeconds: null, appStatus: null };
}

function parse(body: string): Element | null {
  try {
    if (XMLValidator.validate(body) !== true) return null;
    const document: unknown = parser.parse(body);
    if (!isElement(document)) return null;
    // The validator lets a second root pass.
    const roots = Object.entries(document).filter(([name]) => !name.startsWith("?"));
    return roots.length === 1 && !Array.isArray(roots[0]?.[1]) ? document : null;
  } catch {
    return null; // the parser throws on names like __proto__
  }
}

/** An element without attributes and children is a text to the parser: one with nothing in it, here. */
function children(element: Element, name: string): readonly Element[] {
  const value = element[name];
  const list: readonly unknown[] = Array.isArray(value) ? value : value === undefined ? [] : [value];
  return list.map((item) => (isElement(item) ? item : {}));
}

function grandchildren(elements: readonly Element[], name: string, inner: string): readonly Element[] {
  return elements.flatMap((element) => children(element, name)).flatMap((element) => children(element, inner));
}

function attribute(element: Element, name: string): string | undefined {
  const value = element[ATTRIBUTE + name];
  return typeof value === "string" ? value : undefined;
}

function isElement(value: unknown): value is Element {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
