/** Which keys a command trusts: `--key`, or TURNOUT_MIRROR_KEYS. */
import { Option } from "commander";
import { MirrorError, type PublicKey, readPublicKeys } from "../mirror/keys.ts";

export const trustedKeysOption = (): Option =>
  new Option(
    "--key <file...>",
    "public keys that mirrors may be signed with (TURNOUT_MIRROR_KEYS: files, with commas)",
  );

/** @throws MirrorError */
export function trustedKeys(files: readonly string[] | undefined): readonly PublicKey[] {
  const named = files ?? (process.env.TURNOUT_MIRROR_KEYS ?? "").split(",").map((file) => file.trim());
  const keys = named.filter((file) => file !== "").flatMap(readPublicKeys);
  if (keys.length > 0) return keys;
  throw new MirrorError("no key is trusted: name the mirror's public key with --key, or in TURNOUT_MIRROR_KEYS");
}
