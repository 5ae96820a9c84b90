/** A mirror of small payloads, whose upstream is in memory. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeKeys, type PrivateKey, readPrivateKey } from "../../src/mirror/keys.ts";
import type { Arch } from "../../src/mirror/manifest.ts";
import type { OfferedRelease } from "../../src/mirror/plan.ts";
import { type WriteOptions, type Written, writeMirror } from "../../src/mirror/write.ts";
import { afterwards } from "../afterwards.ts";
import { FLATCAR } from "../e2e/turnout.ts";
import { aPayload, sha256 } from "../payloads/build.ts";

export const MAIN = "flatcar_production_update.gz";
export const OEM = "oem-azure.gz";

export interface Keys extends PrivateKey {
  readonly privateFile: string;
  readonly publicFile: string;
}

/** @param when its files are removed: keys that a file has for all of its tests need `afterAll`. */
export function keys(when: (step: () => void) => void = afterwards): Keys {
  const folder = mkdtempSync(join(tmpdir(), "turnout-keys-"));
  when(() => rmSync(folder, { recursive: true, force: true }));
  const files = makeKeys(folder);
  return { ...readPrivateKey(files.privateFile), privateFile: files.privateFile, publicFile: files.publicFile };
}

export interface UpstreamChannel {
  readonly version: string;
  readonly floors?: readonly { readonly version: string; readonly reason: string | null }[];
}

/** Where releases come from: `open` may be replaced, to make it misbehave. */
export class Upstream {
  /** By `stable (amd64)`. */
  readonly channels = new Map<string, UpstreamChannel>();
  readonly content = new Map<string, Buffer>();
  /** What was asked for: name and offset. */
  readonly opened: string[] = [];
  open: (content: Buffer, from: number) => AsyncIterable<Buffer> = pieces;

  release(version: string, seed = version): void {
    this.content.set(`${version}/${MAIN}`, aPayload(`main ${seed}`, 16));
    this.content.set(`${version}/${OEM}`, aPayload(`oem ${seed}`, 4));
  }

  offer(version: string): OfferedRelease {
    const files = [...this.content].filter(([path]) => path.startsWith(`${version}/`));
    return {
      version,
      files: files.map(([path, content], index) => ({
        name: path.slice(version.length + 1),
        size: content.length,
        sha1: createHash("sha1").update(content).digest("hex"),
        sha256: index === 0 ? sha256(content).toString("hex") : null,
      })),
      sourcesOf: (file) => [
        async (from) => {
          this.opened.push(`${version}/${file.name} ${from}`);
          return this.open(this.content.get(`${version}/${file.name}`) ?? Buffer.alloc(0), from);
        },
      ],
    };
  }

  async ask(channel: string, arch: Arch) {
    const there = this.channels.get(`${channel} (${arch})`);
    if (there === undefined) return null;
    const floors = there.floors ?? [];
    const versions = [...new Set([...floors.map(({ version }) => version), there.version])];
    return { version: there.version, floors, releases: versions.map((version) => this.offer(version)) };
  }
}

export async function* pieces(content: Buffer, from: number): AsyncGenerator<Buffer> {
  for (let at = from; at < content.length; at += 10_000) yield content.subarray(at, at + 10_000);
}

/** stable (amd64) at 4230.2.1, with a floor before it. */
export function anUpstream(): Upstream {
  const upstream = new Upstream();
  upstream.release("4081.2.0");
  upstream.release("4230.2.1");
  upstream.channels.set("stable (amd64)", {
    version: "4230.2.1",
    floors: [{ version: "4081.2.0", reason: "the disk's layout" }],
  });
  return upstream;
}

export const NOW = Date.UTC(2026, 2, 4, 12);

export function mirrored(
  folder: string,
  upstream: Upstream,
  key: PrivateKey,
  changes: Partial<WriteOptions> = {},
): Promise<Written> {
  return writeMirror({
    folder,
    key,
    application: FLATCAR,
    channels: ["stable"],
    arches: ["amd64"],
    keep: 1,
    tool: "turnout test",
    now: () => NOW,
    ask: (channel, arch) => upstream.ask(channel, arch),
    elsewhere: async () => {
      throw new Error("it is nowhere else");
    },
    wait: async () => {},
    onPlan: () => {},
    onBytes: () => {},
    ...changes,
  });
}
