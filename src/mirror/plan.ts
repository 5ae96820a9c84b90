/** What a mirror is to hold: what is offered now, beside what it has. Nothing is fetched here. */
import { compareVersions, isVersion } from "../rollout/version.ts";
import type { Source } from "./download.ts";
import { MirrorError } from "./keys.ts";
import {
  type Arch,
  checkChannelName,
  isFileName,
  keyOf,
  MIRRORED,
  type MirrorChannel,
  type MirrorManifest,
  type MirrorRelease,
  nameOf,
} from "./manifest.ts";

/** What an upstream says of a file. */
export interface OfferedFile {
  readonly name: string;
  readonly size: number;
  /** In hexadecimal; null: it doesn't say. */
  readonly sha1: string | null;
  readonly sha256: string | null;
}

export interface OfferedRelease {
  readonly version: string;
  /** The payload itself first. */
  readonly files: readonly OfferedFile[];
  /** Where one of its files is, in the order to try. */
  readonly sourcesOf: (file: OfferedFile) => readonly Source[];
}

/** What a channel holds: its own release, and the floors on the way there. */
export interface Offered {
  readonly version: string;
  readonly floors: readonly { readonly version: string; readonly reason: string | null }[];
  readonly releases: readonly OfferedRelease[];
}

export interface WantedRelease {
  readonly arch: Arch;
  readonly version: string;
  readonly channels: readonly string[];
  readonly files: readonly OfferedFile[];
  /** Null: the upstream doesn't offer it any more. */
  readonly sourcesOf: OfferedRelease["sourcesOf"] | null;
}

export interface Wishes {
  readonly channels: readonly string[];
  readonly arches: readonly Arch[];
  /** Of each channel's releases that it no longer points to. */
  readonly keep: number;
  /** Null: nothing. @throws MirrorError */
  readonly ask: (channel: string, arch: Arch) => Promise<Offered | null>;
}

export interface Plan {
  readonly releases: readonly WantedRelease[];
  readonly channels: readonly MirrorChannel[];
  /** What a person should know. */
  readonly notes: readonly string[];
}

/** @throws MirrorError when a release is not what it was, or nothing is offered at all */
export async function planMirror(wishes: Wishes, before: MirrorManifest | null): Promise<Plan> {
  for (const name of wishes.channels) checkChannelName(name);
  const notes: string[] = [];
  const releases = new Map<string, WantedRelease>();
  for (const release of before?.releases ?? []) releases.set(keyOf(release), asWanted(release));
  const channels = new Map((before?.channels ?? []).map((channel) => [`${channel.name} (${channel.arch})`, channel]));
  for (const name of wishes.channels) {
    for (const arch of wishes.arches) {
      const key = `${name} (${arch})`;
      const offered = await wishes.ask(name, arch);
      const present = channels.get(key);
      if (offered === null) {
        notes.push(`${key}: the upstream offers nothing`);
        continue;
      }
      if (present !== undefined && compareVersions(offered.version, present.version, MIRRORED) < 0) {
        notes.push(`${key}: the upstream has gone back to ${offered.version}; the mirror stays at ${present.version}`);
        continue;
      }
      channels.set(key, channelOf(name, arch, offered));
      for (const release of offered.releases) {
        const wanted = combined(releases.get(keyOf({ arch, version: release.version })), release, name, arch);
        releases.set(keyOf(wanted), wanted);
      }
    }
  }
  if (channels.size === 0) throw new MirrorError(`there is nothing to mirror: ${notes.join("; ")}`);
  const all = { releases: [...releases.values()], channels: [...channels.values()], notes };
  return { ...all, releases: keptOf(all, wishes.keep) };
}

/** What channels need, and of each channel's others the newest. */
function keptOf({ releases, channels }: Plan, keep: number): readonly WantedRelease[] {
  const needed = new Set(
    channels.flatMap(({ arch, version, floors }) =>
      [version, ...floors.map((floor) => floor.version)].map((one) => keyOf({ arch, version: one })),
    ),
  );
  for (const { name, arch } of channels) {
    const others = releases
      .filter((release) => release.arch === arch && release.channels.includes(name) && !needed.has(keyOf(release)))
      .sort((a, b) => compareVersions(b.version, a.version, "semver-build"));
    for (const release of others.slice(0, keep)) needed.add(keyOf(release));
  }
  return releases.filter((release) => needed.has(keyOf(release)));
}

function channelOf(name: string, arch: Arch, { version, floors }: Offered): MirrorChannel {
  const sorted = [...floors].sort((a, b) => compareVersions(a.version, b.version, MIRRORED));
  return { name, arch, version, floors: sorted.map((floor) => ({ version: floor.version, reason: floor.reason })) };
}

function asWanted({ arch, version, channels, files }: MirrorRelease): WantedRelease {
  const offered = files.map((file) => ({ ...file, name: nameOf(file) }));
  return { arch, version, channels, files: offered, sourcesOf: null };
}

/** @throws MirrorError when a release is not what it was, or has names that no file can have here */
function combined(
  before: WantedRelease | undefined,
  { version, files, sourcesOf }: OfferedRelease,
  channel: string,
  arch: Arch,
): WantedRelease {
  if (!isVersion(version, MIRRORED))
    throw new MirrorError(`the upstream offers a version that is none: ${JSON.stringify(version)}`);
  const release = keyOf({ arch, version });
  const known = (file: OfferedFile) => before?.files.find(({ name }) => name === file.name);
  for (const [index, file] of files.entries()) {
    if (!isFileName(file.name) || files.findIndex(({ name }) => name === file.name) !== index) {
      throw new MirrorError(`${release}: the upstream names a file ${JSON.stringify(file.name)}, which is not taken`);
    }
    if (file.sha1 === null && file.sha256 === null) {
      throw new MirrorError(`${release}: the upstream has no hash for ${file.name}`);
    }
    const had = known(file);
    const differs = (a: string | null, b: string | null) => a !== null && b !== null && a !== b;
    if (had && (had.size !== file.size || differs(had.sha1, file.sha1) || differs(had.sha256, file.sha256))) {
      throw new MirrorError(
        `${release}: the upstream has another ${file.name} by now than the mirror; nothing was changed`,
      );
    }
  }
  // What is known of a file by now stays required.
  const said = files.map((file) => ({
    ...file,
    sha1: file.sha1 ?? known(file)?.sha1 ?? null,
    sha256: file.sha256 ?? known(file)?.sha256 ?? null,
  }));
  const more = (before?.files ?? []).filter(({ name }) => !files.some((file) => file.name === name));
  const channels = [...new Set([...(before?.channels ?? []), channel])].sort();
  return { arch, version, channels, files: [...said, ...more], sourcesOf };
}
