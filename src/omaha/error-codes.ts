/** What update_engine's error codes mean. Source: CLIENTS.md §1.8. */

const FLAGS: readonly (readonly [bit: number, name: string])[] = [
  [0x10000000, "private server"],
  [0x20000000, "development image"],
  [0x40000000, "resumed download"],
  [0x80000000, "developer mode"],
];
const CODE_MASK = 0x0fffffff;

const NAMES: Readonly<Record<number, string>> = {
  0: "success",
  1: "unspecific error",
  2: "Omaha request failed",
  3: "Omaha response handler failed",
  4: "copying the current partition failed",
  5: "post-install step failed",
  6: "unused code",
  7: "target partition can't be opened",
  8: "kernel device can't be opened",
  9: "download failed",
  10: "payload hash mismatch",
  11: "payload size mismatch",
  12: "payload verification failed",
  13: "new partition information invalid",
  14: "write failed",
  15: "new root file system does not verify",
  16: "new kernel does not verify",
  17: "signature expected, none in the payload",
  18: "payload does not verify with the public key",
  19: "booted from the other firmware",
  20: "download state can't be initialised",
  21: "not an update payload (bad magic)",
  22: "signature missing in the manifest",
  23: "payload manifest can't be read",
  24: "metadata signature error",
  25: "metadata signature verification failed",
  26: "metadata signature mismatch",
  27: "operation hash verification failed",
  28: "operation failed",
  29: "operation hash mismatch",
  30: "Omaha answer empty",
  31: "Omaha answer is not XML",
  32: "metadata size invalid",
  33: "metadata signature invalid",
  34: "Omaha answer invalid",
  35: "update ignored by policy of the node",
  36: "update deferred by policy of the node",
  37: "HTTP error",
  38: "operation hash missing",
  39: "metadata signature missing",
  40: "update deferred for back-off",
  41: "powerwash failed",
  42: "PCR policy verification failed",
  43: "PCR policy request failed",
  44: "rolled back: the old version booted again",
  100: "download incomplete",
  2000: "no HTTP answer",
};

export interface ErrorCode {
  readonly code: number;
  readonly flags: readonly string[];
  readonly name: string;
}

/** @param raw as sent: 32 bits, flags included; also negative, as some clients print it. */
export function decodeErrorCode(raw: number): ErrorCode {
  const bits = raw >>> 0;
  const code = (bits & CODE_MASK) >>> 0;
  return {
    code,
    flags: FLAGS.filter(([bit]) => (bits & bit) !== 0).map(([, name]) => name),
    name: NAMES[code] ?? (code > 2000 && code < 2600 ? `HTTP status ${code - 2000}` : `error ${code}`),
  };
}
