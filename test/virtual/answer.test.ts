import { describe, expect, it } from "vitest";
import { readAnswer } from "../../src/virtual/answer.ts";

const MANIFEST = `<manifest version="4593.2.5"><packages><package name="update.gz" size="501" required="true"/><package name="oem-azure.gz" size="7" required="false"/></packages><actions><action event="update"/><action event="postinstall" sha256="sGWS+w="/></actions></manifest>`;
const URLS = '<urls><url codebase="http://a.example/"/><url codebase="https://b.example/x&amp;y/"/></urls>';
const answer = (check: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<response protocol="3.0"><app appid="x" status="ok"><ping status="ok"/>${check}</app></response>`;
const update = (content: string) => answer(`<updatecheck status="ok">${content}</updatecheck>`);
const NOUPDATE = '<updatecheck status="noupdate"></updatecheck>';

describe("an answer, as update_engine reads it", () => {
  it("offers the first package of the first manifest, from all urls", () => {
    expect(readAnswer(update(URLS + MANIFEST))).toEqual({
      kind: "update",
      pollIntervalSeconds: null,
      appStatus: "ok",
      offer: {
        version: "4593.2.5",
        codebases: ["http://a.example/", "https://b.example/x&y/"],
        packageName: "update.gz",
        sizeBytes: 501,
        sha256: "sGWS+w=",
        extraFiles: [{ name: "oem-azure.gz", sha1: null, sha256: null }],
      },
    });
  });

  it("takes the first of several manifests", () => {
    const second = MANIFEST.replaceAll("4593.2.5", "4999.0.0");
    expect(readAnswer(update(URLS + MANIFEST + second))).toMatchObject({ offer: { version: "4593.2.5" } });
  });

  it("takes the first update check, whatever app it is of", () => {
    const both = `<response><app status="error-x">${NOUPDATE}</app><app status="ok"><updatecheck status="ok">${URLS}${MANIFEST}</updatecheck></app></response>`;
    expect(readAnswer(both)).toMatchObject({ kind: "noupdate", appStatus: "error-x" });
  });

  it.each([
    ["7200", 7200],
    ["0", null],
    ["-5", null],
    ["soon", null],
  ])("reads a poll interval of %s from noupdate too", (text, pollIntervalSeconds) => {
    expect(readAnswer(answer(`<updatecheck status="noupdate" PollInterval="${text}"/>`))).toMatchObject({
      kind: "noupdate",
      pollIntervalSeconds,
    });
  });

  it.each([
    ["no update check", answer("")],
    ["another status", answer('<updatecheck status="error-internal"/>')],
    ["no status", answer("<updatecheck/>")],
    ["no urls", update(MANIFEST)],
    ["an empty codebase", update(URLS.replace("http://a.example/", "") + MANIFEST)],
    ["no manifest", update(URLS)],
    ["no package", update(URLS + MANIFEST.replace(/<packages>.*<\/packages>/, ""))],
    ["no name", update(URLS + MANIFEST.replace("update.gz", ""))],
    ["size 0", update(URLS + MANIFEST.replace("501", "0"))],
    ["a size in hexadecimal", update(URLS + MANIFEST.replace("501", "0x1f5"))],
    ["no postinstall action", update(URLS + MANIFEST.replace("postinstall", "install"))],
    ["no sha256", update(URLS + MANIFEST.replace("sGWS+w=", ""))],
    ["a namespace", answer(NOUPDATE).replace("<response ", '<response xmlns="http://example.org/" ')],
    ["another root", "<html></html>"],
  ])("is invalid, code 34: %s", (_name, body) => {
    expect(readAnswer(body)).toMatchObject({ kind: "invalid", code: 34 });
  });

  it.each(["<response><app>", "not XML", "\x1f\x8b\x08", "<response><__proto__/></response", "<a/><b/>", "<a/><a/>"])(
    "is not XML, code 31: %j",
    (body) => {
      expect(readAnswer(body)).toMatchObject({ kind: "invalid", code: 31 });
    },
  );

  it("is missing, code 30", () => {
    expect(readAnswer("")).toMatchObject({ kind: "invalid", code: 30 });
  });
});
