/** `turnout packages`: versions of an application, each for one architecture. */
import { Command, InvalidArgumentError, Option } from "commander";
import { archName, typeName } from "../fleet/document.ts";
import { inWords } from "../rollout/missing.ts";
import { PACKAGE_TYPE } from "../rollout/model/configuration.ts";
import { Api, ApiError, type AppOptions, acting, nothingToChange, ofApp, type ServerOptions } from "./api.ts";
import { confirm, yesOption } from "./confirm.ts";
import { bodyOf, type Field, type Given, list as listField, text, wholeNumber, withFields } from "./fields.ts";
import { sha1, sha256 } from "./hashes.ts";
import { appPath, archOption, findChannel, findPackage, packageName } from "./naming.ts";
import type { ChannelView, FileView, PackageView } from "./objects.ts";
import { packageAddCommand } from "./package-add.ts";
import { facts, printJson, printJsonList, say, shortTime, table } from "./terminal.ts";

const SHA256 = new Option("--sha256 <hash>", "the payload's SHA-256, hexadecimal or base64").argParser(
  sha256("base64"),
);
const FIELDS: readonly Field[] = [
  text("--url <url>", "url", "the folder that the payload is in"),
  text("--filename <name>", "filename", "the payload's name there"),
  { option: new Option("--size <bytes>", "the payload's size").argParser(wholeNumber), field: "size" },
  {
    option: new Option("--hash <hash>", "the payload's SHA-1, hexadecimal or base64").argParser(sha1),
    field: "hash",
  },
  text("--description <text>", "description", "for people"),
  {
    option: new Option("--hosting <how>", "from this server first, or from this server only").choices([
      "first",
      "only",
    ]),
    field: "hosting",
  },
  listField(
    "--extra-files <file...>",
    "extra_files",
    "what belongs to it, e.g. name=oem-azure.gz,size=12345,hash256=…; none",
    readFile,
  ),
];

type PackageOptions = AppOptions &
  Given & { readonly arch?: number; readonly sha256?: string; readonly channelsBlacklist?: readonly string[] };

export function packagesCommand(): Command {
  const command = new Command("packages").description(
    "packages: versions of an application, each for one architecture",
  );
  const sub = (name: string, description: string) => ofApp(command.command(name).description(description));
  const one = (name: string, description: string) =>
    sub(name, description)
      .argument("<package>", "its version or id")
      .addOption(archOption("its architecture, where there is the version for several"));
  sub("list", "the application's packages, the highest version first")
    .option("--search <text>", "only versions that contain it")
    .action(acting(list));
  one("show", "one package, with its files and hashes").action(acting(show));
  settings(sub("create", "add a package; nothing is offered before a channel points to it"))
    .argument("<version>", "e.g. 4230.2.1")
    .addOption(archOption("its architecture; it never changes").makeOptionMandatory())
    .addOption(typeOption())
    .addHelpText("after", CREATE_HELP)
    .action(acting(create));
  command.addCommand(packageAddCommand());
  settings(one("set", "change a package; what is not named stays")).action(acting(set));
  one("delete", "delete a package; a channel that points to it is left without one")
    .addOption(yesOption())
    .action(acting(remove));
  return command;
}

const CREATE_HELP = `
A Flatcar package needs --url, --filename, --size and --sha256. For example:

  turnout packages create 4230.2.1 --arch amd64 \\
    --url https://update.release.flatcar-linux.net/amd64-usr/4230.2.1/ \\
    --filename flatcar_production_update.gz --size "$(stat -c %s update.gz)" \\
    --hash "$(sha1sum < update.gz | cut -d' ' -f1)" \\
    --sha256 "$(sha256sum < update.gz | cut -d' ' -f1)"
`;

function settings(command: Command): Command {
  return withFields(command, FIELDS)
    .addOption(SHA256)
    .option("--channels-blacklist <channel...>", "channels that must not point to it; none");
}

function typeOption(): Option {
  const names = Object.keys(PACKAGE_TYPE);
  const option = new Option("--type <type>", "what it is").choices(names).argParser((name) => {
    const found = Object.entries(PACKAGE_TYPE).find(([known]) => known === name);
    if (found === undefined) throw new InvalidArgumentError(`Allowed choices are ${names.join(", ")}.`);
    return found[1];
  });
  return option.default(PACKAGE_TYPE.flatcar, "flatcar");
}

async function list(options: AppOptions & { readonly search?: string }): Promise<void> {
  const api = new Api(options.server);
  const search = options.search === undefined ? "" : `?searchVersion=${encodeURIComponent(options.search)}`;
  const packages = await api.all<PackageView>(`${await appPath(api, options.app)}/packages${search}`, "packages");
  if (options.json) return printJsonList("packages", packages);
  const rows = packages.map((one) => [
    one.version,
    archName(one.arch),
    shortTime(one.created_ts),
    one.id,
    inWords(one.missing) || null,
  ]);
  process.stdout.write(table(["VERSION", "ARCH", "ADDED", "ID", "LACKS"], rows));
}

async function show(name: string, options: PackageOptions): Promise<void> {
  const api = new Api(options.server);
  print(await findPackage(api, await appPath(api, options.app), name, options.arch ?? null), options);
}

async function create(
  version: string,
  options: PackageOptions & { readonly arch: number; readonly type: number },
): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const { arch, type } = options;
  const needed = type === PACKAGE_TYPE.flatcar ? ["url", "filename", "size", "sha256"] : ["url"];
  const missing = needed.filter((option) => options[option] === undefined).map((option) => `--${option}`);
  if (missing.length > 0) throw new ApiError(`a ${typeName(type)} package needs ${missing.join(", ")}`);
  const body = { version, arch, type, ...(await changesOf(api, app, options, arch, null)) };
  print(await api.call<PackageView>("POST", `${app}/packages`, body), options);
}

async function set(name: string, options: PackageOptions): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const path = `${app}/packages/${(await findPackage(api, app, name, options.arch ?? null)).id}`;
  const seen = await api.seen<PackageView>(path);
  const changes = await changesOf(api, app, options, seen.value.arch, seen.value);
  if (Object.keys(changes).length === 0) throw nothingToChange();
  print(await api.change(path, seen, changes), options);
}

async function changesOf(
  api: Api,
  app: string,
  options: PackageOptions,
  arch: number,
  before: PackageView | null,
): Promise<object> {
  const changes = bodyOf(FIELDS, options);
  const { sha256: payload, channelsBlacklist: blacklist } = options;
  if (payload !== undefined) changes.flatcar_action = { ...before?.flatcar_action, sha256: payload };
  if (blacklist !== undefined) {
    const names = blacklist.filter((name) => name !== "none");
    const channels: ChannelView[] = [];
    for (const name of names) channels.push(await findChannel(api, app, name, arch));
    changes.channels_blacklist = channels.map(({ id }) => id);
  }
  return changes;
}

async function remove(name: string, options: PackageOptions & { readonly yes?: true }): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const path = `${app}/packages/${(await findPackage(api, app, name, options.arch ?? null)).id}`;
  const seen = await api.seen<PackageView>(path);
  const title = packageName(seen.value);
  if (options.yes !== true) await confirm(`Delete package ${title}?`);
  await api.remove(path, seen);
  if (options.json) printJson(seen.value);
  else say(`deleted package ${title}`);
}

function print(one: PackageView, { json }: ServerOptions): void {
  if (json) printJson(one);
  else process.stdout.write(described(one));
}

function described(one: PackageView): string {
  return facts([
    ["package", packageName(one)],
    ["id", one.id],
    ["type", typeName(one.type)],
    ["description", one.description],
    ["url", one.url],
    ["hosting", one.hosting],
    ["filename", one.filename],
    ["size", one.size],
    ["hash", one.hash],
    ["sha256", one.flatcar_action?.sha256 ?? null],
    ...(one.extra_files ?? []).map((file) => ["extra-file", fileText(file)] as const),
    ["added", shortTime(one.created_ts)],
    ...(one.missing.length === 0
      ? []
      : [["incomplete", `it lacks ${inWords(one.missing)}; until it has that, nobody is offered it`] as const]),
  ]);
}

const FILE_KEYS: Readonly<Record<string, (value: string) => string>> = {
  name: (value) => value,
  size: (value) => String(wholeNumber(value)),
  hash: sha1,
  hash256: sha256("hex"),
};

/** @throws InvalidArgumentError */
function readFile(value: string): Record<string, string> {
  const file: Record<string, string> = {};
  for (const part of value.split(",")) {
    const [, key = "", rest = ""] = /^([a-z\d]+)=(.*)$/.exec(part) ?? [];
    const read = FILE_KEYS[key];
    if (read === undefined) {
      throw new InvalidArgumentError(`"${part}": write KEY=VALUE; the keys are ${Object.keys(FILE_KEYS).join(", ")}.`);
    }
    file[key] = read(rest);
  }
  if (file.name === undefined) throw new InvalidArgumentError("A file needs at least name=NAME.");
  return file;
}

function fileText({ name, size, hash, hash256 }: FileView): string {
  const hashes = [hash && `hash=${hash}`, hash256 && `hash256=${hash256}`].filter((part) => part !== "");
  return [`name=${name}`, `size=${size}`, ...hashes].join(",");
}
