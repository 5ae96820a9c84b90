/**
 * Whether a text is a well-formed XML document of the kind we take: one pass over it, before anything is built from it.
 * Stricter than XML where XML is dangerous: no DOCTYPE, no entities but the five, bounded nesting and length, and names
 * beyond ASCII only from letters of the basic plane. (fast-xml-parser reads the document, but takes much that is none;
 * its own validator takes more than four times as long.)
 */

export type Examined =
  | {
      readonly ok: true;
      /**
       * The root element without comments, processing instructions and CDATA. fast-xml-parser must not see those: it looks
       * for the end of an instruction past quotes, so one with an odd quote hides the elements behind it.
       */
      readonly root: string;
      /** Some name has a colon: namespace prefixes have to be taken off. */
      readonly prefixed: boolean;
    }
  | { readonly ok: false; readonly reason: string };

const MAX_DEPTH = 16;
const MAX_ATTRIBUTES = 64;
const MAX_VALUE_LENGTH = 2_048;
/** Characters that XML 1.0 does not have. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for
const FORBIDDEN = /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/;
const DECLARATION =
  /^<\?xml\s+version\s*=\s*(["'])1\.0\1(?:\s+encoding\s*=\s*(["'])([A-Za-z][\w.-]*)\2)?(?:\s+standalone\s*=\s*(["'])(?:yes|no)\4)?\s*\?>/;
const REFERENCE = /&(?:amp|lt|gt|quot|apos|#(\d{1,7})|#x([\da-fA-F]{1,6}));/y;

const AMPERSAND = 38;
const LT = 60;
const GT = 62;
const SLASH = 47;
const EQUALS = 61;
const QUESTION = 63;
const BANG = 33;

/** Never throws: what is not well-formed comes back as one line that says what is wrong, and where. */
export function examine(text: string): Examined {
  let position = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  const forbidden = FORBIDDEN.exec(text);
  if (forbidden !== null) {
    const code = forbidden[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    return { ok: false, reason: at(text, forbidden.index, `the character U+${code} is not allowed in XML`) };
  }
  if (text.startsWith("<?xml", position)) {
    const declaration = DECLARATION.exec(position === 0 ? text : text.slice(position));
    if (declaration === null || (declaration[3] ?? "UTF-8").toUpperCase() !== "UTF-8") {
      const reason = at(text, position, 'the XML declaration must be <?xml version="1.0" encoding="UTF-8"?>');
      return { ok: false, reason };
    }
    position += declaration[0].length;
  }
  const scanner = new Scanner(text, position);
  const reason = scanner.run();
  return reason === null ? { ok: true, root: scanner.root(), prefixed: scanner.prefixed } : { ok: false, reason };
}

function at(text: string, position: number, what: string): string {
  const before = text.slice(0, position);
  const line = before.split("\n").length;
  return `not well-formed XML, line ${line}, column ${position - before.lastIndexOf("\n")}: ${what}`;
}

class Scanner {
  readonly #text: string;
  readonly #open: string[] = [];
  #position: number;
  #rootStart = -1;
  #rootEnd = -1;
  /** What stands in the root element before `#keptTo`, less what is cut out of it. */
  #kept = "";
  #keptTo = 0;
  prefixed = false;

  constructor(text: string, position: number) {
    this.#text = text;
    this.#position = position;
  }

  run(): string | null {
    const text = this.#text;
    while (this.#position < text.length) {
      const tag = text.indexOf("<", this.#position);
      const end = tag === -1 ? text.length : tag;
      if (end > this.#position) {
        const fault = this.#characters(end);
        if (fault !== null) return fault;
      }
      if (tag === -1) break;
      this.#position = tag;
      const fault = this.#markup();
      if (fault !== null) return fault;
    }
    if (this.#open.length > 0) return this.#fault("the document ends before its elements do");
    return this.#rootStart === -1 ? this.#fault("there is no element") : null;
  }

  root(): string {
    return this.#kept + this.#text.slice(Math.max(this.#keptTo, this.#rootStart), this.#rootEnd);
  }

  #characters(end: number): string | null {
    const text = this.#text;
    if (this.#open.length === 0) {
      for (let i = this.#position; i < end; i += 1) {
        if (!isSpace(text.charCodeAt(i))) return at(text, i, "text outside of the root element");
      }
    } else {
      for (let i = this.#position; i < end; i += 1) {
        const code = text.charCodeAt(i);
        if (code === AMPERSAND) {
          const fault = this.#reference(i, end);
          if (fault !== null) return fault;
        } else if (code === GT && text.endsWith("]]", i)) return at(text, i, '"]]>" in text');
      }
    }
    this.#position = end;
    return null;
  }

  #markup(): string | null {
    const next = this.#text.charCodeAt(this.#position + 1);
    if (next === SLASH) return this.#endTag();
    if (next === QUESTION)
      return this.#skip("?>", 2, "processing instruction", /^<\?(?!xml[\s?])[A-Za-z_][\w.-]*[\s?]/i);
    if (next !== BANG) return this.#startTag();
    if (this.#text.startsWith("<!--", this.#position)) return this.#comment();
    if (this.#text.startsWith("<![CDATA[", this.#position) && this.#open.length > 0)
      return this.#skip("]]>", 9, "CDATA section");
    return this.#fault("DOCTYPE, ENTITY and other declarations are not taken; leave them out");
  }

  #comment(): string | null {
    const dashes = this.#text.indexOf("--", this.#position + 4);
    if (dashes === -1 || this.#text.charCodeAt(dashes + 2) !== GT)
      return this.#fault("the comment does not end as one must");
    this.#cutTo(dashes + 3);
    return null;
  }

  #skip(end: string, from: number, what: string, shape?: RegExp): string | null {
    if (shape !== undefined && !shape.test(this.#text.slice(this.#position, this.#position + 100)))
      return this.#fault(`malformed ${what}`);
    const found = this.#text.indexOf(end, this.#position + from);
    if (found === -1) return this.#fault(`the ${what} does not end`);
    this.#cutTo(found + end.length);
    return null;
  }

  #cutTo(end: number): void {
    if (this.#open.length > 0) {
      this.#kept += this.#text.slice(Math.max(this.#keptTo, this.#rootStart), this.#position);
      this.#keptTo = end;
    }
    this.#position = end;
  }

  #endTag(): string | null {
    const text = this.#text;
    const name = this.#open.pop();
    if (name === undefined) return this.#fault("an end tag without a start tag");
    let i = this.#position + 2;
    if (!text.startsWith(name, i)) return this.#fault(`this end tag should be </${shown(name)}>`);
    i = skipSpaces(text, i + name.length);
    if (text.charCodeAt(i) !== GT) return this.#fault(`this end tag should be </${shown(name)}>`);
    this.#moveOn(i + 1);
    return null;
  }

  /** Behind a tag that opened nothing: when nothing is open now, the root element ends here. */
  #moveOn(position: number): void {
    this.#position = position;
    if (this.#open.length === 0) this.#rootEnd = position;
  }

  #startTag(): string | null {
    const text = this.#text;
    if (this.#rootEnd !== -1) return this.#fault("a second root element");
    const nameEnd = skipName(text, this.#position + 1);
    if (nameEnd === this.#position + 1) return this.#fault('"<" must begin a tag; in text write &lt;');
    const name = text.slice(this.#position + 1, nameEnd);
    if (this.#rootStart === -1) this.#rootStart = this.#position;
    if (name.includes(":")) this.prefixed = true;
    let i = nameEnd;
    const seen: string[] = [];
    for (;;) {
      const afterSpaces = skipSpaces(text, i);
      const code = text.charCodeAt(afterSpaces);
      if (code === GT) {
        this.#open.push(name);
        if (this.#open.length > MAX_DEPTH) return this.#fault(`elements are nested deeper than ${MAX_DEPTH}`);
        this.#position = afterSpaces + 1;
        return null;
      }
      if (code === SLASH) {
        if (text.charCodeAt(afterSpaces + 1) !== GT) return at(text, afterSpaces, '"/" must be followed by ">"');
        this.#moveOn(afterSpaces + 2);
        return null;
      }
      if (Number.isNaN(code)) return this.#fault("the tag does not end");
      if (afterSpaces === i)
        return at(text, i, "a space must separate attributes (is a quote unescaped? write &quot;)");
      const attributeEnd = skipName(text, afterSpaces);
      if (attributeEnd === afterSpaces)
        return at(text, afterSpaces, "an attribute's name is expected (is a quote unescaped? write &quot;)");
      const attribute = text.slice(afterSpaces, attributeEnd);
      if (attribute.includes(":")) this.prefixed = true;
      if (seen.includes(attribute)) return at(text, afterSpaces, "the attribute is there twice");
      if (seen.push(attribute) > MAX_ATTRIBUTES) return at(text, afterSpaces, `more than ${MAX_ATTRIBUTES} attributes`);
      const equals = skipSpaces(text, attributeEnd);
      if (text.charCodeAt(equals) !== EQUALS) return at(text, equals, 'an attribute needs "=" and a value in quotes');
      const open = skipSpaces(text, equals + 1);
      const quote = text[open];
      if (quote !== '"' && quote !== "'") return at(text, open, "an attribute's value must be in quotes");
      const close = text.indexOf(quote, open + 1);
      if (close === -1) return at(text, open, "the attribute's value does not end");
      const fault = this.#value(open + 1, close);
      if (fault !== null) return fault;
      i = close + 1;
    }
  }

  #value(from: number, to: number): string | null {
    if (to - from > MAX_VALUE_LENGTH)
      return at(this.#text, from, `an attribute's value is longer than ${MAX_VALUE_LENGTH} characters`);
    for (let i = from; i < to; i += 1) {
      const code = this.#text.charCodeAt(i);
      if (code === LT) return at(this.#text, i, '"<" in an attribute\'s value; write &lt;');
      if (code === AMPERSAND) {
        const fault = this.#reference(i, to);
        if (fault !== null) return fault;
      }
    }
    return null;
  }

  #reference(from: number, to: number): string | null {
    REFERENCE.lastIndex = from;
    const match = REFERENCE.exec(this.#text);
    if (match === null || REFERENCE.lastIndex > to)
      return at(this.#text, from, '"&" must begin one of &amp; &lt; &gt; &quot; &apos; or a character reference');
    const code =
      match[1] !== undefined ? Number(match[1]) : match[2] !== undefined ? Number.parseInt(match[2], 16) : 32;
    return isCharacter(code) ? null : at(this.#text, from, "the character reference names no XML character");
  }

  #fault(what: string): string {
    return at(this.#text, this.#position, what);
  }
}

function isSpace(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9;
}

function skipSpaces(text: string, from: number): number {
  let i = from;
  while (isSpace(text.charCodeAt(i))) i += 1;
  return i;
}

function skipName(text: string, from: number): number {
  let i = from;
  for (;;) {
    const code = text.charCodeAt(i);
    const starts = (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === 95 || code === 58;
    const inside = (code >= 48 && code <= 57) || code === 45 || code === 46;
    if (!starts && !(inside && i > from) && !(code >= 0xc0 && isLetterBeyondAscii(code))) return i;
    i += 1;
  }
}

/** NameStartChar of XML 1.0, in the basic plane; less U+1680 and U+FEFF, which JavaScript, and so the parser, takes for spaces. */
function isLetterBeyondAscii(code: number): boolean {
  if (code <= 0x2ff) return code !== 0xd7 && code !== 0xf7;
  if (code <= 0x1fff) return code >= 0x370 && code !== 0x37e && code !== 0x1680;
  if (code <= 0x218f) return code === 0x200c || code === 0x200d || code >= 0x2070;
  if (code <= 0xd7ff) return (code >= 0x2c00 && code <= 0x2fef) || code >= 0x3001;
  return (code >= 0xf900 && code <= 0xfdcf) || (code >= 0xfdf0 && code <= 0xfffd && code !== 0xfeff);
}

/** A name from the request, fit for a line of text. */
function shown(name: string): string {
  const printable = name.slice(0, 40).replace(/[^!-~]/g, "?");
  return name.length > 40 ? `${printable}...` : printable;
}

function isCharacter(code: number): boolean {
  if (code < 32) return code === 9 || code === 10 || code === 13;
  return code <= 0xd7ff || (code >= 0xe000 && code <= 0xfffd) || (code >= 0x10000 && code <= 0x10ffff);
}
