import { generateKeyPairSync } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { faultsOf, openMirror } from "../../src/mirror/directory.ts";
import { MirrorError, makeKeys, readPrivateKey, readPublicKeys, signatureOf } from "../../src/mirror/keys.ts";
import { type Arch, MANIFEST_FILE, parseManifest, SIGNATURE_FILE, textOf } from "../../src/mirror/manifest.ts";
import { sha256 } from "../payloads/build.ts";
import { anUpstream, keys, MAIN, mirrored, NOW, OEM, pieces, type Upstream } from "./build.ts";

const key = keys(afterAll);
let folder: string;
let upstream: Upstream;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "turnout-mirror-"));
  upstream = anUpstream();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const RELEASE = "amd64-usr/4230.2.1";
const at = (...names: string[]) => join(folder, ...names);
const opened = () => openMirror(folder, [key]);
const faults = async () => faultsOf(await opened(), () => {});
const names = () => readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();

/** Changes the manifest as somebody would who has the key. */
function signAnew(change: (text: string) => string): void {
  const text = change(readFileSync(at(MANIFEST_FILE), "utf8"));
  writeFileSync(at(MANIFEST_FILE), text);
  writeFileSync(at(SIGNATURE_FILE), `${signatureOf(Buffer.from(text), key)}\n`);
}

describe("keys", () => {
  it("are made for their owner only, and never overwritten", () => {
    const made = makeKeys(at("keys"));
    expect(statSync(made.privateFile).mode & 0o777).toBe(0o600);
    expect(readPrivateKey(made.privateFile).fingerprint).toBe(made.fingerprint);
    expect(readPublicKeys(made.publicFile)).toMatchObject([{ fingerprint: made.fingerprint }]);
    expect(() => makeKeys(at("keys"))).toThrow("is there already");
  });

  it("are Ed25519 in PEM, and nothing else", () => {
    const file = at("key.pem");
    writeFileSync(file, "nothing");
    expect(() => readPublicKeys(file)).toThrow("has no key in it");
    writeFileSync(file, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    expect(() => readPublicKeys(file)).toThrow("no key that can be read");
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    writeFileSync(file, String(publicKey.export({ type: "spki", format: "pem" })));
    expect(() => readPublicKeys(file)).toThrow("a key of the kind ec; mirrors are signed with Ed25519");
    expect(() => readPrivateKey(key.publicFile)).toThrow("is no private key");
    expect(() => readPublicKeys(at("none"))).toThrow(MirrorError);
  });

  it("may be several in one file", () => {
    const other = keys();
    writeFileSync(at("both.pem"), readFileSync(key.publicFile, "utf8") + readFileSync(other.publicFile, "utf8"));
    expect(readPublicKeys(at("both.pem")).map(({ fingerprint }) => fingerprint)).toEqual([
      key.fingerprint,
      other.fingerprint,
    ]);
  });
});

describe("writing a mirror", () => {
  it("lays the files out as Flatcar's server does, with their digests, and a manifest that is true", async () => {
    const { changed, fetched } = await mirrored(folder, upstream, key);
    expect([changed, fetched.length]).toEqual([true, 4]);
    const payload = readFileSync(at(RELEASE, MAIN));
    expect(payload.equals(upstream.content.get(`4230.2.1/${MAIN}`) ?? Buffer.alloc(0))).toBe(true);
    expect(readFileSync(at(RELEASE, `${MAIN}.sha256`), "utf8")).toBe(`${sha256(payload).toString("hex")}  ${MAIN}\n`);
    expect(readFileSync(at(RELEASE, "version.txt"), "utf8")).toContain("FLATCAR_VERSION=4230.2.1\n");
    const { manifest } = await opened();
    expect(manifest.channels).toEqual([
      {
        name: "stable",
        arch: "amd64",
        version: "4230.2.1",
        floors: [{ version: "4081.2.0", reason: "the disk's layout" }],
      },
    ]);
    expect(manifest.releases.map(({ version }) => version)).toEqual(["4081.2.0", "4230.2.1"]);
    expect(await faults()).toEqual([]);
    expect(names().filter((name) => /part/.test(name))).toEqual([]);
  });

  it("run again fetches nothing, and leaves the manifest as it is; what is new changes it", async () => {
    await mirrored(folder, upstream, key);
    const before = readFileSync(at(MANIFEST_FILE), "utf8");
    upstream.opened.length = 0;
    const again = await mirrored(folder, upstream, key, { now: () => NOW + 1000, tool: "turnout 9" });
    expect(again).toMatchObject({ changed: false, fetched: [] });
    expect(upstream.opened).toEqual([]);
    expect(readFileSync(at(MANIFEST_FILE), "utf8")).toBe(before);

    upstream.release("4230.2.2");
    upstream.channels.set("stable (amd64)", { version: "4230.2.2" });
    // The clock was set back, too.
    const { changed, fetched, manifest } = await mirrored(folder, upstream, key, { now: () => NOW - 5000 });
    expect([changed, fetched.length]).toEqual([true, 2]);
    expect(Date.parse(manifest.created)).toBeGreaterThan(NOW);
    expect(manifest.releases.map(({ version }) => version)).toEqual(["4230.2.1", "4230.2.2"]);
    expect(names().some((name) => name.includes("4081.2.0"))).toBe(false);
  });

  it("mends what is damaged or missing, and takes no remains of a crash for files", async () => {
    await mirrored(folder, upstream, key);
    writeFileSync(at(RELEASE, MAIN), "damaged");
    rmSync(at(RELEASE, OEM));
    writeFileSync(at(RELEASE, ".old.part"), "remains");
    const { changed, fetched } = await mirrored(folder, upstream, key);
    expect([changed, [...fetched].sort()]).toEqual([false, [`${RELEASE}/${MAIN}`, `${RELEASE}/${OEM}`]]);
    expect(await faults()).toEqual([]);
    expect(names()).not.toContain(`${RELEASE}/.old.part`);
  });

  it("goes on where a download broke off, in the same run and in the next", async () => {
    let breaks = 2;
    upstream.open = async function* (content, from) {
      let given = 0;
      for await (const piece of pieces(content, from)) {
        if (given > 0 && breaks > 0) {
          breaks -= 1;
          throw new Error("the line is dead");
        }
        given += piece.length;
        yield piece;
      }
    };
    await mirrored(folder, upstream, key);
    expect(upstream.opened.slice(0, 3)).toEqual([0, 10_000, 20_000].map((from) => `4081.2.0/${MAIN} ${from}`));

    upstream.release("4300.1.0");
    upstream.channels.set("stable (amd64)", { version: "4300.1.0" });
    upstream.opened.length = 0;
    upstream.open = async function* (content, from) {
      if (from > 0) throw new Error("the line is dead");
      yield content.subarray(0, 12_345);
    };
    await expect(mirrored(folder, upstream, key)).rejects.toThrow(
      /can't be had: the line is dead; it is nowhere else$/,
    );
    expect((await opened()).manifest.channels[0]?.version).toBe("4230.2.1");
    expect(await faults()).toEqual([]);
    upstream.open = pieces;
    upstream.opened.length = 0;
    await mirrored(folder, upstream, key);
    expect(upstream.opened[0]).toBe(`4300.1.0/${MAIN} 12345`);
  });

  it("takes the other source when one has something else, or too much", async () => {
    upstream.open = (content) => pieces(Buffer.alloc(content.length), 0);
    const elsewhere: Parameters<typeof mirrored>[3] = {
      elsewhere: async (_arch, version, { name }, from) =>
        pieces(upstream.content.get(`${version}/${name}`) ?? Buffer.alloc(0), from),
    };
    await expect(mirrored(folder, upstream, key)).rejects.toThrow(/it has the SHA-256 [\da-f]{64}, not /);
    await mirrored(folder, upstream, key, elsewhere);
    expect(await faults()).toEqual([]);
    rmSync(at(RELEASE, MAIN));
    upstream.open = (content) => pieces(Buffer.concat([content, Buffer.alloc(1)]), 0);
    await expect(mirrored(folder, upstream, key)).rejects.toThrow("bytes came");
  });

  it("begins anew where what had come before was wrong", async () => {
    const [good, wrong] = [upstream.content.get(`4081.2.0/${MAIN}`) ?? Buffer.alloc(0), Buffer.alloc(12_345)];
    upstream.open = async function* (_content, from) {
      if (from > 0) throw new Error("the line is dead");
      yield wrong;
    };
    await expect(mirrored(folder, upstream, key)).rejects.toThrow("the line is dead");
    upstream.opened.length = 0;
    upstream.open = pieces;
    await mirrored(folder, upstream, key);
    expect(upstream.opened.slice(0, 2)).toEqual([`4081.2.0/${MAIN} 12345`, `4081.2.0/${MAIN} 0`]);
    expect(readFileSync(at("amd64-usr/4081.2.0", MAIN)).equals(good)).toBe(true);
  });

  it("never goes back with its upstream, and says so when there is nothing", async () => {
    await expect(mirrored(folder, upstream, key, { channels: ["nightly"] })).rejects.toThrow(
      "there is nothing to mirror: nightly (amd64): the upstream offers nothing",
    );
    await mirrored(folder, upstream, key);
    upstream.channels.set("stable (amd64)", { version: "4081.2.0" });
    const { changed, notes } = await mirrored(folder, upstream, key);
    expect(changed).toBe(false);
    expect(notes).toEqual(["stable (amd64): the upstream has gone back to 4081.2.0; the mirror stays at 4230.2.1"]);
  });

  it("refuses a release that has become another one, and names that lead elsewhere", async () => {
    await mirrored(folder, upstream, key);
    upstream.release("4230.2.1", "tampered");
    await expect(mirrored(folder, upstream, key)).rejects.toThrow(/has another flatcar_production_update.gz by now/);
    for (const name of ["../../evil.gz", ".hidden", "version.txt", "a.sha256", "a b", "x.part"]) {
      const ask = async () => ({
        version: "4300.1.0",
        floors: [],
        releases: [
          {
            ...upstream.offer("4230.2.1"),
            version: "4300.1.0",
            files: [{ name, size: 1, sha1: "0".repeat(40), sha256: null }],
          },
        ],
      });
      await expect(mirrored(folder, upstream, key, { ask })).rejects.toThrow("which is not taken");
    }
    expect(await faults()).toEqual([]);
  });

  it("writes into no other directory, and signs no manifest that it has not written", async () => {
    writeFileSync(at("thesis.txt"), "mine");
    await expect(mirrored(folder, upstream, key)).rejects.toThrow("is no mirror, and not empty (thesis.txt)");
    rmSync(at("thesis.txt"));
    await mirrored(folder, upstream, key);
    await expect(mirrored(folder, upstream, keys())).rejects.toThrow("only with the key that began it");
    await expect(mirrored(folder, upstream, key, { application: "another" })).rejects.toThrow("use another directory");
  });

  it("takes no directory in Flatcar's layout for its own that somebody else has filled", async () => {
    const theirs = at("amd64-usr/3975.2.0", MAIN);
    mkdirSync(dirname(theirs), { recursive: true });
    writeFileSync(theirs, "theirs");
    const twice = async () => {
      await mirrored(folder, upstream, key);
      await mirrored(folder, upstream, key);
    };
    await expect(twice()).rejects.toThrow("is no mirror, and not empty (amd64-usr)");
    expect(readFileSync(theirs, "utf8")).toBe("theirs");
  });

  it("is done by one at a time", async () => {
    let second: Promise<unknown> | undefined;
    await mirrored(folder, upstream, key, {
      onPlan: () => {
        second = mirrored(folder, upstream, key);
        second.catch(() => {}); // it is looked at below
      },
    });
    await expect(second).rejects.toThrow(`another turnout mirror is writing into ${folder}`);
    expect((await mirrored(folder, upstream, key)).changed).toBe(false);
  });

  it("that can't be signed anew is as it was", async () => {
    await mirrored(folder, upstream, key);
    mkdirSync(at(`.${SIGNATURE_FILE}.part`));
    upstream.release("4230.2.2");
    upstream.channels.set("stable (amd64)", { version: "4230.2.2" });
    await expect(mirrored(folder, upstream, key)).rejects.toThrow(`${SIGNATURE_FILE} can't be written`);
    expect((await opened()).manifest.channels).toMatchObject([{ version: "4230.2.1" }]);
    expect(await faults()).toEqual([]);
  });

  it("leaves what others have put into its folders", async () => {
    await mirrored(folder, upstream, key);
    mkdirSync(at("amd64-usr/notes"));
    writeFileSync(at("amd64-usr/notes/todo"), "mine");
    await mirrored(folder, upstream, key);
    expect(readFileSync(at("amd64-usr/notes/todo"), "utf8")).toBe("mine");
  });

  it("begins no download for which there is no room, or whose channel could not be written down", async () => {
    const ask = async (channel: string, arch: Arch) => {
      const offered = await upstream.ask(channel, arch);
      const releases = offered?.releases.map((one) => ({
        ...one,
        files: one.files.map((file) => ({ ...file, size: 2 ** 52 })),
      }));
      return offered === null ? null : { ...offered, releases: releases ?? [] };
    };
    await expect(mirrored(folder, upstream, key, { ask })).rejects.toThrow(
      /there is room for \d+ bytes, and \d+ would/,
    );
    const channels = ["a-channel-of-far-too-many-letters"];
    await expect(mirrored(folder, upstream, key, { channels })).rejects.toThrow("names have 1 to 25 characters");
    expect(upstream.opened).toEqual([]);
  });

  it("says in one line when it can't write", async () => {
    await mirrored(folder, upstream, key);
    rmSync(at(RELEASE, OEM));
    mkdirSync(at(RELEASE, OEM));
    await expect(mirrored(folder, upstream, key)).rejects.toThrow(/oem-azure.gz can't be written: EISDIR/);
    await expect(mirrored(at(MANIFEST_FILE), upstream, key)).rejects.toThrow("can't be made");
  });
});

describe("reading a mirror", () => {
  beforeEach(() => mirrored(folder, upstream, key));

  it("refuses another key, a changed manifest, and one without a signature", async () => {
    await expect(openMirror(folder, [keys()])).rejects.toThrow("is signed by none of the trusted keys");
    expect((await openMirror(folder, [keys(), key])).signer.fingerprint).toBe(key.fingerprint);
    const text = readFileSync(at(MANIFEST_FILE), "utf8");
    writeFileSync(at(MANIFEST_FILE), text.replace("4230.2.1", "4230.2.9"));
    await expect(opened()).rejects.toThrow("or it was changed since");
    writeFileSync(at(SIGNATURE_FILE), "A".repeat(16 * 2 ** 10 + 1));
    await expect(opened()).rejects.toThrow("has more than 16384 bytes");
    rmSync(at(SIGNATURE_FILE));
    await expect(opened()).rejects.toThrow(`${SIGNATURE_FILE} is missing`);
    await expect(openMirror(at("nowhere"), [key])).rejects.toThrow("there is no directory");
  });

  it("finds every file that was changed, cut, lost or led away", async () => {
    writeFileSync(at(RELEASE, OEM), Buffer.alloc(statSync(at(RELEASE, OEM)).size));
    truncateSync(at(RELEASE, MAIN), 1000);
    rmSync(at("amd64-usr/4081.2.0", MAIN));
    rmSync(at("amd64-usr/4081.2.0", OEM));
    symlinkSync("/etc/hostname", at("amd64-usr/4081.2.0", OEM));
    expect(await faults()).toEqual([
      `amd64-usr/4081.2.0/${MAIN}: is missing`,
      expect.stringMatching(/oem-azure.gz: leads out of the directory, to /),
      expect.stringMatching(/4230.2.1\/flatcar_production_update.gz: has 1000 bytes, not \d+$/),
      expect.stringMatching(/4230.2.1\/oem-azure.gz: has the SHA-256 [\da-f]{64}, not /),
    ]);
  });

  it("takes a directory beside it whose name begins with its own for another", async () => {
    const beside = `${folder}-beside`;
    mkdirSync(beside);
    try {
      writeFileSync(join(beside, "oem"), readFileSync(at(RELEASE, OEM)));
      rmSync(at(RELEASE, OEM));
      symlinkSync(join(beside, "oem"), at(RELEASE, OEM));
      expect(await faults()).toEqual([expect.stringContaining("leads out of the directory")]);
    } finally {
      rmSync(beside, { recursive: true });
    }
  });

  it("takes links that stay within, and no directory for a file", async () => {
    const outside = mkdtempSync(join(tmpdir(), "turnout-outside-"));
    rmSync(at("amd64-usr/4081.2.0"), { recursive: true });
    symlinkSync(outside, at("amd64-usr/4081.2.0"));
    writeFileSync(join(outside, MAIN), upstream.content.get(`4081.2.0/${MAIN}`) ?? "");
    expect((await faults())[0]).toContain("leads out of the directory");
    rmSync(outside, { recursive: true });
    rmSync(at("amd64-usr/4081.2.0"));
    await mirrored(folder, upstream, key);
    mkdirSync(at("pool"));
    writeFileSync(at("pool/oem"), readFileSync(at(RELEASE, OEM)));
    rmSync(at(RELEASE, OEM));
    symlinkSync("../../pool/oem", at(RELEASE, OEM));
    expect(await faults()).toEqual([]);
    rmSync(at(RELEASE, MAIN));
    mkdirSync(at(RELEASE, MAIN));
    expect(await faults()).toEqual([`${RELEASE}/${MAIN}: is no file`]);
  });

  it.each([
    [
      "a path out of the directory",
      `"amd64-usr/4230.2.1/${MAIN}"`,
      '"amd64-usr/4230.2.1/../../../evil.gz"',
      "can't be a file of this release",
    ],
    [
      "a path of another release",
      `"amd64-usr/4230.2.1/${MAIN}"`,
      `"amd64-usr/4081.2.0/${MAIN}"`,
      "can't be a file of this release",
    ],
    ["an absolute path", `"amd64-usr/4230.2.1/${MAIN}"`, '"/etc/shadow"', "can't be a file of this release"],
    ["a file twice", `4230.2.1/${OEM}`, `4230.2.1/${MAIN}`, "each name once"],
    ["a version that is a path", '"version": "4230.2.1"', '"version": "../4230.2.1"', "must be a semantic version"],
    ["a channel that leads to nothing", '"version": "4230.2.1"', '"version": "4230.2.7"', "must be"],
    ["a size that is none", /"size": \d+/, '"size": -1', "size"],
    ["a hash that is none", /"sha256": "../, '"sha256": "zz', "must be 64 hexadecimal digits"],
    ["a field that nobody knows", '"format": 1,', '"format": 1, "run": "rm",', "Unrecognized key"],
    ["a newer format", '"format": 1', '"format": 2', "a newer Turnout has written it"],
    ["no JSON", /^\{/, "", "is no JSON"],
  ])("refuses %s, also when it is signed", async (_what, before, after, message) => {
    signAnew((text) => text.replace(before, after));
    await expect(opened()).rejects.toThrow(message);
    await expect(opened()).rejects.toBeInstanceOf(MirrorError);
  });

  it("refuses a floor above its channel, also when it is signed", async () => {
    signAnew((text) => {
      const { channels, ...others } = parseManifest(text);
      const turned = channels.map((one) => ({
        ...one,
        version: "4081.2.0",
        floors: [{ version: "4230.2.1", reason: null }],
      }));
      return textOf({ ...others, channels: turned });
    });
    await expect(opened()).rejects.toThrow("4230.2.1 must be among the releases, and not above 4081.2.0");
  });

  it("reads what it has written, whatever the order", () => {
    const text = readFileSync(at(MANIFEST_FILE), "utf8");
    const manifest = parseManifest(text);
    expect(textOf(manifest)).toBe(text);
    expect(textOf({ ...manifest, releases: manifest.releases.toReversed() })).toBe(text);
  });
});
