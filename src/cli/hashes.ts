/** Hashes as sha256sum and sha1sum print them, or in base64; the API wants some one way and some the other. */
import { InvalidArgumentError } from "commander";

const BYTES = { "SHA-1": 20, "SHA-256": 32 } as const;
type Kind = keyof typeof BYTES;

/** @throws InvalidArgumentError */
export function hash(kind: Kind, encoding: "base64" | "hex"): (text: string) => string {
  return (text) => {
    const bytes = Buffer.from(text, new RegExp(`^[\\da-fA-F]{${BYTES[kind] * 2}}$`).test(text) ? "hex" : "base64");
    if (bytes.length === BYTES[kind] && /^[\w+/]+=*$/.test(text)) return bytes.toString(encoding);
    throw new InvalidArgumentError(`Write the ${kind} in hexadecimal or base64.`);
  };
}
