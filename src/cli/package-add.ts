/** `turnout packages add`: makes a package of files and brings them to the server. Run again, it goes on where it was. */
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { SingleBar } from "cli-progress";
import { Command, Option } from "commander";
import { Api, ApiError, type AppOptions, acting, ofApp } from "./api.ts";
import { appPath } from "./naming.ts";
import { type HashedFile, hashed, placeOf, type ReleaseFile, releaseFile, sorted } from "./release-files.ts";
import { printJson } from "./terminal.ts";

interface AddOptions extends AppOptions {
  readonly version?: string;
  readonly arch?: string;
  readonly url?: string;
  readonly description?: string;
  readonly onlyHere?: true;
}

interface PackageSummary {
  readonly id: string;
  readonly version: string;
  readonly arch: number;
  readonly filename: string | null;
  readonly flatcar_action: { readonly sha256: string } | null;
  readonly extra_files: readonly { readonly name: string; readonly hash256: string }[] | null;
}
interface Files {
  readonly hosted: boolean;
  readonly files: readonly { readonly name: string; readonly hash256: string | null; readonly state: string }[];
}

const ARCHES: Readonly<Record<string, number>> = { amd64: 1, arm64: 2 };

export function packageAddCommand(): Command {
  const command = new Command("add")
    .description(
      "make a package of an update payload, with OEM images and extensions, and bring the files to the server",
    )
    .argument("<file...>", "flatcar_production_update.gz, and oem-*.gz and flatcar-*.gz that belong to it")
    .option("--version <version>", "else from version.txt beside the file, or from …/amd64-usr/VERSION/")
    .addOption(new Option("--arch <arch>", "else from …/amd64-usr/ or …/arm64-usr/").choices(Object.keys(ARCHES)))
    .option("--url <url>", "where nodes get the files if not from this server; Flatcar's own server when left out")
    .option("--description <text>", "for people")
    .option("--only-here", "nodes get the files from this server only, and nothing before all of them are here");
  return ofApp(command).action(acting(add));
}

async function add(paths: readonly string[], options: AddOptions): Promise<void> {
  const files = paths.map(releaseFile);
  const { version, arch } = whatItIs(files, options);
  const quiet = options.json === true || !process.stderr.isTTY;
  const known = await withBar("reading", files, quiet, async (bar) => {
    const all: HashedFile[] = [];
    for (const file of files) all.push(await hashed(file, bar(file)));
    return all;
  });
  const api = new Api(options.server);
  const base = `${await appPath(api, options.app)}/packages`;
  const present = await find(api, base, version, arch);
  const { id } = await provide(api, base, present, known, version, arch, options);
  const path = `${base}/${id}/files`;
  await withBar("sending", files, quiet, async (bar) => {
    for (const file of known) await bring(api, path, file, bar(file));
  });
  const answer = await api.call<Files>("GET", path);
  if (options.json) printJson({ id, version, arch, ...answer });
  else process.stdout.write(summary(id, version, arch, present !== null, answer));
}

/** @throws ApiError that says which option would help */
function whatItIs(files: readonly ReleaseFile[], options: AddOptions): { version: string; arch: string } {
  const places = files.map(({ path }) => placeOf(path));
  const one = (what: "version" | "arch"): string => {
    const given = options[what];
    if (given !== undefined) return given;
    const said = [...new Set(places.map((place) => place[what]).filter((value) => value !== null))];
    if (said.length === 1 && said[0] !== undefined) return said[0];
    if (said.length > 1) throw new ApiError(`these files are of different ${what}s: ${said.join(", ")}`);
    throw new ApiError(`nothing says which ${what === "arch" ? "architecture" : "version"} this is: use --${what}`);
  };
  return { version: one("version"), arch: one("arch") };
}

async function find(api: Api, base: string, version: string, arch: string): Promise<PackageSummary | null> {
  const query = `perpage=1000&searchVersion=${encodeURIComponent(version)}`;
  const { packages } = await api.call<{ packages: readonly PackageSummary[] | null }>("GET", `${base}?${query}`);
  return packages?.find((one) => one.version === version && one.arch === ARCHES[arch]) ?? null;
}

/** Makes the package, or adds to it what it does not name yet. @throws ApiError when it is of other files */
async function provide(
  api: Api,
  base: string,
  present: PackageSummary | null,
  files: readonly HashedFile[],
  version: string,
  arch: string,
  options: AddOptions,
): Promise<{ id: string }> {
  const { main, extra } = sorted(files);
  const extraFiles = extra.map((file) => ({
    name: file.name,
    size: String(file.sizeBytes),
    hash: file.sha1,
    hash256: file.sha256,
  }));
  const changes = {
    ...(options.url !== undefined && { url: options.url }),
    ...(options.description !== undefined && { description: options.description }),
    ...(options.onlyHere && { hosting: "only" }),
  };
  if (present === null) {
    if (main === null) throw new ApiError(`there is no package ${version} (${arch}) yet: it begins with its payload`);
    return api.call("POST", base, {
      type: 1,
      arch: ARCHES[arch],
      version,
      url: `https://update.release.flatcar-linux.net/${arch}-usr/${version}/`,
      filename: main.name,
      size: String(main.sizeBytes),
      hash: main.sha1,
      flatcar_action: { sha256: Buffer.from(main.sha256, "hex").toString("base64") },
      extra_files: extraFiles,
      ...changes,
    });
  }
  const said = Buffer.from(present.flatcar_action?.sha256 ?? "", "base64").toString("hex");
  if (main !== null && (main.name !== present.filename || main.sha256 !== said)) {
    throw new ApiError(`package ${version} (${arch}) is there already, with another payload: ${present.filename}`);
  }
  const named = present.extra_files ?? [];
  for (const file of extraFiles) {
    const other = named.find(({ name }) => name === file.name);
    if (other !== undefined && other.hash256 !== "" && other.hash256 !== file.hash256) {
      throw new ApiError(`package ${version} (${arch}) has another ${file.name} already`);
    }
  }
  const added = extraFiles.filter(({ name }) => !named.some((one) => one.name === name));
  if (added.length === 0 && Object.keys(changes).length === 0) return present;
  return api.call("PUT", `${base}/${present.id}`, { ...present, ...changes, extra_files: [...named, ...added] });
}

const TRIES = 8;

/** Goes on where it was, also when the connection breaks or the server is away for a while. @throws ApiError */
async function bring(api: Api, base: string, file: HashedFile, onSent: (bytes: number) => void): Promise<void> {
  const { files } = await api.call<Files>("GET", base);
  if (files.some((one) => one.name === file.name && one.state === "hosted" && one.hash256 === file.sha256)) {
    return onSent(file.sizeBytes);
  }
  const path = `${base}/${encodeURIComponent(file.name)}`;
  let shown = 0;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const { received } = await api.call<{ received: number }>("GET", `${path}/upload`);
      // All of it may be here, and the last word on it lost: then it is sent again.
      const from = received < file.sizeBytes ? received : 0;
      onSent(from - shown);
      shown = from;
      const stream = createReadStream(file.path, { start: from, highWaterMark: 1 << 18 });
      stream.on("data", (chunk) => {
        shown += chunk.length;
        onSent(chunk.length);
      });
      const range = `bytes ${from}-${file.sizeBytes - 1}/${file.sizeBytes}`;
      // The two kinds of streams are one, but for their types.
      await api.put(path, range, Readable.toWeb(stream) as ReadableStream);
      return;
    } catch (error) {
      const passing = error instanceof ApiError && (error.status === null || [408, 409, 503].includes(error.status));
      if (!passing || attempt === TRIES) throw error;
      await wait(Math.min(30_000, 500 * 2 ** attempt));
    }
  }
}

type Bar = (file: ReleaseFile) => (bytes: number) => void;

async function withBar<T>(
  what: string,
  files: readonly ReleaseFile[],
  quiet: boolean,
  work: (bar: Bar) => Promise<T>,
): Promise<T> {
  if (quiet) return work(() => () => {});
  const bar = new SingleBar({
    format: `${what} {name} {bar} {percentage}% | {done} of {all} MB | {eta_formatted} left`,
    hideCursor: true,
    clearOnComplete: true,
    barsize: 30,
  });
  const all = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);
  let done = 0;
  bar.start(all, 0, { name: "", done: "0", all: megabytes(all) });
  try {
    return await work(({ name }) => (bytes) => {
      done += bytes;
      bar.update(done, { name, done: megabytes(done) });
    });
  } finally {
    bar.stop();
  }
}

function summary(id: string, version: string, arch: string, known: boolean, { hosted, files }: Files): string {
  const missing = files.filter(({ state }) => state !== "hosted");
  const lines = [
    `package ${version} (${arch}) ${known ? "was there already" : "made"}: ${id}`,
    ...files.map(({ name, state }) => `  ${state.padEnd(9)}  ${name}`),
    hosted
      ? "all of its files are here: nodes get them from this server"
      : `not here: ${missing.map(({ name }) => name).join(", ")}; nodes get them elsewhere, if at all`,
    ...(known ? [] : ["nothing is offered before a channel points to it"]),
  ];
  return `${lines.join("\n")}\n`;
}
