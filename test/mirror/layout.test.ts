import { describe, expect, it } from "vitest";
import {
  contradictingDigests,
  contradictionOf,
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
