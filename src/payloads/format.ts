/**
 * Payloads as update_engine reads them: "CrAU", version, the manifest's length, the manifest, blobs, and behind them the
 * signatures. Read as it streams by; only the manifest and the signatures are kept. Source: CLIENTS.md §6.
 */
import { constants, createHash, createPublicKey, type KeyObject, publicDecrypt } from "node:crypto";
import { eachField } from "./protobuf.ts";

const MAGIC = Buffer.from("CrAU", "latin1");
const HEADER_BYTES = 20;
const VERSION = 1n;
/** A real one has some 100 KiB. */
const MAX_MANIFEST_BYTES = 16 * 2 ** 20;
/** A real one has some 600 bytes. */
const MAX_SIGNATURE_BYTES = 64 * 2 ** 10;

/** The file is no payload that a node would take; the message says why. */
export class WrongPayload extends Error {
  override readonly name = "WrongPayload";
}

/**
 * The key that payloads are signed with, as nodes have it: RSA with 2048 bits, PEM.
 * @throws Error that says what would be right
 */
export function readPayloadKey(pem: string): KeyObject {
  const right = "write an RSA public key of 2048 bits, in PEM (-----BEGIN PUBLIC KEY-----)";
  if (pem.includes("PRIVATE KEY")) throw new Error(`this is a private key, which no server should see; ${right}`);
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw new Error(`this is no public key; ${right}`);
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type !== "rsa" || details?.modulusLength !== 2048) {
    throw new Error(`update_engine knows no ${type ?? "such"} key of ${details?.modulusLength ?? "?"} bits; ${right}`);
  }
  return key;
}

type Part = "header" | "manifest" | "blobs" | "signatures" | "end";

export class PayloadReader {
  readonly #key: KeyObject | null;
  /** Over all before the signatures: what they sign. */
  readonly #signed = createHash("sha256");
  #part: Part = "header";
  /** Bytes that the present part still lacks; in blobs without signatures: any number. */
  #left = HEADER_BYTES;
  #kept: Buffer[] = [];
  #signatureBytes = 0;
  #digest: Buffer | null = null;
  #signatures: readonly Buffer[] = [];

  /** @param key null: signatures are not looked at. */
  constructor(key: KeyObject | null) {
    this.#key = key;
  }

  /** @throws WrongPayload as soon as it shows */
  update(chunk: Buffer): void {
    for (let rest = chunk; rest.length > 0; ) {
      if (this.#part === "end") throw new WrongPayload("it goes on behind its signatures");
      const piece = rest.subarray(0, this.#left);
      rest = rest.subarray(piece.length);
      this.#left -= piece.length;
      if (this.#part !== "signatures" && this.#key !== null) this.#signed.update(piece);
      // A copy: whoever reads a file uses its buffer again.
      if (this.#part !== "blobs") this.#kept.push(Buffer.from(piece));
      if (this.#part === "header") this.#checkMagic();
      if (this.#left === 0) this.#next();
    }
  }

  /** @throws WrongPayload when it is not whole, or not signed with the key */
  end(): void {
    if (this.#part === "blobs" && this.#signatureBytes === 0) this.#part = "end";
    if (this.#part !== "end") throw new WrongPayload(`it ends within its ${this.#part}`);
    if (this.#key === null) return;
    if (this.#signatures.length === 0)
      throw new WrongPayload("it has no signature, and the application has a payload key");
    const digest = this.#digest ?? this.#signed.digest();
    const key = this.#key;
    if (!this.#signatures.some((signature) => isSignedBy(key, signature, digest))) {
      throw new WrongPayload("none of its signatures is by the application's payload key");
    }
  }

  #checkMagic(): void {
    const start = Buffer.concat(this.#kept).subarray(0, MAGIC.length);
    if (start.equals(MAGIC.subarray(0, start.length))) return;
    throw new WrongPayload(`it is no update payload: it begins with ${shown(start)}, not with "CrAU"`);
  }

  #next(): void {
    const bytes = Buffer.concat(this.#kept);
    this.#kept = [];
    switch (this.#part) {
      case "header":
        this.#part = "manifest";
        this.#left = manifestBytes(bytes);
        return;
      case "manifest": {
        const { blobBytes, signatureBytes } = readManifest(bytes);
        this.#signatureBytes = signatureBytes;
        this.#part = "blobs";
        this.#left = signatureBytes === 0 ? Number.POSITIVE_INFINITY : blobBytes;
        if (this.#left === 0) this.#next();
        return;
      }
      case "blobs":
        this.#digest = this.#signed.digest();
        this.#part = "signatures";
        this.#left = this.#signatureBytes;
        return;
      case "signatures":
        this.#signatures = readSignatures(bytes);
        this.#part = "end";
        return;
      case "end":
        return;
    }
  }
}

function manifestBytes(header: Buffer): number {
  const version = header.readBigUInt64BE(4);
  if (version !== VERSION)
    throw new WrongPayload(`its format has version ${version}; update_engine reads version ${VERSION}`);
  const bytes = header.readBigUInt64BE(12);
  if (bytes === 0n || bytes > MAX_MANIFEST_BYTES) throw new WrongPayload(`its manifest can't have ${bytes} bytes`);
  return Number(bytes);
}

/** Where the signatures are; offsets count from the manifest's end. */
function readManifest(bytes: Buffer): { blobBytes: number; signatureBytes: number } {
  let blobBytes: number | null = null;
  let signatureBytes: number | null = null;
  // Of a field that is there twice the last one counts.
  const isRead = eachField(bytes, (tag, number) => {
    if (tag === 4 && number !== null) blobBytes = number;
    if (tag === 5 && number !== null) signatureBytes = number;
  });
  if (!isRead) throw new WrongPayload("its manifest can't be read");
  return whereSignaturesAre(blobBytes, signatureBytes);
}

function whereSignaturesAre(blobBytes: number | null, signatureBytes: number | null) {
  if (blobBytes === null && signatureBytes === null) return { blobBytes: 0, signatureBytes: 0 };
  if (blobBytes === null || signatureBytes === null || signatureBytes === 0 || signatureBytes > MAX_SIGNATURE_BYTES) {
    throw new WrongPayload("its manifest says nothing sensible of its signatures");
  }
  return { blobBytes, signatureBytes };
}

function readSignatures(bytes: Buffer): Buffer[] {
  const signatures: Buffer[] = [];
  const isRead = eachField(bytes, (tag, number, start, end) => {
    if (tag !== 1 || number !== null) return;
    const one = bytes.subarray(start, end);
    const isWhole = eachField(one, (inner, value, from, to) => {
      if (inner === 2 && value === null) signatures.push(one.subarray(from, to));
    });
    if (!isWhole) throw new WrongPayload("one of its signatures can't be read");
  });
  if (!isRead) throw new WrongPayload("its signatures can't be read");
  return signatures;
}

/** What PKCS #1 v1.5 puts before a SHA-256. Source: RFC 8017, 9.2. */
const SHA256_INFO = Buffer.from("3031300d060960864801650304020105000420", "hex");

function isSignedBy(key: KeyObject, signature: Buffer, digest: Buffer): boolean {
  try {
    const info = publicDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, signature);
    return info.equals(Buffer.concat([SHA256_INFO, digest]));
  } catch {
    return false; // of another length, or by another key
  }
}

function shown(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  return /^[\x20-\x7e]+$/.test(text) ? JSON.stringify(text) : `the bytes ${bytes.toString("hex")}`;
}
