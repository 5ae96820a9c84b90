import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PayloadReader, readPayloadKey, WrongPayload } from "../../src/payloads/format.ts";
import { fieldsOf } from "../../src/payloads/protobuf.ts";
import { aKey, aPayload } from "./build.ts";

const ours = aKey();
const theirs = aKey();

/** In pieces of so many bytes; what is wrong with it, or null. */
function read(file: Buffer, key: typeof ours | null, step = file.length): string | null {
  const reader = new PayloadReader(key?.publicKey ?? null);
  const buffer = Buffer.alloc(step);
  try {
    for (let at = 0; at < file.length; at += step) {
      const piece = file.subarray(at, at + step);
      // As files are read: into the same buffer again and again.
      piece.copy(buffer);
      reader.update(buffer.subarray(0, piece.length));
    }
    reader.end();
    return null;
  } catch (error) {
    if (error instanceof WrongPayload) return error.message;
    throw error;
  }
}

describe("a payload", () => {
  it.each([1, 7, 20, 100, 4096, 1_000_000])("is read in pieces of %d bytes, with one signature or two", (step) => {
    expect(read(aPayload("a", 4, { keys: [ours] }), ours, step)).toBeNull();
    expect(read(aPayload("a", 4, { keys: [theirs, ours] }), ours, step)).toBeNull();
    expect(read(aPayload("a"), null, step)).toBeNull();
  });

  it("must be signed with the key, when there is one", () => {
    expect(read(aPayload("a", 4, { keys: [theirs] }), ours)).toContain("none of its signatures");
    expect(read(aPayload("a"), ours)).toContain("has no signature");
    expect(read(aPayload("a", 4, { keys: [theirs] }), null)).toBeNull();
  });

  it("is refused for any byte that was changed in what is signed", () => {
    const payload = aPayload("a", 1, { keys: [ours] });
    fc.assert(
      fc.property(fc.nat(payload.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const broken = Buffer.from(payload);
        broken[at] = (broken[at] ?? 0) ^ change;
        // In the signatures' own message a byte or two say nothing, like the version of the key.
        if (read(broken, ours) === null) expect(at).toBeGreaterThan(payload.length - 270);
      }),
      { numRuns: 300 },
    );
  });

  it("is refused for what is not one, with its first bytes", () => {
    const reader = new PayloadReader(null);
    expect(() => reader.update(Buffer.from("<html>"))).toThrow('it begins with "<htm", not with "CrAU"');
    expect(read(Buffer.from([0x1f, 0x8b, 8, 0, 0]), null)).toContain("it begins with the bytes 1f8b0800");
    const newer = aPayload("a");
    newer.writeBigUInt64BE(2n, 4);
    expect(read(newer, null)).toContain("its format has version 2");
    const huge = aPayload("a");
    huge.writeBigUInt64BE(2n ** 63n, 12);
    expect(read(huge, null)).toContain("its manifest can't have");
    const garbled = aPayload("a");
    garbled.fill(0xff, 20, 60);
    expect(read(garbled, null)).toContain("its manifest can't be read");
  });

  it("is refused when it ends too soon or too late, wherever its signatures are said to be", () => {
    const payload = aPayload("a", 1, { keys: [ours] });
    expect(read(payload.subarray(0, 10), null)).toContain("ends within its header");
    expect(read(payload.subarray(0, 30), null)).toContain("ends within its manifest");
    expect(read(payload.subarray(0, payload.length - 300), null)).toContain("ends within its blobs");
    expect(read(payload.subarray(0, payload.length - 1), null)).toContain("ends within its signatures");
    expect(read(Buffer.concat([payload, Buffer.from([0])]), null)).toContain("goes on behind its signatures");
    expect(read(aPayload("a", 1, { keys: [ours], signaturesOffset: 0 }), ours)).not.toBeNull();
    expect(read(aPayload("a", 1, { keys: [ours], signaturesOffset: 2 ** 50 }), ours)).toContain(
      "ends within its blobs",
    );
  });

  it("never makes the reader fall over", () => {
    const payload = aPayload("a", 1, { keys: [ours] });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 8 }), (changes) => {
        const broken = Buffer.from(payload);
        for (const [at, value] of changes) broken[at] = value;
        read(broken, ours);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (message) => {
        fieldsOf(Buffer.from(message));
      }),
    );
  });
});

describe("the key", () => {
  it("is an RSA public key of 2048 bits, in PEM", () => {
    expect(readPayloadKey(ours.pem).equals(ours.publicKey)).toBe(true);
    const secret = String(ours.privateKey.export({ type: "pkcs8", format: "pem" }));
    expect(() => readPayloadKey(secret)).toThrow("this is a private key");
    expect(() => readPayloadKey("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")).toThrow("no public key");
    expect(() => readPayloadKey(aKey(3072).pem)).toThrow("no rsa key of 3072 bits");
    const { publicKey } = generateKeyPairSync("ed25519");
    expect(() => readPayloadKey(String(publicKey.export({ type: "spki", format: "pem" })))).toThrow("no ed25519 key");
  });
});
