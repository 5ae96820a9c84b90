/**
 * The answer, as text. Explicit end tags, no namespace, one line: what every client in the field reads.
 * Source: OMAHA.md, "What the client needs in the answer"; CLIENTS.md §1.3 and §3.
 */

export interface PackageAnswer {
  readonly name: string;
  readonly sizeBytes: number;
  /** base64 */
  readonly sha1: string | null;
  /** hexadecimal */
  readonly sha256: string | null;
}

export interface ActionAnswer {
  readonly event: string;
  readonly chromeosVersion: string;
  /** base64 */
  readonly sha256: string;
  readonly needsAdmin: boolean;
  readonly isDelta: boolean;
  readonly disablePayloadBackoff: boolean;
  readonly metadataSignatureRsa: string;
  readonly metadataSize: string;
  readonly deadline: string;
}

export interface ManifestAnswer {
  readonly package: {
    readonly version: string;
    /** The payload itself first: update_engine takes the first and no other. */
    readonly files: readonly PackageAnswer[];
    readonly action: ActionAnswer | null;
  };
  readonly isFloor: boolean;
  readonly floorReason: string | null;
  readonly isTarget: boolean;
  /** Written where only followers of ours look: their names have folders. */
  readonly filesLeftOut?: readonly PackageAnswer[];
}

export interface OfferAnswer {
  readonly urls: readonly string[];
  readonly manifests: readonly ManifestAnswer[];
  /** Floors and target are marked: for mirrors. */
  readonly marked: boolean;
}

export interface AppAnswer {
  /** As it was sent. */
  readonly appId: string;
  readonly status: string;
  readonly ping: boolean;
  /** Null: none was asked for. Its `offer` null: `noupdate`. */
  readonly updateCheck: { readonly offer: OfferAnswer | null; readonly pollIntervalSeconds: number | null } | null;
  /** How many events to acknowledge. */
  readonly events: number;
}

const DAY_MS = 86_400_000;
/** Days count from here in Omaha. */
const OMAHA_EPOCH_MS = Date.UTC(2007, 0, 1);

/** @param now milliseconds since the epoch, for `daystart` (UTC). */
export function renderResponse(apps: readonly AppAnswer[], now: number): string {
  const seconds = Math.floor((now % DAY_MS) / 1000);
  const days = Math.max(0, Math.floor((now - OMAHA_EPOCH_MS) / DAY_MS)); // a count: not below 0 on a clock never set
  let text = `<?xml version="1.0" encoding="UTF-8"?>\n<response protocol="3.0" server="turnout"><daystart elapsed_seconds="${seconds}" elapsed_days="${days}"></daystart>`;
  for (const app of apps) text += renderApp(app);
  return `${text}</response>`;
}

function renderApp({ appId, status, ping, updateCheck, events }: AppAnswer): string {
  let text = `<app appid="${escaped(appId)}" status="${escaped(status)}">`;
  if (ping) text += '<ping status="ok"></ping>';
  if (updateCheck !== null) {
    const poll = updateCheck.pollIntervalSeconds === null ? "" : ` PollInterval="${updateCheck.pollIntervalSeconds}"`;
    text +=
      updateCheck.offer === null
        ? `<updatecheck status="noupdate"${poll}><urls></urls></updatecheck>`
        : `<updatecheck status="ok"${poll}>${renderOffer(updateCheck.offer)}</updatecheck>`;
  }
  for (let event = 0; event < events; event += 1) text += '<event status="ok"></event>';
  return `${text}</app>`;
}

function renderOffer({ urls, manifests, marked }: OfferAnswer): string {
  const codebases = urls.map((url) => `<url codebase="${escaped(asCodebase(url))}"></url>`).join("");
  // update_engine tries one address with each check, and each ten times before the next, unless it is told otherwise.
  const failures = urls.length > 1 ? "1" : null;
  return `<urls>${codebases}</urls>${manifests.map((manifest) => renderManifest(manifest, marked, failures)).join("")}`;
}

/** Clients put the file's name right behind it. One with a query is somebody's special case, and left alone. */
function asCodebase(url: string): string {
  return url.endsWith("/") || url.includes("?") ? url : `${url}/`;
}

function renderManifest(manifest: ManifestAnswer, marked: boolean, maxFailures: string | null): string {
  const { version, files, action } = manifest.package;
  const marks = marked
    ? attribute("is_floor", flag(manifest.isFloor)) +
      (manifest.isFloor ? attribute("floor_reason", manifest.floorReason) : "") +
      attribute("is_target", flag(manifest.isTarget))
    : "";
  const packages = files.map((file, index) => renderPackage(file, index === 0)).join("");
  // ue-rs refuses the whole answer for an action without sha256.
  const actions = action === null || action.sha256 === "" ? "" : renderAction(action, maxFailures);
  return `<manifest version="${escaped(version)}"${marks}><packages>${packages}</packages><actions>${actions}</actions>${renderLeftOut(manifest)}</manifest>`;
}

/** Unknown to all clients but followers of ours, and so ignored. */
function renderLeftOut({ filesLeftOut = [] }: ManifestAnswer): string {
  if (filesLeftOut.length === 0) return "";
  return `<left_out>${filesLeftOut.map((file) => renderPackage(file, false)).join("")}</left_out>`;
}

function renderPackage({ name, sizeBytes, sha1, sha256 }: PackageAnswer, required: boolean): string {
  const hashes = attribute("hash", sha1) + attribute("hash_sha256", sha256);
  return `<package name="${escaped(name)}"${hashes} size="${sizeBytes}" required="${required}"></package>`;
}

function renderAction(action: ActionAnswer, maxFailures: string | null): string {
  const attributes =
    attribute("event", action.event === "" ? "postinstall" : action.event) +
    attribute("DisplayVersion", action.chromeosVersion) +
    attribute("sha256", action.sha256) +
    attribute("needsadmin", flag(action.needsAdmin)) +
    attribute("IsDeltaPayload", flag(action.isDelta)) +
    attribute("DisablePayloadBackoff", flag(action.disablePayloadBackoff)) +
    attribute("MaxFailureCountPerUrl", maxFailures) +
    attribute("MetadataSignatureRsa", action.metadataSignatureRsa) +
    attribute("MetadataSize", action.metadataSize === "0" ? "" : action.metadataSize) +
    attribute("deadline", action.deadline);
  return `<action${attributes}></action>`;
}

function flag(value: boolean): string | null {
  return value ? "true" : null;
}

/** Left out when empty: an empty hash makes a strict client refuse the whole answer. */
function attribute(name: string, value: string | null): string {
  return value === null || value === "" ? "" : ` ${name}="${escaped(value)}"`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: characters that must not reach an XML document as they are
const SPECIAL = /[&<>"'\x00-\x1f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;
const ALL_SPECIAL = new RegExp(SPECIAL, "g");
const REFERENCES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&#34;",
  "'": "&#39;",
  "\t": "&#x9;",
  "\n": "&#xA;",
  "\r": "&#xD;",
};

/** For an attribute's value. What XML does not have at all becomes U+FFFD. */
function escaped(text: string): string {
  return SPECIAL.test(text) ? text.replace(ALL_SPECIAL, (character) => REFERENCES[character] ?? "\ufffd") : text;
}
