/** `turnout packages add`: makes a package of files and brings them to the server. Run again, it goes on where it was. */
import { Command, Option } from "commander";
import { Api, ApiError, type AppOptions, acting, ofApp } from "./api.ts";
import { withBar } from "./bar.ts";
import { ARCHES, bring, type Files, findPackage, providePackage } from "./bring.ts";
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
  const present = await findPackage(api, base, version, arch);
  const { id } = await providePackage(api, base, present, { version, arch, ...sorted(known) }, options);
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
