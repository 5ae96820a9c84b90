/** Files that channels' releases need, brought in from the central server. */
import { Readable } from "node:stream";
import type { SiteDocument } from "../admin/site-document.ts";
import { archNumber, type FleetDocument, type PackageInFile, typeNumber } from "../fleet/document.ts";
import { type BringInContext, bringIn } from "../sync/bring-in.ts";
import { type Bytes, type Release, SourceFailed } from "../sync/release.ts";
import { CentralFailed } from "./client.ts";
import { nameOf } from "./localize.ts";
import { Stall } from "./stall.ts";

/** A release whose files are to be here. */
export interface WantedRelease {
  readonly applicationId: string;
  readonly package: PackageInFile;
}

/** By name, what channels point to at the central server, and their floors: as far as it has the files, and they are not here. */
export function missingReleases(
  fleet: FleetDocument,
  there: ReadonlySet<string>,
  complete: ReadonlySet<string>,
): ReadonlyMap<string, WantedRelease> {
  const missing = new Map<string, WantedRelease>();
  for (const { id: applicationId = "", channels = [], packages = [] } of fleet.applications) {
    for (const { arch, package: target, floors = [] } of channels) {
      for (const version of [target, ...floors.map((floor) => floor.version)]) {
        if (version == null) continue;
        const name = nameOf(applicationId, { version, arch });
        const found = packages.find((one) => one.version === version && one.arch === arch);
        if (found === undefined || !there.has(name) || complete.has(name)) continue;
        missing.set(name, { applicationId, package: found });
      }
    }
  }
  return missing;
}

export interface Fetching {
  readonly context: BringInContext;
  /** The central server's address. */
  readonly url: string;
  readonly payloads: SiteDocument["payloads"];
  readonly userAgent: string;
  /** Without an answer, or a further byte, for so long, it has failed. */
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

/** @throws CentralFailed that says why it is not here, or not yet; what has come stays, and is gone on from. */
export async function bringInRelease(wanted: WantedRelease, fetching: Fetching): Promise<void> {
  const { context, signal } = fetching;
  const { no: applicationNo } = await context.store.read
    .selectFrom("applications")
    .select("no")
    .where("id", "=", wanted.applicationId)
    .executeTakeFirstOrThrow();
  const release = releaseOf(wanted);
  const result = await bringIn(context, { applicationNo, release, bytes: bytesOf(wanted, fetching), signal });
  if (result.kind !== "here") throw new CentralFailed(`release ${release.version}: ${result.why}`);
}

/** As the package says, which is here already: what counts of it is which files it has. */
function releaseOf({ package: wanted }: WantedRelease): Release {
  const { version, arch, type = "flatcar", url = "", filename, size, hash, flatcar_action: action } = wanted;
  const sha256 = action === undefined ? null : Buffer.from(action.sha256, "base64").toString("hex");
  return {
    type: typeNumber(type),
    version,
    arch: archNumber(arch),
    url,
    description: "",
    payload: filename ? { name: filename, sizeBytes: Number(size ?? 0), sha1: hash || null, sha256 } : null,
    extraFiles: (wanted.extra_files ?? []).map((file) => ({
      name: file.name,
      sizeBytes: Number(file.size ?? 0),
      sha1: file.hash || null,
      sha256: file.hash256 || null,
    })),
    action: {},
  };
}

function bytesOf(wanted: WantedRelease, { url, payloads, userAgent, stallMs }: Fetching): Bytes {
  const {
    applicationId,
    package: { version, arch },
  } = wanted;
  return {
    sourcesOf({ name }) {
      const place = `${url}${payloads.path}/${[applicationId, arch, version, name].map(encodeURIComponent).join("/")}`;
      return [{ place, open: (from, signal) => opened(place, name, from, signal) }];
    },
  };

  async function opened(place: string, name: string, from: number, signal: AbortSignal) {
    const headers = {
      "User-Agent": userAgent,
      "Accept-Encoding": "identity",
      ...(payloads.authorization !== null && { Authorization: payloads.authorization }),
      ...(from > 0 && { Range: `bytes=${from}-` }),
    };
    const stall = new Stall(stallMs);
    const request = { headers, redirect: "manual" as const, signal: AbortSignal.any([signal, stall.signal]) };
    try {
      const answer = await fetch(place, request);
      const isRest = answer.headers.get("content-range")?.startsWith(`bytes ${from}-`) === true;
      if (answer.body === null || (from > 0 ? answer.status !== 206 || !isRest : answer.status !== 200)) {
        await answer.body?.cancel();
        throw new SourceFailed(`${name}: the central server answered ${answer.status}`);
      }
      return watched(Readable.from(answer.body), name, stall);
    } catch (error) {
      stall.end();
      if (error instanceof SourceFailed) throw error;
      throw new SourceFailed(`${name} can't be fetched: ${stall.reason ?? String(error)}`);
    }
  }
}

/** Bytes as they come; breaking off ends them, and what has come is kept. */
async function* watched(body: AsyncIterable<Buffer>, name: string, stall: Stall): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of body) {
      stall.refresh();
      yield chunk;
    }
  } catch (error) {
    throw new SourceFailed(`${name} broke off: ${stall.reason ?? String(error)}`);
  } finally {
    stall.end();
  }
}
