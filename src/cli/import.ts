/** `turnout import`: takes the releases of a mirror's directory to a server. Run again, it goes on where it was. */
import { join } from "node:path";
import { Command } from "commander";
import { faultsOf, openMirror, type SignedMirror } from "../mirror/directory.ts";
import { type MirrorRelease, nameOf } from "../mirror/manifest.ts";
import { FLATCAR_APP_ID } from "../virtual/options.ts";
import { Api, ApiError, acting, jsonOption, serverOption } from "./api.ts";
import { withBar } from "./bar.ts";
import { bring, differenceOf, findPackage, providePackage, type Release } from "./bring.ts";
import { type ChannelPlan, type Moved, moveChannels } from "./import-channels.ts";
import { newestFor, plainReleases } from "./import-plain.ts";
import { trustedKeys, trustedKeysOption } from "./mirror-keys.ts";
import { appPath, versionOrderOf } from "./naming.ts";
import type { HashedFile } from "./release-files.ts";
import { counted, note, say as print, printJson, shortTime } from "./terminal.ts";

interface ImportOptions {
  readonly server: string;
  readonly json?: true;
  readonly key?: readonly string[];
  readonly app?: string;
  readonly move?: true;
  readonly allowOlder?: true;
  readonly plain?: true;
  readonly channel?: string;
}

export function importCommand(): Command {
  return new Command("import")
    .description("check a mirror's directory, and bring its releases to the server")
    .argument("<dir>", "what turnout mirror has written")
    .addOption(trustedKeysOption())
    .option("--move", "move the channels to what the mirror has for them; else it asks, or leaves them where they are")
    .option("--allow-older", "also take an older state of a mirror than the last, and move channels back")
    .option("--app <id>", "the server's application: its id, product id or name; the mirror's, when left out")
    .option("--plain", "a directory in Flatcar's layout that nobody has signed: DIR/amd64-usr/VERSION/…")
    .option("--channel <name>", "with --plain: the channel that the newest release is for")
    .addOption(serverOption())
    .addOption(jsonOption())
    .action(acting(importMirror));
}

/** What is imported, whoever says so. */
interface Imported {
  /** The application's path. */
  readonly app: string;
  readonly releases: readonly Release[];
  readonly channels: readonly ChannelPlan[];
}

async function importMirror(folder: string, options: ImportOptions): Promise<void> {
  const api = new Api(options.server);
  const quiet = options.json === true || !process.stderr.isTTY;
  const say = (line: string) => {
    if (!options.json) print(line);
  };
  const wanted = options.plain
    ? await unsigned(api, folder, options, quiet)
    : await signed(api, folder, options, quiet, say);
  const base = `${wanted.app}/packages`;
  await refuseConflicts(api, base, wanted.releases);
  const packages: { id: string; version: string; arch: string; made: boolean }[] = [];
  await withBar("sending", wanted.releases.flatMap(filesOf), quiet, async (bar) => {
    for (const release of wanted.releases) {
      const { id, made } = await provide(api, base, release);
      for (const file of filesOf(release)) await bring(api, `${base}/${id}/files`, file, bar(file));
      packages.push({ id, version: release.version, arch: release.arch, made });
    }
  });
  for (const { version, arch, made } of packages) {
    say(`package ${version} (${arch}) ${made ? "made, with all of its files" : "is there, with all of its files"}`);
  }
  const channels = await moveChannels(api, wanted.app, packages, wanted.channels, options);
  for (const one of channels) {
    say(described(one));
    for (const warning of one.warnings ?? []) note(warning);
  }
  if (options.json) printJson({ packages, channels });
}

async function unsigned(api: Api, folder: string, options: ImportOptions, quiet: boolean): Promise<Imported> {
  const releases = await plainReleases(folder, quiet);
  const app = await appPath(api, options.app ?? FLATCAR_APP_ID);
  const { channel } = options;
  const channels = channel === undefined ? [] : newestFor(channel, releases, await versionOrderOf(api, app));
  return { app, releases, channels };
}

/** Nothing of it is used before all of it is as its manifest says. */
async function signed(
  api: Api,
  folder: string,
  options: ImportOptions,
  quiet: boolean,
  say: (line: string) => void,
): Promise<Imported> {
  const mirror = await openMirror(folder, trustedKeys(options.key));
  const { manifest, signer, sha256 } = mirror;
  say(`mirror of ${shortTime(manifest.created)}, signed by ${signer.fingerprint}`);
  await refuseFaults(mirror, quiet);
  const files = manifest.releases.flatMap((release) => release.files);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  say(
    `${counted(manifest.releases.length, "release")}, ${counted(files.length, "file")}, ${(bytes / 1e6).toFixed(1)} MB: all as the manifest says`,
  );
  const app = await appPath(api, options.app ?? manifest.application);
  await api.call("PUT", `${app}/mirrors/${manifest.mirror}`, {
    created_ts: manifest.created,
    sha256,
    signed_by: signer.fingerprint,
    allow_older: options.allowOlder === true,
  });
  return {
    app,
    releases: manifest.releases.map((release) => asRelease(mirror, release)),
    channels: manifest.channels,
  };
}

const SHOWN_FAULTS = 10;

async function refuseFaults(mirror: SignedMirror, quiet: boolean): Promise<void> {
  const files = mirror.manifest.releases.flatMap(({ files }) =>
    files.map((file) => ({ name: file.path, sizeBytes: file.size })),
  );
  const faults = await withBar("checking", files, quiet, (bar) =>
    faultsOf(mirror, ({ path }, bytes) => bar({ name: path })(bytes)),
  );
  if (faults.length === 0) return;
  const more = faults.length > SHOWN_FAULTS ? [`and ${faults.length - SHOWN_FAULTS} more`] : [];
  const lines = [...faults.slice(0, SHOWN_FAULTS), ...more].map((fault) => `  ${fault}`);
  throw new ApiError(
    `${counted(faults.length, "file")} not as the signed manifest says; nothing was imported\n${lines.join("\n")}\n` +
      "copy the mirror anew, or run turnout mirror again: it mends what is damaged",
  );
}

function asRelease({ folder }: SignedMirror, { arch, version, files }: MirrorRelease): Release {
  const [main = null, ...extra] = files.map(
    (file): HashedFile => ({
      path: join(folder, file.path),
      name: nameOf(file),
      sizeBytes: file.size,
      sha1: Buffer.from(file.sha1, "hex").toString("base64"),
      sha256: file.sha256,
    }),
  );
  return { version, arch, main, extra };
}

function filesOf({ main, extra }: Release): readonly HashedFile[] {
  return main === null ? extra : [main, ...extra];
}

/** Looks at all of them before the first is touched. @throws ApiError */
async function refuseConflicts(api: Api, base: string, releases: readonly Release[]): Promise<void> {
  const conflicts: string[] = [];
  for (const release of releases) {
    const present = await findPackage(api, base, release.version, release.arch);
    const difference = present === null ? null : differenceOf(present, release);
    if (difference !== null) conflicts.push(difference);
  }
  if (conflicts.length > 0)
    throw new ApiError(`${conflicts.join("\n  ")}\nnothing was imported, and nothing overwritten`);
}

/** Nodes of a site without internet get the files from here, or nothing. Of a package that is there its hosting stays. */
async function provide(api: Api, base: string, release: Release): Promise<{ id: string; made: boolean }> {
  const find = () => findPackage(api, base, release.version, release.arch);
  const present = await find();
  try {
    const { id } = await providePackage(api, base, present, release, present === null ? { onlyHere: true } : {});
    return { id, made: present === null };
  } catch (error) {
    // Another import may have made it just now.
    const made = error instanceof ApiError && error.status === 409 && present === null ? await find() : null;
    if (made === null) throw error;
    const { id } = await providePackage(api, base, made, release, {});
    return { id, made: false };
  }
}

function described({ name, arch, from, to, state }: Moved): string {
  const channel = `channel ${name} (${arch})`;
  switch (state) {
    case "moved":
      return `${channel} points to ${to} now; before: ${from ?? "to nothing"}`;
    case "there":
      return `${channel} points to ${to} already`;
    case "left":
      return `${channel} stays at ${from ?? "nothing"}: run it again with --move, and it goes to ${to}`;
    case "newer":
      return `${channel} stays at ${from}: the mirror has ${to}, which is older (--allow-older with --move moves it back)`;
    case "unknown":
      return `there is no ${channel}: make it, and run this again`;
  }
}
