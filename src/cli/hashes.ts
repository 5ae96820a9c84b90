/** Hashes as sha256sum and sha1sum print them, or in base64; the API wants some one way and some the other. */
import { InvalidArgumentError } from "commander";

/** @throws InvalidArgumentError */
export function sha256(encoding: "base64" | "hex"): (text: string) => string {
  return (text) => {
    const bytes = Buffer.from(text, /^[\da-fA-F]{64}$/.test(text) ? "hex" : "base64");
    if (bytes.length === 32 && /^[\w+/]+=*$/.test(text)) return bytes.toString(encoding);
    throw new InvalidArgumentError("Write the SHA-256 in hexadecimal or base64.");
  };
}

/** In base64, if it is one: packages of other kinds than Flatcar's may have other hashes, which stay as they are. */
export function sha1(text: string): string {
  return /^[\da-fA-F]{40}$/.test(text) ? Buffer.from(text, "hex").toString("base64") : text;
}
