import { describe, expect, it } from "vitest";
import {
  contradictingDigests,
  contradictionOf,
  digestFault,
  digestsIn,
  extrasAmong,
  namesInSums,
  readVersionFile,
} from "../../src/mirror/layout.ts";

const OEM = "oem-azure.gz";
const [sha1, sha256, sha512] = [40, 64, 128].map((digits) => "aB".repeat(digits / 2)) as [string, string, string];

describe("Flatcar's bare layout", () => {
  it("says its version and board, with or without quotes, also with lines that end as on Windows", () => {
    const text = 'FLATCAR_BUILD=4230\r\nFLATCAR_VERSION="4230.2.1"\r\nFLATCAR_BOARD=amd64-usr\r\n';
    expect(readVersionFile(text)).toEqual({ version: "4230.2.1", board: "amd64-usr" });
    expect(readVersionFile("<html>FLATCAR_VERSION=1.2.3</html>")).toEqual({ version: null, board: null });
    const folders = { version: "4230.2.1", board: "arm64-usr" };
    expect(contradictionOf(readVersionFile(text), folders)).toBe("version.txt says that it is of amd64-usr");
    expect(contradictionOf({ version: null, board: null }, folders)).toBeNull();
  });

  it("has digests of a file in three places, and strong ones only count", () => {
    const digests = `# MD5 HASH\n${"0".repeat(32)}  ${OEM}\n# SHA1 HASH\n${sha1}  ${OEM}\n# SHA512 HASH\n${sha512}  ${OEM}\n`;
    expect(digestsIn(digests, `${OEM}.DIGESTS`, OEM).map(({ kind }) => kind)).toEqual(["sha1", "sha512"]);
    expect(digestsIn(`${sha256}\n`, `${OEM}.sha256`, OEM)).toEqual([
      { kind: "sha256", digest: "ab".repeat(32), by: `${OEM}.sha256` },
    ]);
    const sums = `${sha256} *./${OEM}\n${"cd".repeat(32)}  other.gz\n`;
    expect(digestsIn(sums, "SHA256SUMS", OEM)).toHaveLength(1);
    expect(digestsIn(`${"a".repeat(63)}  ${OEM}\n`, "SHA256SUMS", OEM)).toEqual([]);
    const [one, other] = [sha256, "0".repeat(64)].flatMap((digest) => digestsIn(digest, `${OEM}.sha256`, OEM));
    if (one === undefined || other === undefined) throw new Error("each has one");
    expect(contradictingDigests([one, other])).toEqual([one, other]);
    expect(contradictingDigests([one, one])).toBeNull();
  });

  it("has digest files that are damaged or about something else, which is not the same as none", () => {
    const anew = "; write it anew, or remove it";
    const wrong = (by: string) => `${by} has lines that are no digests ("HEXADECIMAL  NAME")${anew}`;
    const silent = (by: string) => `${by} is there, and says nothing of ${OEM}${anew}`;
    const [beside, digests, sums] = [`${OEM}.sha256`, `${OEM}.DIGESTS`, "SHA256SUMS"];
    const cases: readonly [string, string, string | null][] = [
      [beside, `${sha256}\n`, null],
      [beside, `${sha256}  elsewhere/${OEM}\r\n`, null],
      [beside, "", silent(beside)],
      [beside, "\n", silent(beside)],
      [beside, "<html>not found</html>", wrong(beside)],
      [beside, `SHA256 (${OEM}) = ${sha256}\n`, wrong(beside)],
      [beside, `${sha256.slice(1)}  ${OEM}\n`, wrong(beside)],
      [digests, `# MD5 HASH\n${"0".repeat(32)}  ${OEM}\n`, null],
      [digests, `# SHA1 HASH\n${sha1}  other.gz\n`, silent(digests)],
      [digests, "# SHA1 HASH\n", silent(digests)],
      [sums, `${sha256} *other.gz\n${sha256}  my notes.txt\n`, null],
      [sums, `${sha256}  ${OEM}\n${sha256.slice(0, 20)}`, wrong(sums)],
      [sums, "", silent(sums)],
    ];
    for (const [by, text, fault] of cases) expect(digestFault(text, by, OEM), JSON.stringify(text)).toBe(fault);
    const signed = `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# SHA1 HASH\n${sha1}  ${OEM}\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n`;
    expect(digestFault(signed, digests, OEM)).toBeNull();
    expect(digestsIn(signed, digests, OEM)).toHaveLength(1);
  });

  it("has further files by their names, also when only their digests are there; nothing that leads elsewhere", () => {
    const names = [
      OEM,
      "flatcar-podman.gz.sha256",
      "flatcar_production_image.bin.bz2",
      "../oem-x.gz",
      ".oem-a.gz.part",
    ];
    expect(extrasAmong(names)).toEqual(["flatcar-podman.gz", OEM]);
    const sums = (name: string) => namesInSums(`${sha256}  ./${OEM}\n${sha256}  ${name}\n`);
    expect(sums("notes/readme.txt")).toEqual({ names: [OEM, "notes/readme.txt"], stray: null });
    for (const stray of ["../oem-a.gz", "/srv/oem-a.gz", "a\\oem-a.gz", "../flatcar_production_update.gz"]) {
      expect(sums(stray).stray).toBe(stray);
    }
  });
});
