/** A directory in Flatcar's layout that nobody has signed: what its files, and the digests beside them, say of themselves. */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join, sep } from "node:path";
import { archOf, contradictionOf, extrasAmong, namesInSums, PAYLOAD, SUMS_FILE } from "../mirror/layout.ts";
import { MIRRORED } from "../mirror/manifest.ts";
import { PayloadReader, WrongPayload } from "../payloads/format.ts";
import type { VersionOrder } from "../rollout/model/configuration.ts";
import { compareVersions, isVersion } from "../rollout/version.ts";
import { ApiError } from "./api.ts";
import { withBar } from "./bar.ts";
import { ARCHES, type Release } from "./bring.ts";
import type { ChannelPlan } from "./import-channels.ts";
import { type HashedFile, hashed, placeOf, type ReleaseFile, releaseFile, saidIn } from "./release-files.ts";

/** Every release that has an update payload, wherever below the directory. @throws ApiError */
export async function plainReleases(folder: string, quiet: boolean): Promise<readonly Release[]> {
  const found = foldersWithPayload(folder).map((place) => ({ place, files: filesIn(folder, place) }));
  if (found.length === 0) throw new ApiError(`there is no ${PAYLOAD} in ${folder}, nor in any folder below`);
  const releases = found.map(({ place, files }) => ({ ...identityOf(place), files }));
  const twice = releases.find((one, index) =>
    releases.slice(0, index).some(({ version, arch }) => version === one.version && arch === one.arch),
  );
  if (twice !== undefined) throw new ApiError(`${twice.version} (${twice.arch}) is in ${folder} twice`);
  return withBar(
    "checking",
    found.flatMap(({ files }) => files),
    quiet,
    async (bar) => {
      const checked: Release[] = [];
      for (const { version, arch, files } of releases) {
        const whole: HashedFile[] = [];
        for (const file of files) whole.push(await checkedFile(file, bar(file)));
        const [main = null, ...extra] = whole;
        checked.push({ version, arch, main, extra });
      }
      return checked;
    },
  );
}

/** The newest of each architecture. */
export function newestFor(channel: string, releases: readonly Release[], order: VersionOrder): readonly ChannelPlan[] {
  return Object.keys(ARCHES).flatMap((arch) => {
    const [newest] = releases
      .filter((release) => release.arch === arch)
      .sort((a, b) => compareVersions(b.version, a.version, order));
    return newest === undefined ? [] : [{ name: channel, arch, version: newest.version, floors: [] }];
  });
}

function foldersWithPayload(folder: string): readonly string[] {
  try {
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
    const places = files.filter((path) => basename(path) === PAYLOAD).map((path) => dirname(join(folder, path)));
    // A link such as "current" leads to what is there already.
    return [...new Map(places.reverse().map((place) => [realpathSync(place), place])).values()].reverse();
  } catch (error) {
    throw new ApiError(`${folder} can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The payload first. @throws ApiError when a file is missing, or leads out of the directory */
function filesIn(root: string, place: string): readonly ReleaseFile[] {
  const sums = join(place, SUMS_FILE);
  const summed = namesInSums(existsSync(sums) ? readFileSync(sums, "utf8") : "");
  if (summed.stray !== null) throw new ApiError(`${sums} names ${summed.stray}, which is not in its folder`);
  return [PAYLOAD, ...extrasAmong([...readdirSync(place), ...summed.names])].map((name) => {
    const file = releaseFile(join(place, name));
    const real = realpathSync(file.path);
    if (!real.startsWith(realpathSync(root) + sep)) throw new ApiError(`${file.path} leads out of ${root}, to ${real}`);
    return file;
  });
}

/** @throws ApiError */
function identityOf(place: string): { version: string; arch: string } {
  const { version, arch } = placeOf(join(place, PAYLOAD));
  const named = basename(place);
  if (version === null || !isVersion(version, MIRRORED)) {
    throw new ApiError(`nothing says which version ${place} is: it needs a version.txt, or the version for its name`);
  }
  const board = place.split(sep).findLast((name) => archOf(name) !== null) ?? null;
  const contradiction = contradictionOf(saidIn(place), { version: isVersion(named, MIRRORED) ? named : null, board });
  if (contradiction !== null) throw new ApiError(`${place}/${contradiction}`);
  if (arch === null)
    throw new ApiError(`nothing says which architecture ${place} is: put it into amd64-usr/ or arm64-usr/`);
  return { version, arch };
}

/** @throws ApiError when its digests say otherwise, or it is no payload that a node would take */
async function checkedFile(file: ReleaseFile, onRead: (bytes: number) => void): Promise<HashedFile> {
  const reader = new PayloadReader(null);
  try {
    const known = await hashed(file, onRead, (chunk) => reader.update(chunk));
    reader.end();
    return known;
  } catch (error) {
    if (error instanceof WrongPayload) throw new ApiError(`${file.path}: ${error.message}`);
    throw error;
  }
}
