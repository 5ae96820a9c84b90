/** The buffers of downloads: large ones as long as there are not too many, kept to be used again. */
const LARGE = 512 * 2 ** 10;
export const SMALL_BYTES = 64 * 2 ** 10;
/** Of large ones in use together. */
const MOST_LARGE = 128;

const idle: Buffer[] = [];
let largeInUse = 0;

/** @param bytes no more than these are needed */
export function takeBuffer(bytes: number): Buffer {
  if (bytes <= SMALL_BYTES || largeInUse >= MOST_LARGE) return Buffer.allocUnsafeSlow(Math.min(bytes, SMALL_BYTES));
  largeInUse += 1;
  return idle.pop() ?? Buffer.allocUnsafeSlow(LARGE);
}

/** @param isFree nobody else may still read it */
export function giveBack(buffer: Buffer, isFree: boolean): void {
  if (buffer.length !== LARGE) return;
  largeInUse -= 1;
  if (isFree) idle.push(buffer);
}
