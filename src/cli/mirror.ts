/** `turnout mirror`: writes the releases of channels into a directory, for sites without internet access. */
import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import { MirrorError, readPrivateKey } from "../mirror/keys.ts";
import { publicFolder } from "../mirror/layout.ts";
import { ARCHES, type Arch, MIRRORED } from "../mirror/manifest.ts";
import type { Offered, OfferedFile, OfferedRelease } from "../mirror/plan.ts";
import { type Written, writeMirror } from "../mirror/write.ts";
import type { PackageFile } from "../rollout/model/configuration.ts";
import { lowestVersion } from "../rollout/version.ts";
import { fileAt, Http } from "../sync/http.ts";
import { omahaUpstream } from "../sync/omaha-upstream.ts";
import { filesOf, type Release, SourceFailed } from "../sync/release.ts";
import type { Upstream } from "../sync/upstream.ts";
import { systemResolve } from "../target.ts";
import { VERSION } from "../version.ts";
import { FLATCAR_APP_ID } from "../virtual/options.ts";
import { acting, jsonOption } from "./api.ts";
import { withBar } from "./bar.ts";
import { ARCHES as ARCH_NUMBERS } from "./bring.ts";
import { printJson, shortTime } from "./terminal.ts";

const PUBLIC_SERVER = "https://public.update.flatcar-linux.net/v1/update/";
const PUBLIC_FILES = publicFolder("{arch}", "{version}");

interface Options {
  readonly out: string;
  readonly channel: readonly string[];
  readonly arch: readonly Arch[];
  readonly from: string;
  readonly files?: string;
  readonly key: string;
  readonly keep: number;
  readonly app: string;
  readonly json?: true;
}

export function mirrorCommand(): Command {
  return new Command("mirror")
    .description("write the releases of channels into a directory, signed, for a site without internet access")
    .requiredOption("--out <dir>", "a directory of its own; run again, only what is new is fetched")
    .requiredOption("--channel <name...>", "stable, beta, lts, …")
    .addOption(new Option("--arch <arch...>", "amd64, arm64").choices(ARCHES).default(["amd64"], "amd64"))
    .requiredOption("--key <file>", 'the private key that signs it: mirror.key.pem of "turnout keys create"')
    .addOption(
      new Option("--from <url>", "the Omaha server to ask: Flatcar's, a Nebraska, another Turnout")
        .env("TURNOUT_MIRROR_FROM")
        .argParser(url)
        .default(PUBLIC_SERVER),
    )
    .option("--files <url>", "where files are that the server does not lead to, with {version} and {arch} in it")
    .option("--keep <n>", "how many older releases stay of each channel", count, 1)
    .option("--app <id>", "the application, as the server is asked for it", FLATCAR_APP_ID)
    .addOption(jsonOption())
    .action(acting(mirror));
}

async function mirror(options: Options): Promise<void> {
  const key = readPrivateKey(options.key);
  const quiet = options.json === true || !process.stderr.isTTY;
  const http = new Http({ proxy: proxyOf(process.env), resolve: systemResolve, userAgent: `Turnout/${VERSION}` });
  // Whoever names a server of their own may have it anywhere; Flatcar's leads to no private address.
  const privateAddresses = options.from !== PUBLIC_SERVER;
  const upstream = omahaUpstream({ url: options.from, privateAddresses, http, asker: randomUUID() });
  const signal = new AbortController().signal;
  const elsewhere = (arch: Arch, version: string, { name, size }: OfferedFile, from: number) => {
    const place = options.files ?? (options.app === FLATCAR_APP_ID ? PUBLIC_FILES : null);
    if (place === null) throw new SourceFailed("--files doesn't say where else it is");
    const folder = place.replaceAll("{arch}", arch).replaceAll("{version}", encodeURIComponent(version));
    const address = `${folder.replace(/\/*$/, "/")}${name}`;
    return fileAt(http, address, from, size, { privateAddresses: options.files !== undefined, signal });
  };
  try {
    const written = await withBar("fetching", [], quiet, (bar, plan) =>
      writeMirror({
        folder: options.out,
        application: options.app,
        channels: [...new Set(options.channel)],
        arches: [...new Set(options.arch)],
        keep: options.keep,
        key,
        tool: `turnout ${VERSION}`,
        now: Date.now,
        ask: (channel, arch) => ask(upstream, options, channel, arch, signal),
        elsewhere,
        wait,
        onPlan: (files) => plan(files.reduce((sum, { size }) => sum + size, 0)),
        onBytes: (path, bytes) => bar({ name: path })(bytes),
      }),
    );
    if (options.json) printJson(shown(written));
    else process.stdout.write(summary(written, options.out));
  } finally {
    await http.close();
  }
}

function proxyOf({ https_proxy, HTTPS_PROXY, http_proxy, HTTP_PROXY }: NodeJS.ProcessEnv): string | null {
  const proxy = https_proxy || HTTPS_PROXY || http_proxy || HTTP_PROXY || null;
  if (proxy === null || /^http:\/\//.test(proxy)) return proxy;
  throw new MirrorError(`HTTPS_PROXY: "${proxy}" must begin with http://, e.g. "http://proxy.example.org:3128"`);
}

/** @throws MirrorError when there is no answer, or a release that is not whole */
async function ask(
  upstream: Upstream,
  { app, from }: Options,
  channel: string,
  arch: Arch,
  signal: AbortSignal,
): Promise<Offered | null> {
  const isId = /^[\da-f-]{36}$/i.test(app);
  const question = {
    applicationId: app,
    productId: isId ? null : app,
    track: channel,
    arch: ARCH_NUMBERS[arch] ?? 1,
    have: lowestVersion(MIRRORED),
    order: MIRRORED,
  };
  const found = await upstream.releases(question, signal).catch((error: unknown) => {
    if (error instanceof SourceFailed)
      throw new MirrorError(`${from}, asked for ${channel} (${arch}): ${error.message}`);
    throw error;
  });
  const [lacking] = found.incomplete;
  if (lacking !== undefined) {
    throw new MirrorError(`${from} offers ${lacking.version} for ${channel} (${arch}), but not whole: ${lacking.why}`);
  }
  const { target, floors } = found;
  if (target === null) return null;
  const before = floors.filter(({ version }) => version !== target.version);
  return {
    version: target.version,
    floors: floors.map(({ version, reason }) => ({ version, reason })),
    releases: [...before, target].map((release) => offered(upstream, release, signal)),
  };
}

function offered(upstream: Upstream, release: Release, signal: AbortSignal): OfferedRelease {
  const files = filesOf(release);
  const bytes = upstream.bytesOf(release);
  return {
    version: release.version,
    files: files.map(asOffered),
    sourcesOf({ name }) {
      const file = files.find((one) => one.name === name);
      const sources = file === undefined ? [] : bytes.sourcesOf(file);
      return sources.map((source) => (from: number) => source.open(from, signal));
    },
  };
}

function asOffered({ name, sizeBytes: size, sha1, sha256 }: PackageFile): OfferedFile {
  return { name, size, sha1: sha1 === null ? null : Buffer.from(sha1, "base64").toString("hex"), sha256 };
}

function shown({ changed, manifest, fetched, removed, notes }: Written) {
  return { changed, created: manifest.created, channels: manifest.channels, fetched, removed, notes };
}

function summary({ changed, manifest, fetched, removed, notes }: Written, folder: string): string {
  const lines = [
    ...manifest.channels.map(({ name, arch, version, floors }) => {
      const before = floors.map((floor) => floor.version).filter((one) => one !== version);
      return `${name} (${arch})  ${version}${before.length === 0 ? "" : `, after ${before.join(", ")}`}`;
    }),
    ...fetched.map((path) => `fetched  ${path}`),
    ...removed.map((release) => `removed  ${release}`),
    ...notes,
    changed ? `${folder} is written and signed` : `${folder} is as it was at ${shortTime(manifest.created)}`,
  ];
  return `${lines.join("\n")}\n`;
}

function url(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError("write e.g. https://updates.example.org/v1/update/");
}

function count(text: string): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("write a whole number");
}
