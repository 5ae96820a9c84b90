/** Where a mirror's files are, signed or not: on a web server (`http-tree.ts`), or here in a directory (`directory-tree.ts`). */
import { publicFolder } from "../mirror/layout.ts";
import { ARCHES, type Arch, folderOf } from "../mirror/manifest.ts";
import type { PackageFile } from "../rollout/model/configuration.ts";
import { type Release, SourceFailed } from "./release.ts";
import type { Upstream } from "./upstream.ts";

/** Paths are from its root, with slashes, and of names that were checked: none leads upwards. */
export interface FileTree {
  /** A file or folder, as people find it. */
  place(path: string): string;
  /**
   * A small file; null: it is not there.
   * @throws SourceFailed when it can't be had, or is larger
   */
  text(path: string, maxBytes: number, signal: AbortSignal): Promise<string | null>;
  /** What is in a folder, by whatever names; null: nobody says. @throws SourceFailed */
  names(folder: string, signal: AbortSignal): Promise<readonly string[] | null>;
  /** Bytes; null: it is not there. @throws SourceFailed when nobody says how many it has */
  sizeOf(path: string, signal: AbortSignal): Promise<number | null>;
  /** A file of this size from an offset on; what comes may end early. @throws SourceFailed, also while it comes */
  open(path: string, from: number, sizeBytes: number, signal: AbortSignal): Promise<AsyncIterable<Buffer>>;
  /** Where nodes get the files of a folder by themselves; ends with a slash. Null: nowhere. */
  urlOf(folder: string): string | null;
  /** See `Upstream`. */
  readonly probe?: (file: PackageFile, place: { readonly url: string }, signal: AbortSignal) => Promise<void>;
}

/** @param arch 0 all, 1 amd64, 2 aarch64, 3 x86. @throws SourceFailed when the layout has no folder for it */
export function layoutArch(arch: number): Arch {
  const name = ARCHES[arch - 1];
  if (name === undefined)
    throw new SourceFailed(`the channel is for no architecture of a mirror (${ARCHES.join(", ")})`);
  return name;
}

export function whereNodesGet(tree: FileTree, arch: Arch, version: string): Pick<Release, "url" | "onlyHere"> {
  const url = tree.urlOf(folderOf(arch, version));
  return url === null ? { url: publicFolder(arch, version), onlyHere: true } : { url };
}

/** The files of releases that are in their folders: `amd64-usr/VERSION/`. */
export function filesIn(tree: FileTree): Pick<Upstream, "bytesOf" | "probe"> {
  return {
    ...(tree.probe && { probe: tree.probe }),
    bytesOf({ arch, version }) {
      const folder = folderOf(layoutArch(arch), version);
      return {
        sourcesOf({ name, sizeBytes }) {
          const path = `${folder}/${name}`;
          return [{ place: tree.place(path), open: (from, signal) => tree.open(path, from, sizeBytes, signal) }];
        },
      };
    },
  };
}
