import fc from "fast-check";
import { XMLValidator } from "fast-xml-parser";
import { describe, expect, it } from "vitest";
import { parseRequest } from "../../src/omaha/request.ts";
import { examine } from "../../src/omaha/wellformed.ts";
import { readXml } from "../clients/xml.ts";
import { escapedAs, mutated, soup, tree, xmlText } from "./arbitrary.ts";
import { appOf } from "./parsed.ts";
import { SAMPLES, sampleRequest } from "./samples.ts";

const documents = SAMPLES.map(sampleRequest);
const anyDocument = fc.oneof(tree, soup, mutated(documents), fc.constantFrom(...documents));

describe("what the scanner takes", () => {
  it("is taken by fast-xml-parser's own validator too", () => {
    let taken = 0;
    fc.assert(
      fc.property(anyDocument, (text) => {
        const examined = examine(text);
        if (!examined.ok) return;
        taken += 1;
        expect(XMLValidator.validate(text), text).toBe(true);
        expect(XMLValidator.validate(examined.root), examined.root).toBe(true);
      }),
      { numRuns: 20_000 },
    );
    expect(taken).toBeGreaterThan(2_000);
  });

  it("is cut down to its root element, which says the same", () => {
    const text = '<?xml version="1.0"?><!-- a --><r a="1"><?p "?>x<b/><!-- c --><![CDATA[<d/>]]>y</r><!-- e -->';
    expect(examine(text)).toEqual({ ok: true, root: '<r a="1">x<b/>y</r>', prefixed: false });
    expect(examine("<o:r/>")).toEqual({ ok: true, root: "<o:r/>", prefixed: true });
    expect(examine('<r o:a=""/>')).toMatchObject({ prefixed: true });
  });

  it("includes letters of other scripts in names", () => {
    for (const letter of ["é", "ÿ", "Ω", "ж", "世", "가", "ﬁ", "\u200c", "ⅷ", "ⴀ"]) {
      expect(examine(`<r><${letter} ${letter}=""/></r>`).ok, letter).toBe(true);
    }
    for (const other of ["×", "÷", "\u037e", "\u2000", "\u2fff", "\ufeff", "\ue000", "😀", "\u00a0"]) {
      expect(examine(`<r><${other}/></r>`).ok, other).toBe(false);
    }
  });
});

describe("any body at all", () => {
  const anyBody = fc.oneof(
    anyDocument.map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  );

  it("is either read, or refused with one line that can be printed", () => {
    let read = 0;
    fc.assert(
      fc.property(anyBody, (body) => {
        const parsed = parseRequest(body);
        if (parsed.ok) read += 1;
        else {
          expect(parsed.status).toBe(400);
          expect(parsed.reason).toMatch(/^[ -~]{1,299}$/);
        }
      }),
      { numRuns: 12_000 },
    );
    expect(read).toBeGreaterThan(500);
  });

  it("that is read has the apps that another reader sees in it", () => {
    fc.assert(
      fc.property(mutated(documents), (text) => {
        const parsed = parseRequest(Buffer.from(text));
        if (!parsed.ok || parsed.repaired) return;
        const apps = readXml(text)?.children.filter(({ name }) => name === "app");
        expect(parsed.apps.map(({ appId }) => appId)).toEqual(apps?.map((app) => app.attributes.get("appid") ?? ""));
      }),
      { numRuns: 3_000 },
    );
  });
});

describe("attribute values", () => {
  it("are read back exactly, whatever they are and however they are escaped", () => {
    const style = fc.constantFrom("named" as const, "decimal" as const, "hex" as const);
    fc.assert(
      fc.property(fc.array(xmlText(40), { minLength: 8, maxLength: 8 }), style, (values, how) => {
        const names = ["appid", "version", "track", "machineid", "machinealias", "bootid", "oem", "alephversion"];
        const attributes = names.map((name, index) => `${name}="${escapedAs(values[index] ?? "", how)}"`).join(" ");
        const app = appOf(`<request protocol="3.0"><app ${attributes}></app></request>`);
        const { appId, version, track, machineId, machineAlias, bootId, oem, alephVersion } = app;
        expect([appId, version, track, machineId, machineAlias, bootId, oem, alephVersion]).toEqual(values);
      }),
      { numRuns: 3_000 },
    );
  });
});
