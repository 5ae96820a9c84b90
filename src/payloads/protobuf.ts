/** The fields of a protocol buffers message, as far as payloads need them. Source: protobuf.dev, "Encoding". */
export interface Field {
  readonly tag: number;
  /** Of a varint; null: it is none, or larger than 2^53. */
  readonly number: number | null;
  /** Of what has a length. */
  readonly bytes: Buffer | null;
}

/** Null: it is no such message. */
export function fieldsOf(message: Buffer): Field[] | null {
  const fields: Field[] = [];
  for (let at = 0; at < message.length; ) {
    const key = varint(message, at);
    if (key === null || key.value > 0xffffffffn) return null;
    at = key.end;
    const tag = Number(key.value >> 3n);
    const kind = Number(key.value & 7n);
    if (kind === 0) {
      const value = varint(message, at);
      if (value === null) return null;
      at = value.end;
      const number = Number(value.value);
      fields.push({ tag, number: Number.isSafeInteger(number) ? number : null, bytes: null });
      continue;
    }
    let length = kind === 1 ? 8 : kind === 5 ? 4 : null;
    if (kind === 2) {
      const given = varint(message, at);
      if (given === null) return null;
      at = given.end;
      length = Number(given.value);
    }
    if (length === null || length > message.length - at) return null;
    fields.push({ tag, number: null, bytes: message.subarray(at, at + length) });
    at += length;
  }
  return fields;
}

function varint(message: Buffer, from: number): { value: bigint; end: number } | null {
  let value = 0n;
  for (let index = 0; index < 10; index += 1) {
    const byte = message[from + index];
    if (byte === undefined) return null;
    value |= BigInt(byte & 0x7f) << BigInt(index * 7);
    if (byte < 0x80) return { value, end: from + index + 1 };
  }
  return null;
}
