/** A manifest that came with its signature, from wherever. Nothing of it is read before one of the keys has signed it. */
import { createHash } from "node:crypto";
import { MirrorError, type PublicKey, signerOf } from "./keys.ts";
import { MANIFEST_FILE, type MirrorManifest, parseManifest } from "./manifest.ts";

export const MAX_MANIFEST_BYTES = 16 * 2 ** 20;
export const MAX_SIGNATURE_BYTES = 16 * 2 ** 10;

export interface Signed {
  readonly manifest: MirrorManifest;
  /** Of the manifest, in hexadecimal. */
  readonly sha256: string;
  readonly signer: PublicKey;
}

/** @throws MirrorError */
export function readSigned(content: Buffer, signatures: string, trusted: readonly PublicKey[]): Signed {
  const lines = signatures.split("\n").filter((line) => line !== "");
  const signer = signerOf(content, lines, trusted);
  if (signer === null) {
    throw new MirrorError(
      `${MANIFEST_FILE} is signed by none of the trusted keys: another key has made it, or it was changed since`,
    );
  }
  const sha256 = createHash("sha256").update(content).digest("hex");
  return { manifest: parseManifest(content.toString("utf8")), sha256, signer };
}
