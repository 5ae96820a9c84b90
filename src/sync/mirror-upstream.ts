/** A mirror that `turnout mirror` has written: what its signed manifest says, and nothing else. */
import { MirrorError, type PublicKey } from "../mirror/keys.ts";
import {
  ARCHES,
  keyOf,
  MANIFEST_FILE,
  type MirrorManifest,
  type MirrorRelease,
  nameOf,
  SIGNATURE_FILE,
} from "../mirror/manifest.ts";
import { MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES, readSigned, type Signed } from "../mirror/signed.ts";
import { PACKAGE_TYPE, type PackageFile } from "../rollout/model/configuration.ts";
import { compareVersions } from "../rollout/version.ts";
import { type FileTree, filesIn, whereNodesGet } from "./file-tree.ts";
import { type MirrorState, OlderMirror } from "./mirror-imports.ts";
import { type Release, SourceFailed } from "./release.ts";
import type { Found, Question, Upstream } from "./upstream.ts";

export interface MirrorUpstreamOptions {
  readonly tree: FileTree;
  readonly trusted: readonly PublicKey[];
  /** @throws OlderMirror */
  readonly begin: (state: MirrorState) => Promise<void>;
}

export function mirrorUpstream({ tree, trusted, begin }: MirrorUpstreamOptions): Upstream {
  async function read(name: string, maxBytes: number, signal: AbortSignal): Promise<string> {
    const text = await tree.text(name, maxBytes, signal);
    if (text === null)
      throw new SourceFailed(`${tree.place(name)} is not there: is this where turnout mirror has written?`);
    return text;
  }

  async function signed(signal: AbortSignal): Promise<Signed> {
    const signatures = await read(SIGNATURE_FILE, MAX_SIGNATURE_BYTES, signal);
    const content = await read(MANIFEST_FILE, MAX_MANIFEST_BYTES, signal);
    return readSigned(Buffer.from(content), signatures, trusted);
  }

  return {
    async releases(question, signal) {
      if (trusted.length === 0)
        throw new SourceFailed("no mirror is trusted here: name its public key in TURNOUT_MIRROR_KEYS");
      try {
        // It may have been written anew between the one file and the other.
        const { manifest, sha256, signer } = await signed(signal).catch((error: unknown) => {
          if (error instanceof MirrorError) return signed(signal);
          throw error;
        });
        const { mirror, created } = manifest;
        await begin({ mirror, createdAt: Date.parse(created), sha256, signedBy: signer.fingerprint });
        return found(manifest, question, tree);
      } catch (error) {
        if (error instanceof MirrorError || error instanceof OlderMirror) throw new SourceFailed(error.message);
        throw error;
      }
    },
    ...filesIn(tree),
  };
}

/** @throws SourceFailed when the mirror is not of this application, or has no such channel */
function found(
  manifest: MirrorManifest,
  { applicationId, productId, track, arch, have, order }: Question,
  tree: FileTree,
): Found {
  if (![applicationId, productId].includes(manifest.application)) {
    throw new SourceFailed(`it is a mirror of the application ${manifest.application}`);
  }
  const name = ARCHES[arch - 1];
  const channel = manifest.channels.find((one) => one.name === track && one.arch === name);
  if (channel === undefined) {
    const there = manifest.channels.map((one) => `${one.name} (${one.arch})`).join(", ");
    throw new SourceFailed(
      `the mirror has no channel ${track} (${name ?? "no such architecture"}); it has ${there || "none"}`,
    );
  }
  const releaseOf = (version: string) => {
    const release = manifest.releases.find((one) => one.arch === channel.arch && one.version === version);
    // The manifest was read strictly: what a channel names is there.
    if (release === undefined) throw new Error(`the manifest lacks ${keyOf({ arch: channel.arch, version })}`);
    return asRelease(release, arch, tree);
  };
  const floors = channel.floors
    // What the channel has may have become one since: it counts as soon as the channel leads beyond it.
    .filter(({ version }) => compareVersions(version, have, order) >= 0)
    .sort((a, b) => compareVersions(a.version, b.version, order))
    .map(({ version, reason }) => ({ ...releaseOf(version), reason }));
  const isNews = channel.version !== have && compareVersions(channel.version, have, order) >= 0;
  const target = isNews ? releaseOf(channel.version) : null;
  return { target, floors, incomplete: [] };
}

function asRelease({ version, arch: name, files }: MirrorRelease, arch: number, tree: FileTree): Release {
  const [payload = null, ...extraFiles] = files.map(
    (file): PackageFile => ({
      name: nameOf(file),
      sizeBytes: file.size,
      sha1: Buffer.from(file.sha1, "hex").toString("base64"),
      sha256: file.sha256,
    }),
  );
  const where = whereNodesGet(tree, name, version);
  return { type: PACKAGE_TYPE.flatcar, version, arch, ...where, description: "", payload, extraFiles, action: {} };
}
