/** Packages as they are brought to a server over its API: made, compared with what is there, and their files sent. */
import { createReadStream } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { publicFolder } from "../mirror/layout.ts";
import { type Api, ApiError } from "./api.ts";
import type { HashedFile } from "./release-files.ts";

export interface PackageSummary {
  readonly id: string;
  readonly version: string;
  readonly arch: number;
  readonly filename: string | null;
  readonly missing: readonly string[];
  readonly flatcar_action: { readonly sha256: string } | null;
  readonly extra_files: readonly { readonly name: string; readonly hash256: string }[] | null;
}

export interface Files {
  readonly hosted: boolean;
  readonly files: readonly { readonly name: string; readonly hash256: string | null; readonly state: string }[];
}

export const ARCHES: Readonly<Record<string, number>> = { amd64: 1, arm64: 2 };

export async function findPackage(
  api: Api,
  base: string,
  version: string,
  arch: string,
): Promise<PackageSummary | null> {
  const query = `searchVersion=${encodeURIComponent(version)}`;
  const packages = await api.all<PackageSummary>(`${base}?${query}`, "packages");
  return packages.find((one) => one.version === version && one.arch === ARCHES[arch]) ?? null;
}

/** What a package is to be of. */
export interface Release {
  readonly version: string;
  readonly arch: string;
  /** Null: only further files are brought. */
  readonly main: HashedFile | null;
  readonly extra: readonly HashedFile[];
}

interface Changes {
  readonly url?: string;
  readonly description?: string;
  readonly onlyHere?: true;
}

/** Why a package that is there is not of these files; null: it is. */
export function differenceOf(present: PackageSummary, { version, arch, main, extra }: Release): string | null {
  const said = Buffer.from(present.flatcar_action?.sha256 ?? "", "base64").toString("hex");
  // What it does not say yet is no difference.
  const differs = (mine: string, theirs: string | null) => Boolean(theirs) && mine !== theirs;
  if (main !== null && (differs(main.name, present.filename) || differs(main.sha256, said))) {
    return `package ${version} (${arch}) is there already, with another payload: ${present.filename}`;
  }
  const named = present.extra_files ?? [];
  const other = extra.find(({ name, sha256 }) =>
    named.some((one) => one.name === name && one.hash256 !== "" && one.hash256 !== sha256),
  );
  return other === undefined ? null : `package ${version} (${arch}) has another ${other.name} already`;
}

/** Makes the package, or adds to it what it does not name yet. @throws ApiError when it is of other files */
export async function providePackage(
  api: Api,
  base: string,
  present: PackageSummary | null,
  release: Release,
  changed: Changes,
): Promise<{ id: string }> {
  const { version, arch, main, extra } = release;
  const extraFiles = extra.map((file) => ({
    name: file.name,
    size: String(file.sizeBytes),
    hash: file.sha1,
    hash256: file.sha256,
  }));
  const changes = {
    ...(changed.url !== undefined && { url: changed.url }),
    ...(changed.description !== undefined && { description: changed.description }),
    ...(changed.onlyHere && { hosting: "only" }),
  };
  const payload = main && {
    filename: main.name,
    size: String(main.sizeBytes),
    hash: main.sha1,
    flatcar_action: { sha256: Buffer.from(main.sha256, "hex").toString("base64") },
  };
  if (present === null) {
    if (payload === null)
      throw new ApiError(`there is no package ${version} (${arch}) yet: it begins with its payload`);
    const what = { type: 1, arch: ARCHES[arch], version, url: publicFolder(arch, version) };
    return api.call("POST", base, { ...what, ...payload, extra_files: extraFiles, ...changes });
  }
  const difference = differenceOf(present, release);
  if (difference !== null) throw new ApiError(difference);
  const named = present.extra_files ?? [];
  const added = extraFiles.filter(({ name }) => !named.some((one) => one.name === name));
  const lacks = present.missing.length > 0 && payload !== null;
  if (added.length === 0 && Object.keys(changes).length === 0 && !lacks) return present;
  const filled = { ...present, ...(lacks && payload), ...changes, extra_files: [...named, ...added] };
  return api.call("PUT", `${base}/${present.id}`, filled);
}

const TRIES = 8;

/** Goes on where it was, also when the connection breaks or the server is away for a while. @throws ApiError */
export async function bring(api: Api, base: string, file: HashedFile, onSent: (bytes: number) => void): Promise<void> {
  const path = `${base}/${encodeURIComponent(file.name)}`;
  let shown = 0;
  /** Of the file itself: the server can't help it. */
  const faults: string[] = [];
  for (let attempt = 1; ; attempt += 1) {
    try {
      const { files } = await api.call<Files>("GET", base);
      const isHere = (one: Files["files"][number]) => one.state === "hosted" && one.hash256 === file.sha256;
      if (files.some((one) => one.name === file.name && isHere(one))) return onSent(file.sizeBytes - shown);
      const { received } = await api.call<{ received: number }>("GET", `${path}/upload`);
      // All of it may be here, and the last word on it lost: then it is sent again.
      const from = received < file.sizeBytes ? received : 0;
      onSent(from - shown);
      shown = from;
      const content = contentOf(file, from, faults, (bytes) => {
        shown += bytes;
        onSent(bytes);
      });
      const range = `bytes ${from}-${file.sizeBytes - 1}/${file.sizeBytes}`;
      await api.put(path, range, ReadableStream.from(content));
      return;
    } catch (error) {
      if (faults[0] !== undefined) throw new ApiError(`${file.path} ${faults[0]}`);
      const passing = error instanceof ApiError && (error.status === null || [408, 409, 503].includes(error.status));
      if (!passing || attempt === TRIES) throw error;
      await wait(Math.min(30_000, 500 * 2 ** attempt));
    }
  }
}

/** @param faults why it could not be read to its end */
async function* contentOf(
  { path, sizeBytes }: HashedFile,
  from: number,
  faults: string[],
  onRead: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  let at = from;
  try {
    for await (const chunk of createReadStream(path, { start: from, highWaterMark: 1 << 18 })) {
      at += chunk.length;
      onRead(chunk.length);
      yield chunk;
    }
    if (at < sizeBytes) throw new Error(`it has become shorter, ${at} bytes`);
  } catch (error) {
    faults.push(`can't be read: ${error instanceof Error ? error.message : String(error)}`);
    throw error;
  }
}
