/** A mirror with files and folders that whoever runs the command may not read, or not write. */
import { chmodSync, chownSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeEach, expect, it } from "vitest";
import { faultsOf, openMirror } from "../../src/mirror/directory.ts";
import { MANIFEST_FILE } from "../../src/mirror/manifest.ts";
import { aFolder, afterwards } from "../afterwards.ts";
import { anUpstream, keys, MAIN, mirrored, type Upstream } from "./build.ts";

const NOBODY = 65_534;
const key = keys(afterAll);
let folder: string;
let upstream: Upstream;
beforeEach(async () => {
  folder = aFolder();
  // The administrator may everything.
  if (process.getuid?.() === 0) {
    chownSync(folder, NOBODY, NOBODY);
    process.seteuid?.(NOBODY);
    afterwards(() => process.seteuid?.(0));
  }
  upstream = anUpstream();
  await mirrored(folder, upstream, key);
});

const FLOOR = "amd64-usr/4081.2.0";
const RELEASE = "amd64-usr/4230.2.1";
const write = () => mirrored(folder, upstream, key, { keep: 0 });
function forbid(mode: number, ...names: string[]): void {
  chmodSync(join(folder, ...names), mode);
  afterwards(() => existsSync(join(folder, ...names)) && chmodSync(join(folder, ...names), 0o700));
}

it("names every file that can't be read, and writes it anew", async () => {
  forbid(0, FLOOR, MAIN);
  forbid(0, RELEASE, MAIN);
  const faults = await faultsOf(await openMirror(folder, [key]), () => {});
  expect(faults).toEqual([`${FLOOR}/${MAIN}: can't be read (EACCES)`, `${RELEASE}/${MAIN}: can't be read (EACCES)`]);
  expect((await write()).fetched).toEqual([`${FLOOR}/${MAIN}`, `${RELEASE}/${MAIN}`]);
  expect(readFileSync(join(folder, RELEASE, MAIN)).equals(upstream.content.get(`4230.2.1/${MAIN}`) ?? Buffer.of())).toBe(true); // biome-ignore format: one line
});

it("says so of the manifest, and of the directory", async () => {
  forbid(0, MANIFEST_FILE);
  await expect(openMirror(folder, [key])).rejects.toThrow(`${MANIFEST_FILE} can't be read (EACCES)`);
  await expect(write()).rejects.toThrow(`${MANIFEST_FILE} can't be read (EACCES)`);
  forbid(0o333);
  await expect(write()).rejects.toThrow(`${folder} can't be read (EACCES)`);
});

it("says which file of a release that is over can't be removed; the new one is written and signed", async () => {
  forbid(0o555, RELEASE);
  upstream.release("4300.1.0");
  upstream.channels.set("stable (amd64)", { version: "4300.1.0" });
  await expect(write()).rejects.toThrow(
    /^the mirror is written, but .*amd64-usr\/4230\.2\.1\/.* can't be removed \(EACCES\)$/,
  );
  expect((await openMirror(folder, [key])).manifest.channels).toMatchObject([{ version: "4300.1.0" }]);
});
