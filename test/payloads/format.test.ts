import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PayloadReader, readPayloadKey, WrongPayload } from "../../src/payloads/format.ts";
import { eachField } from "../../src/payloads/protobuf.ts";
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

  it("is refused when its manifest says of its signatures what can't be", () => {
    for (const signaturesSize of [0, 2 ** 16 + 1, 2 ** 40]) {
      expect(read(aPayload("a", 1, { keys: [ours], signaturesSize }), null)).toContain(
        "says nothing sensible of its signatures",
      );
    }
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
        eachField(Buffer.from(message), (_tag, number, start, end) => {
          expect(number === null ? start <= end && end <= message.length : number >= 0 && start === end).toBe(true);
        });
      }),
    );
  });

  it("takes no more room than its manifest, however many fields that has", () => {
    const fields = 2 ** 21;
    const header = aPayload("a").subarray(0, 20);
    header.writeBigUInt64BE(BigInt(2 * fields), 12);
    // Whatever else this process does meanwhile is not there every time.
    const taken = [1, 2, 3].map(() => {
      const before = process.memoryUsage().heapUsed;
      const reader = new PayloadReader(null);
      reader.update(header);
      reader.update(Buffer.alloc(2 * fields, Buffer.from([0x0a, 0])));
      return process.memoryUsage().heapUsed - before;
    });
    expect(Math.min(...taken)).toBeLessThan(32 * 2 ** 20);
  });

  it("says where its signatures are in the last of several fields, exactly, and never beyond 2^53", () => {
    const seen: unknown[] = [];
    const all = (bytes: number[]) => {
      seen.length = 0;
      return eachField(Buffer.from(bytes), (...field) => seen.push(field));
    };
    expect(all([0x20, 0x96, 0x01, 0x29, 1, 2, 3, 4, 5, 6, 7, 8, 0x2d, 1, 2, 3, 4, 0x0a, 2, 9, 9])).toBe(true);
    expect(seen).toEqual([
      [4, 150, 3, 3],
      [5, null, 4, 12],
      [5, null, 13, 17],
      [1, null, 19, 21],
    ]);
    const largest = [0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    expect([all(largest), seen]).toEqual([true, [[4, Number.MAX_SAFE_INTEGER, 9, 9]]]);
    expect([all([...largest.slice(0, 8), 0x10]), seen]).toEqual([true, [[4, null, 9, 9]]]);
    // No end, no such kind, a key that is too large, a varint of more than ten bytes, a length beyond the end.
    for (const broken of [
      [0x20],
      [0x20, 0x80],
      [0x23],
      [0xff, 0xff, 0xff, 0xff, 0x7f, 0],
      [0x20, ...Array<number>(10).fill(0x80), 0],
      [0x0a, 1],
    ])
      expect(all(broken)).toBe(false);
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
