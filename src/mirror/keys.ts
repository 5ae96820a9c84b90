/** Ed25519 key pairs: whoever reads a mirror knows by its signature who has written it. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Something about a mirror is not as it should be: the message is for the person at the terminal. */
export class MirrorError extends Error {
  override readonly name = "MirrorError";
}

export interface PublicKey {
  readonly key: KeyObject;
  /** SHA-256 of the key as DER (SubjectPublicKeyInfo), in hexadecimal. */
  readonly fingerprint: string;
}

export interface PrivateKey extends PublicKey {
  readonly privateKey: KeyObject;
}

export const PRIVATE_FILE = "mirror.key.pem";
export const PUBLIC_FILE = "mirror.pub.pem";

/** @throws MirrorError when there are keys already: what they have signed could be checked no more. */
export function makeKeys(folder: string): PublicKey & { readonly privateFile: string; readonly publicFile: string } {
  const [privateFile, publicFile] = [join(folder, PRIVATE_FILE), join(folder, PUBLIC_FILE)];
  for (const file of [privateFile, publicFile]) {
    if (existsSync(file)) throw new MirrorError(`${file} is there already, and keys are never overwritten`);
  }
  mkdirSync(folder, { recursive: true });
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  writeNew(privateFile, String(privateKey.export({ type: "pkcs8", format: "pem" })), 0o600);
  writeNew(publicFile, pemOf(publicKey), 0o644);
  return { ...known(publicKey), privateFile, publicFile };
}

function writeNew(file: string, text: string, mode: number): void {
  const descriptor = openSync(file, "wx", mode);
  try {
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** @throws MirrorError */
export function readPrivateKey(file: string): PrivateKey {
  const pem = textOf(file);
  if (!pem.includes("PRIVATE KEY")) {
    throw new MirrorError(`${file} is no private key; signing needs ${PRIVATE_FILE} of "turnout keys create"`);
  }
  const privateKey = parsed(file, () => createPrivateKey(pem));
  return { ...known(createPublicKey(privateKey)), privateKey };
}

/** All that a file has, one after the other; of a private key its public half. @throws MirrorError */
export function readPublicKeys(file: string): readonly PublicKey[] {
  const blocks = textOf(file).match(/-----BEGIN [A-Z ]+-----[\s\S]+?-----END [A-Z ]+-----/g) ?? [];
  if (blocks.length === 0) throw new MirrorError(`${file} has no key in it; write PEM (-----BEGIN PUBLIC KEY-----)`);
  return blocks.map((pem) => known(parsed(file, () => createPublicKey(pem))));
}

export function pemOf(key: KeyObject): string {
  return String(key.export({ type: "spki", format: "pem" }));
}

/** base64 */
export function signatureOf(content: Buffer, { privateKey }: PrivateKey): string {
  return sign(null, content, privateKey).toString("base64");
}

/** Which of the keys has made one of the signatures; null: none. */
export function signerOf(content: Buffer, signatures: readonly string[], keys: readonly PublicKey[]): PublicKey | null {
  const isBy = ({ key }: PublicKey) =>
    signatures.some((signature) => verify(null, content, key, Buffer.from(signature, "base64")));
  return keys.find(isBy) ?? null;
}

function known(key: KeyObject): PublicKey {
  const der = key.export({ type: "spki", format: "der" });
  return { key, fingerprint: createHash("sha256").update(der).digest("hex") };
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new MirrorError(`${file} can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function parsed(file: string, read: () => KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = read();
  } catch {
    throw new MirrorError(`${file} is no key that can be read; write PEM, without a passphrase`);
  }
  if (key.asymmetricKeyType !== "ed25519") {
    throw new MirrorError(`${file} is a key of the kind ${key.asymmetricKeyType}; mirrors are signed with Ed25519`);
  }
  return key;
}
