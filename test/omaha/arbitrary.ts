/** Documents for property tests: valid ones, and ones that somebody bent. */
import fc from "fast-check";

/** Any text that XML can carry: no control characters but three, no lone surrogates, no U+FFFE and U+FFFF. */
export const xmlText = (maxLength: number) =>
  fc
    .string({ unit: "binary", maxLength })
    .map((text) => [...text].filter((character) => isXml(character.codePointAt(0) ?? 0)).join(""));

function isXml(code: number): boolean {
  if (code < 32) return code === 9 || code === 10 || code === 13;
  return code < 0xd800 || (code > 0xdfff && code < 0xfffe) || code > 0xffff;
}

/** Escaped for an attribute in double quotes, one way or another. */
export function escapedAs(text: string, style: "named" | "decimal" | "hex"): string {
  return text.replace(/[&<"\t\n\r]|[^ -~]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    const named: Record<string, string> = { "&": "&amp;", "<": "&lt;", '"': "&quot;" };
    if (style === "named") return named[character] ?? (code < 32 ? `&#${code};` : character);
    return style === "decimal" ? `&#${code};` : `&#x${code.toString(16).toUpperCase()};`;
  });
}

const name = fc.oneof(
  fc.constantFrom("request", "app", "os", "ping", "updatecheck", "event", "o:app", "x"),
  fc.constantFrom("appid", "version", "track", "eventtype", "errorcode", "protocol", "xmlns:o", "é"),
  fc.string({ maxLength: 3 }),
  fc.string({ unit: "binary", minLength: 1, maxLength: 2 }),
);
const space = fc.constantFrom(" ", "", "\n", "\t", "  ", "\u00a0", "\u1680");
const value = fc.oneof(
  fc.constantFrom("", "3.0", "1", "&amp;", "&#65;", "&", "<", "it's"),
  fc.string({ maxLength: 5 }),
);
const quote = fc.constantFrom('"', "'", '"', "");
const attribute = fc
  .tuple(space, name, space, fc.constantFrom("=", "=", "=", ""), space, quote, value)
  .map(
    ([before, key, left, equals, right, mark, text]) => `${before}${key}${left}${equals}${right}${mark}${text}${mark}`,
  );
const tag = fc
  .tuple(fc.constantFrom("<", "<", "<", "</", "< "), name, fc.array(attribute, { maxLength: 3 }), space)
  .chain(([open, key, attributes, after]) =>
    fc.constantFrom(">", "/>", "", "/").map((close) => `${open}${key}${attributes.join("")}${after}${close}`),
  );
const other = fc.oneof(
  fc.string({ maxLength: 6 }),
  value.map((text) => `<!--${text}-->`),
  value.map((text) => `<?x ${text}?>`),
  value.map((text) => `<![CDATA[${text}]]>`),
  fc.constantFrom('<?xml version="1.0"?>', "<!DOCTYPE x>", "]]>", "<?", "?>", "<!--", "-->", "<?xml?>", "<?>", "<!>"),
);

/** Bits of XML in any order: mostly no document at all. */
export const soup = fc.array(fc.oneof(tag, other), { maxLength: 12 }).map((parts) => parts.join(""));

/** A tree that is well-formed but for what its names and values bring along. */
export const tree = fc.letrec<{ element: string }>((tie) => ({
  element: fc
    .tuple(
      fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom("request", "app", "os", "event", "o:x") },
        { weight: 1, arbitrary: name },
      ),
      fc.array(attribute, { maxLength: 2 }),
      fc.array(fc.oneof({ maxDepth: 4 }, other, tie("element")), { maxLength: 3 }),
    )
    .map(([key, attributes, inside]) =>
      inside.length === 0
        ? `<${key}${attributes.join("")}/>`
        : `<${key}${attributes.join("")}>${inside.join("")}</${key}>`,
    ),
})).element;

/** One of these documents with some of its characters taken out, doubled or replaced. */
export const mutated = (documents: readonly string[]) =>
  fc
    .tuple(
      fc.constantFrom(...documents),
      fc.array(
        fc.tuple(
          fc.double({ min: 0, max: 1, noNaN: true }),
          fc.nat({ max: 12 }),
          fc.oneof(
            fc.constantFrom("", '"', "'", "<", ">", "/", "&", "=", " ", "<app>", "</app>", "\0", "é"),
            fc.string({ maxLength: 4 }),
          ),
        ),
        { minLength: 1, maxLength: 4 },
      ),
    )
    .map(([document, edits]) =>
      edits.reduce((text, [where, length, replacement]) => {
        const at = Math.floor(where * text.length);
        return text.slice(0, at) + replacement + text.slice(at + length);
      }, document),
    );
