/**
 * Flatcar's bare layout, which nobody signs: `amd64-usr/current/version.txt` says where the channel is, and the digests beside
 * the files what they have to be. These show damage; who has written all of it is shown by a payload key alone.
 */
import {
  contradictingDigests,
  contradictionOf,
  DIGEST_NAMES,
  type Digest,
  type DigestKind,
  digestFault,
  digestFilesOf,
  digestsIn,
  extrasAmong,
  namesInSums,
  PAYLOAD,
  readVersionFile,
  SUMS_FILE,
  VERSION_FILE,
} from "../mirror/layout.ts";
import { type Arch, folderOf, MOST_BYTES } from "../mirror/manifest.ts";
import { PACKAGE_TYPE, type VersionOrder } from "../rollout/model/configuration.ts";
import { compareVersions, isVersion } from "../rollout/version.ts";
import { type FileTree, filesIn, layoutArch, whereNodesGet } from "./file-tree.ts";
import { type Release, type ReleaseFile, SourceFailed } from "./release.ts";
import type { Upstream } from "./upstream.ts";

/** For all answers that describe a release together. */
const DESCRIPTION_MS = 600_000;
/** Of version.txt, and of one file's digests. */
const MAX_TEXT_BYTES = 64 * 2 ** 10;
const MAX_SUMS_BYTES = 2 ** 20;
/** A real release has some 30. */
const MOST_EXTRAS = 200;

export function plainUpstream(tree: FileTree): Upstream {
  return {
    async releases({ arch: number, have, order }, signal) {
      const arch = layoutArch(number);
      const limit = AbortSignal.any([signal, AbortSignal.timeout(DESCRIPTION_MS)]);
      const version = await newestVersion(tree, arch, order, limit);
      const nothing = { target: null, floors: [], incomplete: [] };
      if (version === have) return nothing;
      try {
        return { ...nothing, target: { ...(await described(tree, arch, version, limit)), arch: number } };
      } catch (error) {
        if (error instanceof Incomplete) return { ...nothing, incomplete: [{ version, why: error.message }] };
        throw error;
      }
    },
    ...filesIn(tree),
  };
}

/** Its files are not all there, or not all described; the message says which, and what would be right. */
class Incomplete extends Error {}

/** Where nobody has written down which one is current, it is the newest that is there. @throws SourceFailed */
async function newestVersion(tree: FileTree, arch: Arch, order: VersionOrder, signal: AbortSignal): Promise<string> {
  const board = `${arch}-usr`;
  const path = `${board}/current/${VERSION_FILE}`;
  const text = await tree.text(path, MAX_TEXT_BYTES, signal);
  if (text !== null) {
    const said = readVersionFile(text);
    const contradiction = contradictionOf(said, { version: null, board });
    if (contradiction !== null) throw new SourceFailed(`${tree.place(`${board}/current`)}: ${contradiction}`);
    if (said.version !== null && isVersion(said.version, order)) return said.version;
    throw new SourceFailed(`${tree.place(path)} names no version; it needs a line such as FLATCAR_VERSION=4230.2.1`);
  }
  const names = (await tree.names(board, signal)) ?? [];
  // Somebody says what is current, and it can't be read now: the newest may be another one.
  if (names.includes("current")) throw new SourceFailed(`${tree.place(`${board}/current`)} has no ${VERSION_FILE}`);
  const versions = names.filter((name) => isVersion(name, order)).sort((a, b) => compareVersions(a, b, order));
  const newest = versions.at(-1);
  if (newest !== undefined) return newest;
  throw new SourceFailed(`there is no ${tree.place(path)}, and ${tree.place(board)} lists no versions`);
}

/** @throws Incomplete, SourceFailed */
async function described(
  tree: FileTree,
  arch: Arch,
  version: string,
  signal: AbortSignal,
): Promise<Omit<Release, "arch">> {
  const folder = folderOf(arch, version);
  const said = readVersionFile((await tree.text(`${folder}/${VERSION_FILE}`, MAX_TEXT_BYTES, signal)) ?? "");
  const contradiction = contradictionOf(said, { version, board: `${arch}-usr` });
  if (contradiction !== null) throw new Incomplete(`its ${contradiction}`);
  const sums = await tree.text(`${folder}/${SUMS_FILE}`, MAX_SUMS_BYTES, signal);
  const reader = { tree, folder, sums, signal };
  const payload = await describeFile(reader, PAYLOAD);
  if (payload.sha256 === null) {
    throw new Incomplete(`nothing says which SHA-256 ${PAYLOAD} has; it needs ${PAYLOAD}.sha256 or ${SUMS_FILE}`);
  }
  const extraFiles: ReleaseFile[] = [];
  for (const name of await extrasIn(reader)) extraFiles.push(await describeFile(reader, name));
  const where = whereNodesGet(tree, arch, version);
  return { type: PACKAGE_TYPE.flatcar, version, ...where, description: "", payload, extraFiles, action: {} };
}

interface Reader {
  readonly tree: FileTree;
  /** Of the release. */
  readonly folder: string;
  /** What is in its SHA256SUMS; null: it has none. */
  readonly sums: string | null;
  readonly signal: AbortSignal;
}

/** @throws Incomplete unless it is certain which files belong to the release */
async function extrasIn({ tree, folder, sums, signal }: Reader): Promise<readonly string[]> {
  const listed = (await tree.names(folder, signal)) ?? [];
  const { names, stray } = namesInSums(sums ?? "");
  // What doesn't name the payload is no list of the folder.
  if (![...names, ...listed].includes(PAYLOAD)) {
    if (sums !== null) throw new Incomplete(`${SUMS_FILE} does not name ${PAYLOAD}, so it is no list of all files`);
    throw new Incomplete(
      `nothing says which OEM images and extensions it has; it needs ${SUMS_FILE} (sha256sum *.gz > ${SUMS_FILE}), ` +
        `or the web server must list ${tree.place(folder)}`,
    );
  }
  if (stray !== null) throw new Incomplete(`${SUMS_FILE} names ${JSON.stringify(stray)}, which is not in its folder`);
  const extras = extrasAmong([...listed, ...names]);
  if (extras.length > MOST_EXTRAS) throw new Incomplete(`it has more than ${MOST_EXTRAS} further files`);
  return extras;
}

/** @throws Incomplete when it is missing, or nothing says what has to be in it */
async function describeFile(reader: Reader, name: string): Promise<ReleaseFile> {
  const { tree, folder, signal } = reader;
  const sizeBytes = await tree.sizeOf(`${folder}/${name}`, signal);
  if (sizeBytes === null) throw new Incomplete(`${name} is missing`);
  if (sizeBytes === 0) throw new Incomplete(`${name} is empty`);
  if (sizeBytes > MOST_BYTES) throw new Incomplete(`${name} has ${sizeBytes} bytes, which no image has`);
  const digests = await digestsOf(reader, name);
  const contradiction = contradictingDigests(digests);
  if (contradiction !== null) {
    const [one, other] = contradiction;
    const kind = DIGEST_NAMES[one.kind];
    throw new Incomplete(`${one.by} and ${other.by} name different hashes (${kind}) of ${name}`);
  }
  const of = (wanted: DigestKind) => digests.find(({ kind }) => kind === wanted)?.digest ?? null;
  const [sha1, sha256, sha512] = [of("sha1"), of("sha256"), of("sha512")];
  if (sha1 === null && sha256 === null) {
    throw new Incomplete(`nothing says which SHA-256 ${name} has; it needs ${name}.sha256 or ${SUMS_FILE}`);
  }
  return { name, sizeBytes, sha1: sha1 && Buffer.from(sha1, "hex").toString("base64"), sha256, sha512 };
}

async function digestsOf({ tree, folder, sums, signal }: Reader, name: string): Promise<readonly Digest[]> {
  const digests: Digest[] = [];
  for (const by of digestFilesOf(name)) {
    const text = by === SUMS_FILE ? sums : await tree.text(`${folder}/${by}`, MAX_TEXT_BYTES, signal);
    if (text === null) continue;
    const fault = digestFault(text, by, name);
    if (fault !== null) throw new Incomplete(fault);
    digests.push(...digestsIn(text, by, name));
  }
  return digests;
}
