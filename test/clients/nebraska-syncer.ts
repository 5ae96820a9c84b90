/**
 * Nebraska's syncer, which mirrors another server into a Nebraska: how it asks, and what it makes of the answer. Source: NEBRASKA.md
 * §4 and §1.9; what it does with names, from its source.
 */
import { atPath, childrenNamed, readXml, type XmlElement } from "./xml.ts";

const FLATCAR = "{e96281a6-d1af-4bde-9a0a-97b76e56dc57}";

export interface Asks {
  readonly version?: string;
  readonly track?: string;
  /** Newer ones take several manifests. */
  readonly multiManifest?: boolean;
}

/** As Go writes it: each attribute only if it says something. */
export function asksAsNebraska({ version = "766.0.0", track = "stable", multiManifest = true }: Asks = {}): string {
  const id = (n: number) => `{0a1b2c3d-4e5f-4a6b-8c7d-${String(n).padStart(12, "0")}}`;
  const client = "CoreOSUpdateEngine-0.1.0.0";
  return (
    `<request protocol="3.0" version="${client}" updaterversion="${client}" installsource="scheduler" ismachine="1">` +
    `<os platform="CoreOS" version="Chateau" sp="${version}_x86_64" arch="x64"></os>` +
    `<app appid="${FLATCAR}" version="${version}" track="${track}" bootid="${id(1)}" machineid="${id(2)}"` +
    `${multiManifest ? ' multi_manifest_ok="true"' : ""}><updatecheck></updatecheck></app></request>`
  );
}

export interface SyncedFile {
  readonly name: string;
  /** base64, or "". */
  readonly sha1: string;
  /** Where the syncer, and each node of that Nebraska, fetches it. */
  readonly address: string;
}

export interface SyncedPackage {
  readonly version: string;
  readonly files: readonly SyncedFile[];
  readonly isFloor: boolean;
}

export interface Synced {
  readonly packages: readonly SyncedPackage[];
  /** Where the channel leads to afterwards; null: where it was. */
  readonly target: string | null;
}

/** Null: nothing new. @throws Error where it would stop, or keep a file under a name that can be none */
export function readAsNebraska(body: string): Synced | null {
  const root = readXml(body);
  const [check] = atPath(root, "response", "app")
    .slice(0, 1)
    .flatMap((app) => childrenNamed(app, "updatecheck"));
  if (check === undefined) throw new Error("the syncer panics: the first app has no updatecheck");
  const manifests = childrenNamed(check, "manifest");
  if (check.attributes.get("status") !== "ok" || manifests.length === 0) return null;
  const [url] = childrenNamed(check, "urls").flatMap((urls) => childrenNamed(urls, "url"));
  if (url === undefined) throw new Error("the syncer panics: there is no url");
  const codebase = url.attributes.get("codebase") ?? "";
  const packages = manifests.map((manifest) => synced(manifest, codebase, manifests.length > 1));
  return { packages, target: targetOf(manifests) };
}

/** A single manifest is the channel's, and no floor, whatever its marks. */
function synced(manifest: XmlElement, codebase: string, several: boolean): SyncedPackage {
  const version = manifest.attributes.get("version") ?? "";
  const files = childrenNamed(manifest, "packages").flatMap((all) => childrenNamed(all, "package"));
  if (files.length === 0) throw new Error(`manifest ${version} has no packages`);
  return {
    version,
    isFloor: several && manifest.attributes.get("is_floor") === "true",
    files: files.map(({ attributes }, index) => {
      const name = attributes.get("name") ?? "";
      // The payload gets a name of its own where a Nebraska hosts files; ue-rs writes others under theirs, too.
      if (index > 0 && name.includes("/"))
        throw new Error(`extrafile-amd64-${version}-${name}: no such file or directory`);
      return { name, sha1: attributes.get("hash") ?? "", address: `${codebase}${name}` };
    }),
  };
}

function targetOf(manifests: readonly XmlElement[]): string | null {
  const is = (manifest: XmlElement, mark: string) => manifest.attributes.get(mark) === "true";
  const target =
    manifests.length === 1
      ? manifests[0]
      : (manifests.find((one) => is(one, "is_target")) ?? manifests.findLast((one) => !is(one, "is_floor")));
  return target?.attributes.get("version") ?? null;
}
