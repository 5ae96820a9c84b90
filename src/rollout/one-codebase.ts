/**
 * An answer has one list of codebases, and a mirror takes the first of it for all of its manifests. So where there are several, their
 * files are named from a folder that all of them are below. Source: NEBRASKA.md §1.9 and §4.
 */
import type { Package, PackageFile } from "./model/configuration.ts";
import type { LeftOut, Manifest, Offer } from "./model/outcome.ts";

/** Between a version, which never has one, and the name of a file of its: where the two can't be folder and file. */
export const VERSION_FROM_NAME = "~";

/** A codebase, taken apart: `https://host` and its folders. */
interface Place {
  /** "" for files that are kept here. */
  readonly server: string;
  /** Each with a slash at its end. None where it can't be taken apart: it has a query, say, and is all in `server`. */
  readonly folders: readonly string[];
}

interface Placed {
  readonly manifest: Manifest;
  readonly folders: readonly string[];
}

/**
 * The offer with one codebase for all of its manifests: the lowest floors, as far as they are on one server, and the target if all
 * are. Whoever takes it goes on from the last one, and skips none. Null: the first two are not on one server. (The first alone
 * would not do: a Nebraska takes a single manifest for no floor.)
 */
export function withOneCodebase({ manifests, marked }: Offer): Offer | null {
  const { server, placed } = longestRun(manifests);
  if (placed.length < Math.min(2, manifests.length)) return null;
  const base = commonFolders(placed.map(({ folders }) => folders));
  const named = placed.map((one) => renamed(one, base.length, server === ""));
  const leftOut: LeftOut[] = named.flatMap(({ package: { version }, filesLeftOut = [] }) =>
    filesLeftOut.length === 0 ? [] : [{ version, what: "extra-files" as const }],
  );
  for (const { package: rest } of manifests.slice(placed.length))
    leftOut.push({ version: rest.version, what: "release" });
  const last = named.length - 1;
  return {
    urls: [server + base.join("")],
    manifests: named.map((manifest, index) => ({ ...manifest, isTarget: index === last })),
    marked,
    leftOut,
  };
}

/** The server that has the most of the manifests, from the first one on without a gap. */
function longestRun(manifests: readonly Manifest[]): { readonly server: string; readonly placed: readonly Placed[] } {
  let best: { server: string; placed: readonly Placed[] } = { server: "", placed: [] };
  for (const { server } of manifests[0]?.package.urls.map(placeOf) ?? []) {
    const placed: Placed[] = [];
    for (const manifest of manifests) {
      const place = manifest.package.urls.map(placeOf).find((one) => one.server === server);
      if (place === undefined) break;
      placed.push({ manifest, folders: place.folders });
    }
    if (placed.length > best.placed.length) best = { server, placed };
  }
  return best;
}

function placeOf(codebase: string): Place {
  const [, server, path] = /^((?:https?:\/\/[^/?#]+)?)(\/[^?#]*)?$/i.exec(codebase) ?? [];
  if (server === undefined) return { server: codebase, folders: [] };
  const folders = (path ?? "/").split("/");
  if (folders.at(-1) === "") folders.pop();
  return { server, folders: folders.map((folder) => `${plainFolder(folder)}/`) };
}

/** Some clients encode what they join once more: so not encoded, where that is the same. */
function plainFolder(folder: string): string {
  return /^(?:[\w.~+-]|%2B)+$/i.test(folder) ? folder.replaceAll(/%2B/gi, "+") : folder;
}

function commonFolders(paths: readonly (readonly string[])[]): readonly string[] {
  const [first = []] = paths;
  const differs = first.findIndex((folder, depth) => paths.some((path) => path[depth] !== folder));
  return differs === -1 ? first : first.slice(0, differs);
}

/**
 * The payload is named with its folders. Extra files are not: a Nebraska that hosts them, and ue-rs on every node, writes each under
 * its name, and has no such folder. Those that are kept here have names without one; others are left out.
 */
function renamed({ manifest, folders }: Placed, depth: number, here: boolean): Manifest {
  const below = folders.slice(depth);
  const [payload, ...others] = manifest.package.files;
  if (below.length === 0 || payload === undefined) return manifest;
  const inFolder = (file: PackageFile): PackageFile => ({ ...file, name: below.join("") + file.name });
  const flat = (file: PackageFile): PackageFile => ({
    ...file,
    name: `${manifest.package.version}${VERSION_FROM_NAME}${file.name}`,
  });
  const of = (files: readonly PackageFile[]): Package => ({ ...manifest.package, files });
  if (here && below.length === 1) return { ...manifest, package: of([inFolder(payload), ...others.map(flat)]) };
  return { ...manifest, package: of([inFolder(payload)]), filesLeftOut: others.map(inFolder) };
}
