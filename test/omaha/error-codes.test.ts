import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeErrorCode } from "../../src/omaha/error-codes.ts";

describe("an error code", () => {
  it("as private servers get it is the base code and a flag", () => {
    expect(decodeErrorCode(268435466)).toEqual({ code: 10, flags: ["private server"], name: "payload hash mismatch" });
    expect(decodeErrorCode(268435496)).toMatchObject({ code: 40, name: "update deferred for back-off" });
    expect(decodeErrorCode(1342177289)).toEqual({
      code: 9,
      flags: ["private server", "resumed download"],
      name: "download failed",
    });
  });

  it("of a rollback has no flags", () => {
    expect(decodeErrorCode(44)).toEqual({ code: 44, flags: [], name: "rolled back: the old version booted again" });
  });

  it("above 2000 is the HTTP status of the check; 2000 is no answer at all", () => {
    expect(decodeErrorCode(268437959)).toMatchObject({ code: 2503, name: "HTTP status 503" });
    expect(decodeErrorCode(2404).name).toBe("HTTP status 404");
    expect(decodeErrorCode(2000).name).toBe("no HTTP answer");
  });

  it("may be negative: 32 bits are 32 bits", () => {
    expect(decodeErrorCode(-2147483639)).toEqual({ code: 9, flags: ["developer mode"], name: "download failed" });
    expect(decodeErrorCode(-1).flags).toHaveLength(4);
  });

  it("of the protocol's table has a name of its own, and any other its number", () => {
    const known = [...Array.from({ length: 45 }, (_, code) => code), 100, 2000];
    const names = known.map((code) => decodeErrorCode(code).name);
    expect(new Set(names).size).toBe(known.length);
    for (const name of names) expect(name).toMatch(/^[A-Za-z][ -~]{5,49}$/);
    expect(decodeErrorCode(45).name).toBe("error 45");
    expect(decodeErrorCode(9999).name).toBe("error 9999");
  });

  it("never loses a bit", () => {
    const bits: Record<string, number> = {
      "private server": 0x10000000,
      "development image": 0x20000000,
      "resumed download": 0x40000000,
      "developer mode": 0x80000000,
    };
    fc.assert(
      fc.property(fc.integer(), (raw) => {
        const { code, flags } = decodeErrorCode(raw);
        expect(flags.reduce((sum, flag) => sum + (bits[flag] ?? 0), code)).toBe(raw >>> 0);
      }),
    );
  });
});
