import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold, isPlain } from "../../src/rollout/fold.ts";

describe("names that are folded", () => {
  it.each([
    ["MÜNCHEN", "München", "Mu\u0308nchen", "mÜnchen"],
    ["Straße", "STRASSE", "STRAẞE", "strasse"],
    ["İSTANBUL", "istanbul", "ISTANBUL", "ıstanbul", "i\u0307stanbul"],
    ["ΟΔΟΣ", "οδος", "οδοσ"],
    ["ﬁle", "FILE", "ＦＩＬＥ"],
    ["ЛАБ-1", "лаб-1"],
  ])("are the same: %s", (...names) => {
    expect(new Set(names.map(fold)).size).toBe(1);
  });

  it.each([
    ["Müller", "Muller"],
    ["rack-1", "rack_1"],
    ["o", "ö"],
    ["", " "],
  ])("stay different: %s and %s", (one, other) => {
    expect(fold(one)).not.toBe(fold(other));
  });

  it("are the same whatever case they are in, however they are composed, and folded once or twice", () => {
    const letter = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("İ", "ı", "i", "ß", "ẞ", "ς", "Σ", "\u0307", "ǰ", "ŉ", "ᾳ"),
    );
    fc.assert(
      fc.property(fc.array(letter, { maxLength: 6 }), (letters) => {
        const name = letters.join("");
        const folded = fold(name);
        expect(fold(folded)).toBe(folded);
        expect([fold(name.normalize("NFD")), fold(name.normalize("NFC"))]).toEqual([folded, folded]);
      }),
      { numRuns: 500 },
    );
    // Each character by itself, of the planes that have letters with two cases.
    const odd: string[] = [];
    for (let code = 0; code <= 0x1_ffff; code += 1) {
      if (code >= 0xd800 && code <= 0xdfff) continue;
      const one = String.fromCodePoint(code);
      if (one.toUpperCase() === one && one.toLowerCase() === one) continue;
      const folded = fold(one);
      if ([one.toUpperCase(), one.toLowerCase(), folded].some((other) => fold(other) !== folded)) odd.push(one);
    }
    expect(odd).toEqual([]);
  });

  it("are but small letters where they are plain", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii" }), (name) => {
        expect(isPlain(name)).toBe(true);
        expect(fold(name)).toBe(name.toLowerCase());
      }),
    );
  });
});
