/** Small payloads in the real format. Source: CLIENTS.md §6. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

export interface Keys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** Of the public one. */
  readonly pem: string;
}

export function aKey(modulusLength = 2048): Keys {
  const pair = generateKeyPairSync("rsa", { modulusLength });
  return { ...pair, pem: String(pair.publicKey.export({ type: "spki", format: "pem" })) };
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}
const number = (tag: number, value: number) => Buffer.concat([varint(tag * 8), varint(value)]);
const bytes = (tag: number, ...parts: Buffer[]) => {
  const content = Buffer.concat(parts);
  return Buffer.concat([varint(tag * 8 + 2), varint(content.length), content]);
};

const BLOCK = 4096;

export interface PayloadOptions {
  readonly keys?: readonly Keys[];
  /** What the manifest says instead of where the signatures are. */
  readonly signaturesOffset?: number;
  /** Instead of how many bytes they have. */
  readonly signaturesSize?: number;
}

/** A payload that writes `blocks` blocks, the same for the same seed. */
export function aPayload(
  seed: string,
  blocks = 4,
  { keys = [], signaturesOffset, signaturesSize }: PayloadOptions = {},
): Buffer {
  const image = Buffer.concat(
    Array.from({ length: (blocks * BLOCK) / 32 }, (_, index) => sha256(Buffer.from(`${seed} ${index}`))),
  );
  const extents = bytes(6, number(1, 0), number(2, blocks));
  const replace = bytes(1, number(1, 0), number(2, 0), number(3, image.length), extents, bytes(8, sha256(image)));
  const signatures = (signed: readonly Buffer[]) =>
    Buffer.concat(signed.map((one, index) => bytes(1, number(1, index + 1), bytes(2, one))));
  const length = signatures(keys.map(() => Buffer.alloc(256))).length;
  const where = length === 0 ? [] : [number(4, signaturesOffset ?? image.length), number(5, signaturesSize ?? length)];
  const partition = bytes(9, number(1, image.length), bytes(2, sha256(image)));
  const manifest = Buffer.concat([replace, number(3, BLOCK), ...where, partition]);
  const header = Buffer.alloc(20);
  header.write("CrAU", "latin1");
  header.writeBigUInt64BE(1n, 4);
  header.writeBigUInt64BE(BigInt(manifest.length), 12);
  const body = Buffer.concat([header, manifest, image]);
  return Buffer.concat([body, signatures(keys.map(({ privateKey }) => sign("sha256", body, privateKey)))]);
}

export function sha256(data: Buffer): Buffer {
  return createHash("sha256").update(data).digest();
}

/** What a package says of a payload. */
export function described(payload: Buffer) {
  return {
    size: String(payload.length),
    hash: createHash("sha1").update(payload).digest("base64"),
    flatcar_action: { sha256: sha256(payload).toString("base64") },
  };
}

/** What a package says of a further file. */
export function extraFile(name: string, content: Buffer) {
  return {
    name,
    size: String(content.length),
    hash: createHash("sha1").update(content).digest("base64"),
    hash256: sha256(content).toString("hex"),
  };
}
