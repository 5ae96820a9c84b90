import { describe, expect, it } from "vitest";
import { ANSWERED, sampleRequest, sampleResponse } from "../omaha/samples.ts";
import { readAsGoOmaha } from "./go-omaha.ts";
import { readStrictly } from "./strict.ts";
import { readAsUeRs } from "./ue-rs.ts";
import { PayloadState, readAsUpdateEngine } from "./update-engine.ts";

const UPDATE = sampleResponse("01-ue-first-check-update");
const XML = "text/xml; charset=utf-8";
const check = (body: string, status = 200) => readAsUpdateEngine("check", { status, body });

describe("the client models", () => {
  it.each(ANSWERED)("take the sample answer %s", (name) => {
    readStrictly({ body: sampleRequest(name) }, { status: 200, contentType: XML, body: sampleResponse(name) });
  });

  it("name the client, and what it does not like", () => {
    const strictly =
      (body: string, contentType = XML) =>
      () =>
        readStrictly({ body: sampleRequest("01-ue-first-check-update") }, { status: 200, contentType, body });
    expect(strictly(UPDATE, "text/html")).toThrow("go-omaha would refuse this answer: content type text/html");
    expect(strictly(UPDATE.replace('size="501234567"', 'size="0"'))).toThrow("update_engine would refuse");
    expect(strictly(UPDATE.replace(' required="true"', ""))).toThrow(
      "ue-rs would refuse this answer: package has no required",
    );
    expect(() => readStrictly({ body: "<x" }, { status: 200, contentType: XML, body: UPDATE })).toThrow(
      "request itself",
    );
  });

  it("read an answer to a request with stray quotes too", () => {
    const body = sampleRequest("02-ue-check-noupdate").replace('track="berlin-web"', 'track=""berlin-web""');
    readStrictly({ body }, { status: 200, contentType: XML, body: sampleResponse("02-ue-check-noupdate") });
  });
});

describe("update_engine", () => {
  it("reads the first of everything", () => {
    expect(check(UPDATE)).toMatchObject({ kind: "update", version: "4593.2.5", size: 501234567, pollInterval: null });
    expect(check(sampleResponse("14-ue-check-slower-polling"))).toEqual({ kind: "noupdate", pollInterval: 7200 });
    const hidden = UPDATE.replace("<app ", '<app appid="x"><updatecheck status="noupdate"/></app><app ');
    expect(check(hidden)).toEqual({ kind: "noupdate", pollInterval: null });
  });

  it("reports what it can't read with its codes", () => {
    const broken: [body: string, code: number][] = [
      ["", 30],
      ["<html><p></html>", 31],
      [UPDATE.slice(0, -5), 31],
      [UPDATE.replace("<response ", '<response xmlns="urn:x" '), 34],
      [UPDATE.replace('updatecheck status="ok"', 'updatecheck status="error-internal"'), 34],
      [UPDATE.replaceAll("manifest", "other"), 34],
      [UPDATE.replace(/<url .*?<\/url>/, ""), 34],
      [UPDATE.replace(/codebase=".*?"/, 'codebase=""'), 34],
      [UPDATE.replace(/ name=".*?"/, ""), 34],
      [UPDATE.replace(/ size=".*?"/, ' size="-1"'), 34],
      [UPDATE.replace('event="postinstall"', 'event="update"'), 34],
      [UPDATE.replace(/ sha256=".*?"/, ' sha256=""'), 34],
      [sampleResponse("06-ue-ping-only-waiting-for-reboot"), 34],
    ];
    for (const [body, code] of broken) expect(check(body), body).toMatchObject({ kind: "error", code });
    expect(check(UPDATE, 503)).toMatchObject({ code: 2503 });
  });

  it("cares for an answer to a ping only as far as it is XML, and not at all for one to an event", () => {
    expect(readAsUpdateEngine("ping", { status: 200, body: "<x/>" })).toEqual({ kind: "ignored" });
    expect(readAsUpdateEngine("ping", { status: 200, body: "" })).toMatchObject({ code: 30 });
    expect(readAsUpdateEngine("event", { status: 500, body: "?" })).toEqual({ kind: "ignored" });
  });
});

describe("update_engine's payload", () => {
  const TWO = sampleResponse("13-ue-check-update-with-oem-and-sysext");
  /** Which of the addresses each of so many checks goes to, all with the same failure. */
  function asked(body: string, checks: number, code: number): { hosts: string[]; rounds: number } {
    const state = new PayloadState();
    const hosts = Array.from({ length: checks }, () => {
      const reading = check(body);
      if (reading.kind !== "update") throw new Error("it is none");
      const address = state.addressFor(reading);
      state.failed(reading, code);
      return new URL(address).hostname.split(".")[0] ?? "";
    });
    return { hosts, rounds: state.rounds };
  }
  const upTo = (count: string) => TWO.replace(/MaxFailureCountPerUrl="3"/, count);

  it("is asked for at the second address when the first has failed as often as the answer says, else ten times", () => {
    const [first, second] = ["updates", "mirror"];
    expect(asked(TWO, 5, 9).hosts).toEqual([first, first, first, second, second]);
    expect(asked(upTo(""), 11, 9).hosts).toEqual([...Array(10).fill(first), second]);
    expect(asked(upTo('MaxFailureCountPerUrl="1"'), 3, 9)).toEqual({ hosts: [first, second, first], rounds: 1 });
    expect(asked(TWO, 3, 10).hosts).toEqual([first, second, first]);
    expect(asked(TWO, 9, 5).hosts).toEqual(Array(9).fill(first));
  });

  it("is begun anew when anything in the answer is another", () => {
    const state = new PayloadState();
    for (const body of [TWO, upTo('MaxFailureCountPerUrl="1"'), TWO]) {
      const reading = check(body);
      if (reading.kind !== "update") throw new Error("it is none");
      expect(state.addressFor(reading)).toMatch(/^http:\/\/updates\./);
      state.failed(reading, 10);
    }
  });
});

describe("ue-rs", () => {
  it("fails the whole document for any violation", () => {
    const hash = UPDATE.replace(/ hash=".*?" hash_sha256=".*?"/, "");
    expect(readAsUeRs(hash).kind).toBe("ok"); // the payload itself is checked elsewhere
    const broken = [
      "",
      "<x/>",
      UPDATE.replace(' protocol="3.0"', ""),
      sampleResponse("02-ue-check-noupdate"),
      sampleResponse("06-ue-ping-only-waiting-for-reboot"),
      UPDATE.replace(/<app .*<\/app>/, ""),
      UPDATE.replace(/appid=".*?"/, 'appid="io.example"'),
      UPDATE.replace("<url codebase", '<url x="" codebase'),
      UPDATE.replace(/codebase=".*?"/, 'codebase="/relative/"'),
      UPDATE.replace(/<url .*?<\/url>/, ""),
      UPDATE.replace(/ hash=".*?"/, ' hash=""'),
      UPDATE.replace(/ hash_sha256=".*?"/, ' hash_sha256=""'),
      UPDATE.replace(/ size=".*?"/, ' size="many"'),
      UPDATE.replace(' required="true"', ' required="maybe"'),
      UPDATE.replace('event="postinstall"', 'event="boot"'),
      UPDATE.replace(/ sha256=".*?"/, ""),
      UPDATE.replace(/ sha256=".*?"/, ' sha256="00ff"'),
      UPDATE.replace('DisablePayloadBackoff="true"', 'DisablePayloadBackoff="TRUE"'),
      UPDATE.replace("<action ", '<action successaction="boom" '),
      UPDATE.replace("</package>", '</package><package name="x" size="1" required="false"></package>'),
      UPDATE.replace(/(<manifest.*<\/manifest>)/, "$1$1"),
    ];
    for (const body of broken) expect(readAsUeRs(body), body).toMatchObject({ kind: "error" });
  });
});

describe("go-omaha", () => {
  const asked = [{ appId: "{e96281a6-d1af-4bde-9a0a-97b76e56dc57}", ping: true, updateCheck: true, events: 1 }];
  const read = (body: string, status = 200, contentType: string | null = XML) =>
    readAsGoOmaha(asked, { status, contentType, body });

  it("wants each app once, as it sent it, and every attribute of its type", () => {
    expect(read(UPDATE)).toEqual({ kind: "ok", apps: [{ appId: asked[0]?.appId, status: "ok", updateCheck: "ok" }] });
    const broken = [
      "",
      UPDATE.replace('protocol="3.0"', 'protocol="3.1"'),
      UPDATE.replace("{e962", "{E962"),
      UPDATE.replace('" status="ok"><ping', '"><ping'),
      UPDATE.replace(/(<app .*<\/app>)/, "$1$1"),
      UPDATE.replace(/<app .*<\/app>/, ""),
      UPDATE.replace('<ping status="ok"></ping>', ""),
      UPDATE.replace('<event status="ok"></event>', ""),
      UPDATE.replace(/<updatecheck.*<\/updatecheck>/, ""),
      UPDATE.replace(/(<updatecheck.*<\/updatecheck>)/, "$1$1"),
      UPDATE.replace('required="true"', 'required="yes"'),
      UPDATE.replace(/ size=".*?"/, ' size="-1"'),
      UPDATE.replace("</response>", `${" ".repeat(1024 * 1024)}</response>`),
    ];
    for (const body of broken) expect(read(body), body.slice(0, 1000)).toMatchObject({ kind: "error" });
  });

  it("wants status 200 and XML in UTF-8", () => {
    for (const type of [null, "", "text/xml", "application/xml;charset=UTF-8"])
      expect(read(UPDATE, 200, type).kind).toBe("ok");
    for (const type of ["text/plain", "text/xml; charset=latin1"]) expect(read(UPDATE, 200, type).kind).toBe("error");
    for (const status of [204, 206, 400, 503]) expect(read(UPDATE, status).kind).toBe("error");
  });
});
