import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ActionAnswer,
  type AppAnswer,
  type ManifestAnswer,
  type OfferAnswer,
  renderResponse,
} from "../../src/omaha/response.ts";
import type { Offer } from "../../src/rollout/model/outcome.ts";
import { readStrictly } from "../clients/strict.ts";
import { readAsUeRs } from "../clients/ue-rs.ts";
import { readAsUpdateEngine } from "../clients/update-engine.ts";
import { atPath, childrenNamed, readXml, type XmlElement } from "../clients/xml.ts";
import { xmlText } from "./arbitrary.ts";
import { appOf } from "./parsed.ts";
import { ANSWERED, sampleRequest, sampleResponse } from "./samples.ts";

const NOW = Date.UTC(2026, 8, 19, 11, 27, 15, 500);
const PROLOGUE =
  '<?xml version="1.0" encoding="UTF-8"?>\n<response protocol="3.0" server="turnout"><daystart elapsed_seconds="41235" elapsed_days="7201"></daystart>';

const action: ActionAnswer = {
  event: "postinstall",
  chromeosVersion: "",
  sha256: "sGWSKGG6ThF1d1Q79UPTq1xN7mJyz870KaIUGrDJIDA=",
  needsAdmin: false,
  isDelta: false,
  disablePayloadBackoff: true,
  metadataSignatureRsa: "",
  metadataSize: "",
  deadline: "",
};
const payload = {
  name: "flatcar_production_update.gz",
  sizeBytes: 501234567,
  sha1: "DWDFOxrHPmQs9BW4iyawePscnD0=",
  sha256: "b065922861ba4e117577543bf543d3ab5c4dee6272cfcef429a2141ab0c92030",
};
const flatcar: ManifestAnswer["package"] = { version: "4593.2.5", files: [payload], action };

function anOffer(changes: Partial<OfferAnswer> = {}, pack: Partial<ManifestAnswer["package"]> = {}): OfferAnswer {
  return {
    urls: ["http://updates.corp.example:8080/files/amd64/4593.2.5/"],
    manifests: [{ package: { ...flatcar, ...pack }, isFloor: false, floorReason: null, isTarget: true }],
    marked: false,
    ...changes,
  };
}

function anAnswer(changes: Partial<AppAnswer> = {}): AppAnswer {
  return {
    appId: "{e96281a6-d1af-4bde-9a0a-97b76e56dc57}",
    status: "ok",
    ping: false,
    updateCheck: null,
    events: 0,
    ...changes,
  };
}

const offering = (offer: OfferAnswer | null, pollIntervalSeconds: number | null = null) =>
  anAnswer({ updateCheck: { offer, pollIntervalSeconds } });
const inside = (answer: AppAnswer) => renderResponse([answer], NOW).slice(PROLOGUE.length, -"</response>".length);

describe("the samples' answers", () => {
  it.each(ANSWERED)("%s comes out as it was written down", (name) => {
    const request = sampleRequest(name);
    const wanted = sampleResponse(name);
    const answer = renderResponse([dataOf(request, wanted)], NOW);
    // Ours is named otherwise, and has urls on noupdate as Nebraska has.
    const ours = answer
      .replace('server="turnout"', 'server="example-server"')
      .replace(/(<updatecheck status="noupdate"[^>]*>)<urls><\/urls>/, "$1")
      .replace(' MaxFailureCountPerUrl="1"', "");
    expect(ours).toBe(wanted.trimEnd().replace(' MaxFailureCountPerUrl="3"', ""));
    readStrictly({ body: request }, { status: 200, contentType: "text/xml; charset=utf-8", body: answer });
  });

  /** The data that a sample answer was made of, read back from it. */
  function dataOf(request: string, response: string): AppAnswer {
    const app = appOf(request);
    const root = readXml(response);
    const check = atPath(root, "response", "app", "updatecheck")[0];
    const poll = check?.attributes.get("PollInterval");
    const manifest = atPath(root, "response", "app", "updatecheck", "manifest")[0];
    const offer = manifest === undefined ? null : offerOf(root, manifest);
    return {
      appId: app.appId,
      status: "ok",
      ping: app.ping,
      updateCheck:
        check === undefined ? null : { offer, pollIntervalSeconds: poll === undefined ? null : Number(poll) },
      events: app.events.length,
    };
  }

  function offerOf(root: XmlElement | null, manifest: XmlElement): OfferAnswer {
    const urls = atPath(root, "response", "app", "updatecheck", "urls", "url");
    const files = childrenNamed(manifest, "packages").flatMap((all) => childrenNamed(all, "package"));
    const [found] = childrenNamed(manifest, "actions").flatMap((all) => childrenNamed(all, "action"));
    return anOffer(
      { urls: urls.map((url) => url.attributes.get("codebase") ?? "") },
      {
        version: manifest.attributes.get("version") ?? "",
        files: files.map(({ attributes }) => ({
          name: attributes.get("name") ?? "",
          sizeBytes: Number(attributes.get("size")),
          sha1: attributes.get("hash") ?? "",
          sha256: attributes.get("hash_sha256") ?? "",
        })),
        action: found === undefined ? null : { ...action, sha256: found.attributes.get("sha256") ?? "" },
      },
    );
  }
});

describe("an answer", () => {
  it("takes the engine's offer as it is", () => {
    const offer: Offer = { urls: [], manifests: [], marked: false };
    expect(inside(offering(offer))).toContain('<updatecheck status="ok"><urls></urls></updatecheck>');
  });

  it("without an app is valid", () => {
    expect(renderResponse([], NOW)).toBe(`${PROLOGUE}</response>`);
  });

  it("counts the seconds since midnight, in UTC", () => {
    const seconds = (now: number) => /elapsed_seconds="(\d+)"/.exec(renderResponse([], now))?.[1];
    expect(seconds(Date.UTC(2026, 1, 1))).toBe("0");
    expect(seconds(Date.UTC(2026, 1, 1, 23, 59, 59, 999))).toBe("86399");
  });

  it("has ping, updatecheck and events in that order, one for each that was sent", () => {
    const app = anAnswer({ ping: true, updateCheck: { offer: null, pollIntervalSeconds: 7200 }, events: 2 });
    expect(inside(app)).toBe(
      '<app appid="{e96281a6-d1af-4bde-9a0a-97b76e56dc57}" status="ok"><ping status="ok"></ping>' +
        '<updatecheck status="noupdate" PollInterval="7200"><urls></urls></updatecheck>' +
        '<event status="ok"></event><event status="ok"></event></app>',
    );
  });

  it("answers each app once, in order, with the appid as it was sent", () => {
    const ids = ["b", "{A}", "ü <&>"];
    const root = readXml(
      renderResponse(
        ids.map((appId) => anAnswer({ appId, status: "error-unknownApplication" })),
        NOW,
      ),
    );
    expect(atPath(root, "response", "app").map(({ attributes }) => [...attributes])).toEqual(
      ids.map((appId) => [
        ["appid", appId],
        ["status", "error-unknownApplication"],
      ]),
    );
  });
});

describe("an update", () => {
  it("has each attribute in the order that clients know", () => {
    const whole = {
      ...action,
      chromeosVersion: "4593.2.5",
      needsAdmin: true,
      isDelta: true,
      metadataSignatureRsa: "c2ln",
      metadataSize: "1234",
      deadline: "now",
    };
    expect(inside(offering(anOffer({}, { action: whole })))).toContain(
      '<action event="postinstall" DisplayVersion="4593.2.5" sha256="sGWSKGG6ThF1d1Q79UPTq1xN7mJyz870KaIUGrDJIDA=" needsadmin="true" ' +
        'IsDeltaPayload="true" DisablePayloadBackoff="true" MetadataSignatureRsa="c2ln" MetadataSize="1234" deadline="now"></action>',
    );
  });

  it("leaves out what is empty, false or 0, a hash first of all", () => {
    const bare = { name: "b", sizeBytes: 0, sha1: "", sha256: null };
    const text = inside(
      offering(
        anOffer({}, { files: [bare, bare], action: { ...action, disablePayloadBackoff: false, metadataSize: "0" } }),
      ),
    );
    expect(text).toContain(
      '<packages><package name="b" size="0" required="true"></package><package name="b" size="0" required="false"></package></packages>',
    );
    expect(text).toContain(`<action event="postinstall" sha256="${action.sha256}"></action>`);
  });

  it("has no action at all rather than one without sha256", () => {
    expect(inside(offering(anOffer({}, { action: { ...action, sha256: "" } })))).toContain("<actions></actions>");
    expect(inside(offering(anOffer({}, { action: null })))).toContain("<actions></actions>");
  });

  it("is a post-install action unless the package says otherwise", () => {
    expect(inside(offering(anOffer({}, { action: { ...action, event: "" } })))).toContain(
      '<action event="postinstall"',
    );
    expect(inside(offering(anOffer({}, { action: { ...action, event: "update" } })))).toContain(
      '<action event="update"',
    );
  });

  it("says with several addresses that one failure is enough to try the next, with one address nothing", () => {
    const attributes = (urls: readonly string[]) => / DisablePayloadBackoff="true"(.*?)>/.exec(inside(offering(anOffer({ urls }))))?.[1]; // biome-ignore format: one line
    expect(attributes(["https://a.example/", "https://b.example/"])).toBe(' MaxFailureCountPerUrl="1"');
    expect(attributes(["https://a.example/"])).toBe("");
  });

  it("has codebases that end with a slash, unless they have a query", () => {
    const urls = ["https://a.example/x", "https://b.example/x/", "https://c.example/?rev=1&sig=2"];
    expect(inside(offering(anOffer({ urls })))).toContain(
      '<urls><url codebase="https://a.example/x/"></url><url codebase="https://b.example/x/"></url><url codebase="https://c.example/?rev=1&amp;sig=2"></url></urls>',
    );
  });

  it("for a mirror has a manifest for each floor, and marks floors and target", () => {
    const floor = {
      package: { ...flatcar, version: "1.0.0" },
      isFloor: true,
      floorReason: 'needs "btrfs"',
      isTarget: false,
    };
    const last = { package: { ...flatcar, version: "2.0.0" }, isFloor: true, floorReason: null, isTarget: true };
    const target = { package: flatcar, isFloor: false, floorReason: "not shown", isTarget: true };
    const manifests = (offer: OfferAnswer) => inside(offering(offer)).match(/<manifest [^>]*>/g);
    expect(manifests(anOffer({ manifests: [floor, last, target], marked: true }))).toEqual([
      '<manifest version="1.0.0" is_floor="true" floor_reason="needs &#34;btrfs&#34;">',
      '<manifest version="2.0.0" is_floor="true" is_target="true">',
      '<manifest version="4593.2.5" is_target="true">',
    ]);
    expect(manifests(anOffer({ manifests: [floor], marked: false }))).toEqual(['<manifest version="1.0.0">']);
  });

  it("reaches update_engine and ue-rs whole", () => {
    const oem = { name: "oem-azure.gz", sizeBytes: 41870233, sha1: null, sha256: payload.sha256 };
    const urls = ["http://mirror.example/4593.2.5", "https://public.example/4593.2.5/"];
    const body = renderResponse([offering(anOffer({ urls }, { files: [payload, oem] }), 3600)], NOW);
    expect(readAsUpdateEngine("check", { status: 200, body })).toEqual({
      kind: "update",
      version: "4593.2.5",
      urls: ["http://mirror.example/4593.2.5/", "https://public.example/4593.2.5/"],
      packageName: payload.name,
      size: payload.sizeBytes,
      sha256: action.sha256,
      isDelta: false,
      disablePayloadBackoff: true,
      maxFailureCountPerUrl: 1,
      pollInterval: 3600,
    });
    expect(readAsUeRs(body)).toEqual({
      kind: "ok",
      version: "4593.2.5",
      packages: [
        { url: `http://mirror.example/4593.2.5/${payload.name}`, name: payload.name, size: 501234567, required: true },
        { url: "http://mirror.example/4593.2.5/oem-azure.gz", name: "oem-azure.gz", size: 41870233, required: false },
      ],
    });
  });
});

describe("what is written into an answer", () => {
  it("is escaped as clients of Nebraska know it", () => {
    expect(inside(anAnswer({ appId: `"'&<>\t\n\r` }))).toContain('appid="&#34;&#39;&amp;&lt;&gt;&#x9;&#xA;&#xD;"');
  });

  it("becomes U+FFFD where XML has no such character", () => {
    expect(inside(anAnswer({ appId: "a\0b\u001bc\ufffed\uffffe\ud800f\udc00g" }))).toContain(
      'appid="a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg"',
    );
    expect(inside(anAnswer({ appId: "😀\u007f\u0085" }))).toContain('appid="😀\u007f\u0085"');
  });

  it("is read back exactly, whatever it is", () => {
    fc.assert(
      fc.property(fc.array(xmlText(30), { minLength: 5, maxLength: 5 }), ([a = "", b = "", c = "", d = "", e = ""]) => {
        const offer = anOffer({ urls: [`${d}?`] }, { version: b, files: [{ ...payload, name: c, sha1: e }] });
        const root = readXml(renderResponse([{ ...offering(offer), appId: a }], NOW));
        const value = (name: string, ...path: string[]) =>
          atPath(root, "response", "app", ...path)[0]?.attributes.get(name);
        const check = ["updatecheck", "manifest", "packages", "package"];
        expect(value("appid")).toBe(a);
        expect(value("version", "updatecheck", "manifest")).toBe(b);
        expect(value("name", ...check)).toBe(c);
        expect(value("codebase", "updatecheck", "urls", "url")).toBe(`${d}?`);
        expect(value("hash", ...check) ?? "").toBe(e);
      }),
      { numRuns: 1_000 },
    );
  });

  it("makes a well-formed document of any strings at all", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), (appId, status) => {
        const text = renderResponse([anAnswer({ appId, status })], NOW);
        expect(readXml(text)).not.toBeNull();
        expect(Buffer.from(text).toString()).toBe(text);
      }),
    );
  });
});
