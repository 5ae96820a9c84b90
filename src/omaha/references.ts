/** References for the XML parser: those that XML has, no others; `examine` has seen to it that they are right. */
export const REFERENCES = {
  decode: decodeValue,
  reset() {},
  setXmlVersion() {},
  setExternalEntities() {},
  addInputEntities() {},
};

const PREDEFINED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** An attribute's value as XML 1.0 §3.3.3 has it: references replaced, line ends and tabs as spaces. */
function decodeValue(raw: string): string {
  if (!/[&\t\n]/.test(raw)) return raw;
  return raw
    .replace(/[\t\n]/g, " ")
    .replace(/&(?:#x([\da-fA-F]+)|#(\d+)|([a-z]+));/g, (_whole, hex?: string, decimal?: string, name = "") => {
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
      return decimal !== undefined ? String.fromCodePoint(Number(decimal)) : (PREDEFINED[name] ?? "");
    });
}
