import { describe, expect, it } from "vitest";
import { MAX_BODY_BYTES, parseRequest } from "../../src/omaha/request.ts";
import { appsOf, aRequest, reasonAgainst } from "./parsed.ts";
import { sampleRequest } from "./samples.ts";

const sample = sampleRequest("02-ue-check-noupdate");

describe("declarations", () => {
  it("of entities or document types are refused, and never expanded", () => {
    const laughs = Array.from({ length: 9 }, (_, n) => `<!ENTITY l${n + 1} "${`&l${n};`.repeat(10)}">`).join("");
    const hostile = [
      `<!DOCTYPE request [<!ENTITY l0 "lol">${laughs}]><request protocol="3.0"><app appid="&l9;"/></request>`,
      `<!DOCTYPE request SYSTEM "file:///etc/passwd">${aRequest()}`,
      `<!doctype request>${aRequest()}`,
      `<!ENTITY x "y">${aRequest()}`,
      aRequest('<!DOCTYPE x><app appid="a"/>'),
      aRequest('<!ENTITY x SYSTEM "http://x/">'),
    ];
    for (const text of hostile) expect(reasonAgainst(text), text).toContain("DOCTYPE, ENTITY");
  });

  it("of other encodings or XML versions are refused", () => {
    for (const encoding of ["ISO-8859-1", "UTF-16", "utf8", "us-ascii", ""]) {
      expect(reasonAgainst(`<?xml version="1.0" encoding="${encoding}"?>${aRequest()}`), encoding).toContain(
        'must be <?xml version="1.0" encoding="UTF-8"?>',
      );
    }
    expect(reasonAgainst(`<?xml version="1.1"?>${aRequest()}`)).toContain("declaration");
    expect(reasonAgainst(`<?xml encoding="UTF-8"?>${aRequest()}`)).toContain("declaration");
    expect(reasonAgainst(` <?xml version="1.0"?>${aRequest()}`)).toContain("processing instruction");
    for (const encoding of ["UTF-8", "utf-8", "Utf-8"]) {
      expect(appsOf(`<?xml version="1.0" encoding="${encoding}"?>${aRequest()}`)).toEqual([]);
    }
  });

  it("of unknown entities are none of ours", () => {
    for (const reference of [
      "&nbsp;",
      "&x;",
      "&",
      "&;",
      "&#;",
      "&#x;",
      "&#xZZ;",
      "&amp",
      "&AMP;",
      "& amp;",
      "&#X41;",
    ]) {
      expect(reasonAgainst(aRequest(`<app appid="${reference}"/>`)), reference).toContain('"&" must begin');
      expect(reasonAgainst(aRequest(reference)), reference).toContain('"&" must begin');
    }
    for (const reference of ["&#0;", "&#x1F;", "&#xD800;", "&#xFFFE;", "&#x110000;", "&#9999999;"]) {
      expect(reasonAgainst(aRequest(`<app appid="${reference}"/>`)), reference).toContain("names no XML character");
    }
    expect(reasonAgainst(aRequest('<app appid="&am"></app>p;'))).toContain('"&" must begin');
  });
});

describe("JSON, which other update protocols speak", () => {
  it("is told what is spoken here", () => {
    const asked = JSON.stringify({ request: { protocol: "3.1", app: [{ appid: "x", updatecheck: {} }] } });
    for (const body of [asked, ` \n${asked}`, `\ufeff${asked}`, "{", "[]", `)]}'\n${asked}`]) {
      expect(reasonAgainst(body), body).toBe(
        'the body is JSON; this server speaks Omaha 3.0 XML: send <request protocol="3.0">...</request>',
      );
    }
  });
});

describe("bytes that are no text", () => {
  it("are refused: NUL and other control characters, UTF-16, broken UTF-8", () => {
    expect(reasonAgainst(sample.replace("azure", "az\0ure"))).toContain("U+0000 is not allowed");
    expect(reasonAgainst(sample.replace("azure", "az\u001bure"))).toContain("U+001B");
    expect(reasonAgainst(sample.replace("azure", "az\uffffure"))).toContain("U+FFFF");
    expect(reasonAgainst(Buffer.from(sample, "utf16le"))).toContain("U+0000");
    expect(reasonAgainst(Buffer.from(`\ufeff${sample}`, "utf16le"))).toBe("the body is not UTF-8");
    expect(reasonAgainst(Buffer.from(sample.replace("azure", "zür"), "latin1"))).toBe("the body is not UTF-8");
    expect(reasonAgainst(Buffer.from([0xed, 0xa0, 0x80]))).toBe("the body is not UTF-8");
    expect(reasonAgainst(Buffer.from([0xc0, 0xaf]))).toBe("the body is not UTF-8");
  });

  it("and bodies that are no XML are told what is expected", () => {
    expect(reasonAgainst("")).toBe("the body is empty; an Omaha request is expected");
    expect(reasonAgainst("appid=x&version=1")).toBe(
      "not well-formed XML, line 1, column 1: text outside of the root element",
    );
    expect(reasonAgainst("  \n ")).toContain("there is no element");
    expect(reasonAgainst("\ufeff")).toContain("there is no element");
  });
});

describe("documents that are cut or bent", () => {
  it("are refused wherever they are cut", () => {
    const whole = sample.trimEnd();
    for (let length = 0; length < whole.length; length += 1) {
      expect(parseRequest(Buffer.from(whole.slice(0, length))).ok, whole.slice(0, length).slice(-40)).toBe(false);
    }
  });

  const bent: [why: string, text: string][] = [
    ["a second root", aRequest() + aRequest()],
    ["text behind the root", `${aRequest()}x`],
    ["CDATA behind the root", `${aRequest()}<![CDATA[x]]>`],
    ["an end tag too many", `${aRequest()}</request>`],
    ["end tags crossed", aRequest("<app><ping></app></ping>")],
    ["an end tag longer than its start tag", aRequest("<app></apps>")],
    ["an end tag with an attribute", aRequest('<app></app x="">')],
    ["an attribute twice", aRequest('<app appid="a" appid="b"/>')],
    ["an attribute without value", aRequest("<app appid/>")],
    ["an attribute without quotes", aRequest("<app appid=a/>")],
    ["an attribute that never ends", aRequest('<app appid="a/>').replaceAll('"3.0"', "'3.0'")],
    ["attributes without space between", aRequest('<app appid="a"version="1"/>')],
    ["an attribute with no name", aRequest('<app ="a"/>')],
    ["< in a value", aRequest('<app appid="a<b"/>')],
    ["]]> in text", aRequest("a]]>b")],
    ["a slash on its own", aRequest("<app / >")],
    ["a tag without a name", aRequest("< app/>")],
    ["a name that begins with a digit", aRequest("<1app/>")],
    ["a name with a space of another script", aRequest('<app\u3000appid="a"/>')],
    ["a name with a space that only JavaScript knows", aRequest('<app a\u1680b="a"/>')],
    ["a comment with two dashes", aRequest("<!-- a -- b -->")],
    ["a comment that never ends", aRequest("<!-- a")],
    ["CDATA that never ends", aRequest("<![CDATA[ a")],
    ["an instruction that never ends", aRequest("<? a")],
    ["an instruction called xml", aRequest('<?XML version="1.0"?>')],
  ];
  it.each(bent)("%s is refused", (_why, text) => {
    expect(reasonAgainst(text)).toMatch(/^not well-formed XML, line 1, column \d+: /);
  });

  it("say where: the line and the column, from 1", () => {
    expect(reasonAgainst('<request protocol="3.0">\n  <app appid="a" appid="b"/>\n</request>')).toBe(
      "not well-formed XML, line 2, column 18: the attribute is there twice",
    );
  });
});

describe("reserved names", () => {
  it("are refused, and reach no prototype", () => {
    for (const name of ["__proto__", "constructor", "prototype"]) {
      expect(reasonAgainst(aRequest(`<app ${name}="x"/>`))).toContain("reserved");
      expect(reasonAgainst(aRequest(`<app x:${name}="x"/>`))).toContain("reserved");
      expect(reasonAgainst(aRequest(`<${name} polluted="yes"/>`))).toContain("reserved");
    }
    expect(appsOf(aRequest('<app hasOwnProperty="x" toString="y" valueOf="z"/><toString/>'))).toHaveLength(1);
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  });
});

describe("more than anybody needs", () => {
  it("of bytes is 413: 64 KiB pass, one more does not", () => {
    const fill = (size: number) => aRequest(" ".repeat(size - aRequest().length));
    expect(appsOf(fill(MAX_BODY_BYTES))).toEqual([]);
    expect(reasonAgainst(fill(MAX_BODY_BYTES + 1), 413)).toBe("the request is larger than 65536 bytes");
    expect(reasonAgainst(aRequest('<app appid="x"/>'.repeat(10_000)), 413)).toContain("larger");
  });

  it("of depth, apps, events, attributes or length of a value is 400", () => {
    const nested = (depth: number) => `${"<a>".repeat(depth)}${"</a>".repeat(depth)}`;
    expect(appsOf(aRequest(nested(15)))).toEqual([]);
    expect(reasonAgainst(aRequest(nested(16)))).toContain("nested deeper than 16");
    expect(reasonAgainst(aRequest(nested(5_000)))).toContain("nested deeper");
    expect(appsOf(aRequest("<app/>".repeat(64)))).toHaveLength(64);
    expect(reasonAgainst(aRequest("<app/>".repeat(65)))).toBe("more than 64 <app> elements");
    expect(reasonAgainst(aRequest("<app/>".repeat(10_000)))).toContain("more than 64 <app>");
    expect(appsOf(aRequest(`<app>${"<event/>".repeat(64)}</app>`))[0]?.events).toHaveLength(64);
    expect(reasonAgainst(aRequest(`<app>${"<event/>".repeat(65)}</app>`))).toContain("more than 64 <event>");
    const attributes = (count: number) => Array.from({ length: count }, (_, n) => ` a${n}=""`).join("");
    expect(appsOf(aRequest(`<app${attributes(64)}/>`))).toHaveLength(1);
    expect(reasonAgainst(aRequest(`<app${attributes(65)}/>`))).toContain("more than 64 attributes");
    expect(appsOf(aRequest(`<app appid="${"x".repeat(2_048)}"/>`))).toHaveLength(1);
    expect(reasonAgainst(aRequest(`<app appid="${"x".repeat(2_049)}"/>`))).toContain("longer than 2048");
  });

  it("of anything takes no time out of proportion", () => {
    const room = MAX_BODY_BYTES - 100;
    const times = (text: string) => text.repeat(Math.floor(room / text.length));
    const hostile = [
      aRequest(times("<a/>\n")),
      aRequest(times('<a b=""/>')),
      aRequest(times("&amp;")),
      aRequest(times("]]")),
      aRequest(times(">")),
      aRequest(`>${" ".repeat(room)}`),
      aRequest(times("<!---->")),
      aRequest(times("<?a?>")),
      `<app ${times(' track="')}>`,
      `<app ${times(' track="" ')}>`,
      `<app track="${times('" bootid=')}>`,
      `<app track="${times('" ')}>`,
      times("<app "),
      `<?xml version="1.0"${" ".repeat(room)}`,
      times('<a b="'),
      times("<"),
    ];
    // The time limit of the test is the assertion: a quadratic step over 64 KiB, thirty times, would not make it.
    for (let round = 0; round < 30; round += 1) {
      const parsed = hostile.map((text) => parseRequest(Buffer.from(text)).ok);
      expect(parsed).toHaveLength(hostile.length);
    }
  });

  it("of a name is not reflected", () => {
    const reason = reasonAgainst(`<${"é".repeat(5_000)}></x>`);
    expect(reason).toMatch(/^[ -~]{1,200}$/);
  });
});
