/**
 * What a mirror holds, written down and signed: `turnout-mirror.json`, beside it `turnout-mirror.json.sig` with a signature in
 * base64 on each line, over the very bytes of the file. The files themselves are laid out as Flatcar's server has them.
 */
import { z } from "zod";
import type { VersionOrder } from "../rollout/model/configuration.ts";
import { compareVersions, isVersion } from "../rollout/version.ts";
import { MirrorError } from "./keys.ts";

/** A mirror is of Flatcar's releases. What differs in build metadata only may take each other's place, as upstream has it. */
export const MIRRORED: VersionOrder = "semver";

export const MANIFEST_FILE = "turnout-mirror.json";
export const SIGNATURE_FILE = `${MANIFEST_FILE}.sig`;
export const ARCHES = ["amd64", "arm64"] as const;
export type Arch = (typeof ARCHES)[number];

/** Larger than any image. */
export const MOST_BYTES = 64 * 2 ** 30;

/** What stands in an address as it is, and in no folder but its own. Ours are the names that these exclude. */
const NAME = /^(?!version\.txt$)[A-Za-z\d_][\w.~+=@,-]{0,99}(?<!\.(sha256|DIGESTS|part))$/;

export function isFileName(name: string): boolean {
  return NAME.test(name);
}

/** @throws MirrorError before anything is fetched that could not be written down */
export function checkChannelName(name: string): void {
  if (channelName.safeParse(name).success) return;
  throw new MirrorError(`there is no channel ${JSON.stringify(name)}: names have 1 to ${MOST_LETTERS} characters`);
}

/** Where a file of a release is, from the mirror's own folder. */
export function pathOf(arch: Arch, version: string, name: string): string {
  return `${folderOf(arch, version)}/${name}`;
}

export function folderOf(arch: Arch, version: string): string {
  return `${arch}-usr/${version}`;
}

export function nameOf({ path }: { readonly path: string }): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

const hash = (digits: number) =>
  z.string().regex(new RegExp(`^[\\da-f]{${digits}}$`), `must be ${digits} hexadecimal digits`);
const version = z.string().refine((text) => isVersion(text, MIRRORED), "must be a semantic version");
const MOST_LETTERS = 25;
const channelName = z.string().min(1).max(MOST_LETTERS);
const arch = z.enum(ARCHES);

const file = z.strictObject({
  path: z.string().max(500),
  /** Bytes. */
  size: z.int().min(1).max(MOST_BYTES),
  sha1: hash(40),
  sha256: hash(64),
});
export type MirrorFile = z.output<typeof file>;

const release = z
  .strictObject({
    arch,
    version,
    /** That it was fetched for, now or earlier. */
    channels: z.array(channelName).min(1).max(100),
    /** The payload itself first, then OEM images and extensions. */
    files: z.array(file).min(1).max(500),
  })
  .superRefine(({ arch, version, files }, context) => {
    const seen = new Set<string>();
    for (const [index, { path }] of files.entries()) {
      const name = nameOf({ path });
      if (!isFileName(name) || path !== pathOf(arch, version, name) || seen.has(path)) {
        const message = `"${path}" can't be a file of this release; it would be ${pathOf(arch, version, "NAME")}, each name once`;
        context.addIssue({ code: "custom", path: ["files", index, "path"], message });
      }
      seen.add(path);
    }
  });
export type MirrorRelease = z.output<typeof release>;

const channel = z.strictObject({
  name: channelName,
  arch,
  /** What it points to. */
  version,
  floors: z.array(z.strictObject({ version, reason: z.string().max(500).nullable() })).max(500),
});
export type MirrorChannel = z.output<typeof channel>;

const manifest = z
  .strictObject({
    format: z.literal(1, { error: "must be 1: a newer Turnout has written it, and a newer one must read it" }),
    /** The same for all that is ever written into this folder. */
    mirror: z.uuid(),
    /** Grows with every writing. */
    created: z.iso.datetime(),
    tool: z.string().max(100),
    /** Its id, without braces. */
    application: z.string().min(1).max(250),
    releases: z.array(release).max(5_000),
    channels: z.array(channel).max(500),
  })
  .superRefine(({ releases, channels }, context) => {
    const has = new Set(releases.map(keyOf));
    if (has.size !== releases.length) {
      context.addIssue({ code: "custom", path: ["releases"], message: "must have each release once" });
    }
    if (new Set(channels.map(({ name, arch }) => `${name} ${arch}`)).size !== channels.length) {
      context.addIssue({ code: "custom", path: ["channels"], message: "must have each channel once" });
    }
    for (const [index, { arch, version, floors }] of channels.entries()) {
      const path = ["channels", index];
      for (const wanted of [version, ...floors.map((floor) => floor.version)]) {
        if (has.has(keyOf({ arch, version: wanted })) && compareVersions(wanted, version, MIRRORED) <= 0) continue;
        context.addIssue({
          code: "custom",
          path,
          message: `${wanted} must be among the releases, and not above ${version}`,
        });
      }
    }
  });
export type MirrorManifest = z.output<typeof manifest>;

export function keyOf({ arch, version }: { readonly arch: Arch; readonly version: string }): string {
  return `${version} (${arch})`;
}

/** @throws MirrorError that says what is wrong, and where */
export function parseManifest(text: string): MirrorManifest {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw new MirrorError(`${MANIFEST_FILE} is no JSON`);
  }
  const parsed = manifest.safeParse(content);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new MirrorError(`${MANIFEST_FILE}: ${issue?.path.join(".") || "it"}: ${issue?.message}`);
}

/** One way to write it: the same content is the same text. */
export function textOf(manifest: MirrorManifest): string {
  const releases = [...manifest.releases].sort(
    (a, b) =>
      a.arch.localeCompare(b.arch) ||
      compareVersions(a.version, b.version, MIRRORED) ||
      (a.version < b.version ? -1 : 1),
  );
  const channels = [...manifest.channels].sort((a, b) => (`${a.name} ${a.arch}` < `${b.name} ${b.arch}` ? -1 : 1));
  return `${JSON.stringify(ordered({ ...manifest, releases, channels }), null, 2)}\n`;
}

function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, inner]) => [name, ordered(inner)]));
}
