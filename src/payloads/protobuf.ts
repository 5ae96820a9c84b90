/** The fields of a protocol buffers message, as far as payloads need them. Source: protobuf.dev, "Encoding". */

/**
 * One field. It is handed over in place, as numbers: a message of 16 MiB may have eight million of them.
 * @param number of a varint; null: it is none, or larger than 2^53
 * @param start where what has a length begins in the message, and `end` where it ends; equal for a varint
 */
type Visit = (tag: number, number: number | null, start: number, end: number) => void;

const HIGHEST_KEY = 0xffffffff;

/** @returns false: it is no such message */
export function eachField(message: Buffer, visit: Visit): boolean {
  let at = 0;
  /** NaN: it can't be read. Above 2^53 it is not exact, and not needed to be. */
  const varint = (): number => {
    let value = 0;
    for (let index = 0; index < 10; index += 1) {
      const byte = message[at];
      if (byte === undefined) return Number.NaN;
      at += 1;
      value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  while (at < message.length) {
    const key = varint();
    if (!(key <= HIGHEST_KEY)) return false;
    const [tag, kind] = [Math.floor(key / 8), key % 8];
    if (kind === 0) {
      const value = varint();
      if (Number.isNaN(value)) return false;
      visit(tag, Number.isSafeInteger(value) ? value : null, at, at);
      continue;
    }
    const length = kind === 1 ? 8 : kind === 5 ? 4 : kind === 2 ? varint() : Number.NaN;
    if (!(length <= message.length - at)) return false;
    visit(tag, null, at, at + length);
    at += length;
  }
  return true;
}
