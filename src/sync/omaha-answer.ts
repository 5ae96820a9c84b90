/** What an Omaha server answers to a syncer, read strictly: it comes from outside. Source: OMAHA.md, "What the client needs". */
import { PACKAGE_TYPE, type PackageFile, type VersionOrder } from "../rollout/model/configuration.ts";
import { VERSION_FROM_NAME } from "../rollout/one-codebase.ts";
import { compareVersions, isVersion } from "../rollout/version.ts";
import { type Release, SourceFailed } from "./release.ts";
import type { FloorRelease, Found } from "./upstream.ts";
import { childrenOf, type Element, readXml } from "./xml.ts";

/** Its nodes take no release without an action: they answer code 34. Source: CLIENTS.md §1.3. */
export const FLATCAR = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";
const MAX_MANIFESTS = 200;
const MAX_FILES = 200;
const MAX_URLS = 16;
/** Larger than any image. */
const MAX_FILE_BYTES = 64 * 2 ** 30;
/** No folders, and nothing that an address would have to escape. */
const FILE_NAME = /^(?!\.{1,2}$)[\w.~+=@,-]{1,100}$/;
/** Plain ones, and none that leads upwards. */
const FOLDER = /^(?:(?!\.{1,2}\/)[\w.~+=@,-]{1,100}\/){1,8}$/;

/** What a manifest's files are fetched from, in the order of preference, each with a slash at its end. */
export type Places = ReadonlyMap<Release, readonly string[]>;

/**
 * @param asked the id as it was sent; by `order` the application's versions are compared
 * @throws SourceFailed that says what is wrong with the answer
 */
export function readAnswer(
  text: string,
  { appId, arch, order }: { readonly appId: string; readonly arch: number; readonly order: VersionOrder },
): Found & { readonly places: Places } {
  const nothing = { target: null, floors: [], incomplete: [], places: new Map() };
  const response = readXml(text);
  if (typeof response === "string") throw wrong(response);
  if (response.name !== "response") throw wrong(`its root element is <${response.name}>, not <response>`);
  if (!/^3\.\d{1,3}$/.test(response.attributes.protocol ?? "")) throw wrong("it is not of the protocol 3.0");
  const app = childrenOf(response, "app").find(({ attributes }) => plain(attributes.appid) === plain(appId));
  if (app === undefined) throw wrong(`it says nothing of the application ${appId}`);
  const { status = "" } = app.attributes;
  if (status !== "ok") throw wrong(`it answers "${status.slice(0, 100)}" for the application${meaningOf(status)}`);
  const [check] = childrenOf(app, "updatecheck");
  if (check === undefined) throw wrong("it has no updatecheck");
  if (check.attributes.status === "noupdate") return nothing;
  if (check.attributes.status !== "ok")
    throw wrong(`its updatecheck has the status "${check.attributes.status ?? ""}"`);
  return offered(check, { arch, order, needsAction: plain(appId) === FLATCAR });
}

interface Asked {
  readonly arch: number;
  readonly order: VersionOrder;
  /** Whether its nodes take nothing without an action. */
  readonly needsAction: boolean;
}

/** Of what a server says of an application, as far as a person could do something about it. Source: CLIENTS.md §4, NEBRASKA.md §2. */
const MEANINGS: Readonly<Record<string, string>> = {
  "error-unknownApplication": "it does not know it",
  "error-unknownApplicationOrGroup": "it does not know it, or not the track for this architecture",
  "error-noPackageFound": "what the track stands for has no package there",
  "error-updatesDisabled": "updates are switched off there, or only given at certain hours",
  "error-maxUpdatesPerPeriodLimitReached": "the group there gives no more updates for now",
  "error-maxConcurrentUpdatesLimitReached": "the group there gives no more updates for now",
  "error-maxTimedOutUpdatesLimitReached": "the group there gives no more updates, since too many have timed out",
};

function meaningOf(status: string): string {
  return Object.hasOwn(MEANINGS, status) ? `: ${MEANINGS[status]}` : "";
}

function offered(check: Element, { arch, order, needsAction }: Asked): Found & { readonly places: Places } {
  const versionOf = (manifest: Element): string => checkedVersionOf(manifest, order);
  const ascending = (a: string, b: string): number => compareVersions(a, b, order);
  const codebases = codebasesOf(check);
  const manifests = childrenOf(check, "manifest");
  if (manifests.length === 0) throw wrong("it offers an update without a manifest");
  if (manifests.length > MAX_MANIFESTS) throw wrong(`it has more than ${MAX_MANIFESTS} manifests`);
  const versions = manifests.map(versionOf);
  if (new Set(versions).size < versions.length) throw wrong("it has two manifests of one version");
  const target = targetAmong(manifests, (a, b) => ascending(versionOf(a), versionOf(b)));
  const to = versionOf(target);

  const incomplete: { version: string; why: string }[] = [];
  const places = new Map<Release, readonly string[]>();
  const read = (manifest: Element): Release | null => {
    const folder = folderOf(manifest);
    const where = folder === "" ? placesOf(codebases, manifest, to) : codebases.map((one) => `${one}${folder}`);
    const [url] = where;
    const release =
      url === undefined
        ? "the answer doesn't say where its files are"
        : releaseOf(manifest, { url, arch, needsAction });
    if (typeof release === "string") {
      incomplete.push({ version: versionOf(manifest), why: release });
      return null;
    }
    places.set(release, where);
    return release;
  };
  const main = read(target);
  const floors = manifests
    .filter((one) => (one === target ? isTrue(one.attributes.is_floor) : ascending(versionOf(one), to) < 0))
    .sort((a, b) => ascending(versionOf(a), versionOf(b)))
    .flatMap((manifest): FloorRelease[] => {
      const release = manifest === target ? main : read(manifest);
      if (release === null) return [];
      const floor = { ...release, reason: manifest.attributes.floor_reason?.slice(0, 500) ?? null };
      places.set(floor, places.get(release) ?? []);
      return [floor];
    });
  incomplete.sort((a, b) => ascending(a.version, b.version));
  return { target: main, floors, incomplete, places };
}

/** Where there are only floors, they were too many for one answer: the highest one is the next step, and a floor, too. */
function targetAmong(manifests: readonly Element[], ascending: (a: Element, b: Element) => number): Element {
  const marked = manifests.find(({ attributes }) => isTrue(attributes.is_target));
  const last = marked ?? manifests.findLast(({ attributes }) => !isTrue(attributes.is_floor));
  return last ?? manifests.reduce((a, b) => (ascending(a, b) < 0 ? b : a));
}

/** As Go reads truth values. */
function isTrue(text: string | undefined): boolean {
  return /^(1|t|true)$/i.test(text ?? "");
}

/**
 * One answer has one list of codebases: the target's. Those of a floor are the same with the floor's version in the target's
 * place. Where the target's version is in none of them, floors are only found if their files' names have the version, as on a
 * Nebraska that hosts them.
 */
function placesOf(codebases: readonly string[], manifest: Element, target: string): readonly string[] {
  const version = versionOf(manifest);
  if (version === target) return codebases;
  const moved = codebases.flatMap((codebase) =>
    [(one: string) => `/${one}/`, (one: string) => `/${encodeURIComponent(one)}/`]
      .filter((segment) => codebase.includes(segment(target)))
      .slice(0, 1)
      .map((segment) => codebase.replaceAll(segment(target), segment(version))),
  );
  if (moved.length > 0) return moved;
  const names = packagesIn(manifest).map(({ attributes: { name = "" } }) => name);
  return names.every((name) => name.includes(version)) ? codebases : [];
}

function codebasesOf(check: Element): readonly string[] {
  const urls = childrenOf(check, "urls").flatMap((list) => childrenOf(list, "url"));
  if (urls.length === 0 || urls.length > MAX_URLS)
    throw wrong(`it names ${urls.length} codebases; 1 to ${MAX_URLS} will do`);
  return urls.map(({ attributes: { codebase = "" } }) => {
    const url = URL.canParse(codebase) ? new URL(codebase) : null;
    const isPlain = url !== null && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "";
    if (!isPlain || url.username !== "" || url.password !== "") {
      throw wrong(`its codebase "${codebase.slice(0, 200)}" is no plain http or https URL`);
    }
    return url.href.endsWith("/") ? url.href : `${url.href}/`;
  });
}

interface Offered {
  readonly url: string;
  readonly arch: number;
  /** Whether its nodes take nothing without an action. */
  readonly needsAction: boolean;
}

/** Those that other servers can't be told of, too: see `withOneCodebase`. */
function packagesIn(manifest: Element): readonly Element[] {
  const folder = folderOf(manifest);
  const packages = ["packages", "left_out"].flatMap((name) => childrenOf(manifest, name)).flatMap((list) => childrenOf(list, "package")); // biome-ignore format: one line
  return folder === "" ? packages : packages.map((one) => withoutFolder(one, folder, versionOf(manifest)));
}

/** Where a manifest's files are below the codebase, with a slash at its end: its payload's name says it. "": right there. */
function folderOf(manifest: Element): string {
  const [payload] = childrenOf(manifest, "packages").flatMap((list) => childrenOf(list, "package"));
  const name = payload?.attributes.name ?? "";
  const folder = name.slice(0, name.lastIndexOf("/") + 1);
  if (folder !== "" && !FOLDER.test(folder)) {
    throw wrong(`${versionOf(manifest)}: the folder "${folder.slice(0, 100)}" has a name that is none`);
  }
  return folder;
}

/** A file of the release by its own name. */
function withoutFolder(element: Element, folder: string, version: string): Element {
  const { name = "" } = element.attributes;
  const prefix = [folder, `${version}${VERSION_FROM_NAME}`].find((one) => name.startsWith(one));
  if (prefix === undefined)
    throw wrong(`${version}: "${name.slice(0, 100)}" is not where its payload is, in ${folder}`);
  return { ...element, attributes: { ...element.attributes, name: name.slice(prefix.length) } };
}

/** The release, or why it is none that can be offered to nodes. */
function releaseOf(manifest: Element, { url, arch, needsAction }: Offered): Release | string {
  const version = versionOf(manifest);
  const elements = packagesIn(manifest);
  if (elements.length === 0) return "it has no file";
  if (elements.length > MAX_FILES) throw wrong(`${version} has more than ${MAX_FILES} files`);
  const files = elements.map((element) => fileOf(version, element));
  if (new Set(files.map(({ name }) => name)).size < files.length) throw wrong(`${version} names a file twice`);
  const [payload, ...extraFiles] = files;
  if (payload === undefined) return "it has no file";
  const actions = childrenOf(manifest, "actions").flatMap((list) => childrenOf(list, "action"));
  const action = actions.find(({ attributes }) => attributes.event === "postinstall")?.attributes;
  if (action === undefined && needsAction) return "it has no action for postinstall, without which no node takes it";
  // An action has the payload's. ue-rs takes no file that it can't check, and neither do we.
  const bare = (action === undefined ? files : extraFiles).find(({ sha1, sha256 }) => sha1 === null && sha256 === null);
  if (bare !== undefined) return `its file ${bare.name} has no hash`;

  const common = { version, arch, url, extraFiles, description: "" };
  if (action === undefined) return { ...common, type: PACKAGE_TYPE.other, payload, action: {} };
  const sha256 = hexOf(action.sha256, 32);
  if (sha256 === null) throw wrong(`${version} has an action whose sha256 is none`);
  if (payload.sha256 !== null && payload.sha256 !== sha256) {
    throw wrong(`${version} has two different SHA-256 for ${payload.name}`);
  }
  return {
    ...common,
    type: PACKAGE_TYPE.flatcar,
    payload: { ...payload, sha256 },
    action: {
      event: "postinstall",
      chromeosVersion: action.DisplayVersion ?? "",
      needsAdmin: action.needsadmin === "true",
      isDelta: action.IsDeltaPayload === "true",
      disablePayloadBackoff: action.DisablePayloadBackoff === "true",
      metadataSignatureRsa: action.MetadataSignatureRsa ?? "",
      metadataSize: action.MetadataSize ?? "",
      deadline: action.deadline ?? "",
    },
  };
}

function fileOf(
  version: string,
  { attributes: { name = "", size = "", hash, hash_sha256: hash256 } }: Element,
): PackageFile {
  const shown = `${version}: the file "${name.slice(0, 100)}"`;
  if (!FILE_NAME.test(name)) throw wrong(`${shown} has a name that is none`);
  if (!/^\d{1,12}$/.test(size) || Number(size) === 0 || Number(size) > MAX_FILE_BYTES) {
    throw wrong(`${shown} has the size "${size.slice(0, 30)}"`);
  }
  if (hash !== undefined && hexOf(hash, 20) === null) throw wrong(`${shown} has a hash that is no SHA-1 in base64`);
  if (hash256 !== undefined && !/^[\da-fA-F]{64}$/.test(hash256)) {
    throw wrong(`${shown} has a hash_sha256 that is no SHA-256 in hexadecimal`);
  }
  return { name, sizeBytes: Number(size), sha1: hash ?? null, sha256: hash256?.toLowerCase() ?? null };
}

/** As it stands there: `checkedVersionOf` has looked at all of them. */
function versionOf({ attributes: { version = "" } }: Element): string {
  return version;
}

/** @throws SourceFailed */
function checkedVersionOf(manifest: Element, order: VersionOrder): string {
  const version = versionOf(manifest);
  if (!isVersion(version, order)) throw wrong(`"${version.slice(0, 100)}" is no version`);
  return version;
}

/** From base64 of so many bytes; null: it is something else. */
function hexOf(text: string | undefined, bytes: number): string | null {
  const decoded = Buffer.from(text ?? "", "base64");
  return decoded.length === bytes && decoded.toString("base64") === text ? decoded.toString("hex") : null;
}

function plain(appId: string | undefined): string {
  return (appId ?? "").toLowerCase().replace(/^\{(.*)\}$/, "$1");
}

function wrong(why: string): SourceFailed {
  return new SourceFailed(`the answer can't be used: ${why}`);
}
