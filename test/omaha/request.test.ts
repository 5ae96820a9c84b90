import { describe, expect, it } from "vitest";
import type { AppRequest } from "../../src/omaha/request.ts";
import type { CheckIn } from "../../src/rollout/model/check-in.ts";
import { appOf, appsOf, aRequest, reasonAgainst } from "./parsed.ts";
import { SAMPLES, sampleRequest } from "./samples.ts";

const FLATCAR = "{e96281a6-d1af-4bde-9a0a-97b76e56dc57}";

/** What every update_engine sample says; the others differ from it. */
const NODE: AppRequest = {
  appId: FLATCAR,
  version: "4459.2.1",
  track: "berlin-web",
  machineId: "b7d94e2c61f84a0f9d3355aa10c2e8f4",
  machineAlias: "web-07 & spare",
  bootId: "{3f0c7a52-91de-4c3b-8a46-0b6f1d2e7c95}",
  oem: "azure",
  oemVersion: "4459.2.1",
  alephVersion: "4081.2.0",
  arch: 1,
  ping: false,
  updateCheck: false,
  targetVersionPrefix: "",
  events: [],
  onDemand: false,
  syncer: false,
  multiManifest: false,
  updateEngine: true,
  brokenQuotes: false,
};
const event = (type: number, result: number, errorCode: number | null = null, previousVersion = "") => ({
  type,
  result,
  errorCode,
  previousVersion,
});
const check = { ping: true, updateCheck: true };
const nothing = { machineAlias: null, bootId: "", oem: "", oemVersion: "", alephVersion: "", updateEngine: false };
const billing: AppRequest = {
  ...NODE,
  ...nothing,
  appId: "io.example.billing",
  version: "2.3.1",
  track: "beta",
  bootId: "5d1f2a90-7c3e-4b18-a6f4-2e9d0c81b377",
  machineId: "pod-3",
};
const agent: AppRequest = {
  ...NODE,
  ...nothing,
  track: "stable",
  bootId: "5d1f2a90-7c3e-4b18-a6f4-2e9d0c81b377",
  oem: "gce",
  ping: true,
};

const SAYS: Readonly<Record<string, AppRequest>> = {
  "01-ue-first-check-update": { ...NODE, ...check, onDemand: true, events: [event(3, 2, null, "0.0.0.0")] },
  "02-ue-check-noupdate": { ...NODE, ...check, events: [event(3, 2)] },
  "03-ue-event-download-started": { ...NODE, events: [event(13, 1)] },
  "04-ue-event-download-finished": { ...NODE, events: [event(14, 1)] },
  "05-ue-event-update-applied": { ...NODE, events: [event(3, 1)] },
  "06-ue-ping-only-waiting-for-reboot": { ...NODE, ping: true },
  "07-ue-check-after-reboot-into-new-version": {
    ...NODE,
    ...check,
    version: "4593.2.5",
    oemVersion: "4593.2.5",
    events: [event(3, 2, null, "4459.2.1")],
  },
  "08-ue-check-after-rollback": { ...NODE, ...check, events: [event(3, 0, 44)] },
  "09-ue-event-error-payload-hash-private-server": { ...NODE, events: [event(3, 0, 268435466)] },
  "10-ue-event-error-http-503-of-update-check": { ...NODE, events: [event(3, 0, 268437959)] },
  "11-ue-event-error-resumed-download": { ...NODE, events: [event(3, 0, 1342177289)] },
  "12-ue-event-deferred-by-backoff": { ...NODE, events: [event(3, 9, 268435496)] },
  "13-ue-check-update-with-oem-and-sysext": { ...NODE, ...check, events: [event(3, 2)] },
  "14-ue-check-slower-polling": { ...NODE, ...check, events: [event(3, 2)] },
  "15-nebraska-updater-check-update": { ...billing, updateCheck: true },
  "16-nebraska-updater-event-install-finished": { ...billing, events: [event(2, 1)] },
  "17-nebraska-updater-event-error-custom-code": { ...billing, events: [event(3, 0, 42)] },
  "18-go-omaha-ping": agent,
  "19-go-omaha-check-noupdate": { ...agent, updateCheck: true, events: [event(3, 2)] },
  "20-ue-rs-check-update": {
    ...NODE,
    ...nothing,
    track: "stable",
    machineId: "0c41fe77d2a94b6c8855102fe3b96d20",
    updateCheck: true,
    onDemand: true,
  },
  "37-odd-but-valid-self-closed-single-quotes": {
    ...NODE,
    ...nothing,
    ...check,
    appId: "{E96281A6-D1AF-4BDE-9A0A-97B76E56DC57}",
    version: "4459.2.1+nightly-20260301-2100",
    track: "stable",
    machineId: "{B7D94E2C-61F8-4A0F-9D33-55AA10C2E8F4}",
    events: [event(3, 2)],
  },
  "38-non-ascii-alias": { ...NODE, ...check, machineAlias: "Köln-世界 <1>", events: [event(3, 2)] },
};

describe("what real clients send", () => {
  it("is all covered", () => expect(Object.keys(SAYS).sort()).toEqual(SAMPLES));

  it.each(SAMPLES)("%s is read as the protocol's description says", (name) => {
    expect(appOf(sampleRequest(name))).toEqual(SAYS[name]);
  });

  it("is what the engine takes, field by field", () => {
    const checkIn: CheckIn = appOf(sampleRequest("02-ue-check-noupdate"));
    const back: AppRequest = checkIn;
    expect(back).toBe(checkIn);
  });
});

describe("a request", () => {
  it("without an app is valid", () => {
    expect(appsOf(aRequest())).toEqual([]);
    expect(appsOf('<request protocol="3.0"/>')).toEqual([]);
  });

  it("with several apps keeps them apart, and in their order", () => {
    const apps = appsOf(
      aRequest('<app appid="a"><ping/><event eventtype="3" eventresult="1"/></app><app appid="b"><updatecheck/></app>'),
    );
    expect(apps.map(({ appId, ping, updateCheck, events }) => [appId, ping, updateCheck, events.length])).toEqual([
      ["a", true, false, 1],
      ["b", false, true, 0],
    ]);
  });

  it("may have a byte order mark, comments, instructions and CDATA anywhere they may stand", () => {
    const text = `\ufeff<?xml version='1.0' encoding="utf-8" standalone='yes' ?>
      <!-- one --><?pi it's ?><request protocol="3.0"><!-- <app appid="no"/> --><![CDATA[<app appid="no">]]>
      <?pi "odd ?><app appid="yes"><?pi '?><ping/><!-- > --></app><?pi ' " ?></request> <!-- last --> <?pi?>`;
    expect(appOf(text)).toMatchObject({ appId: "yes", ping: true });
  });

  it("may use namespace prefixes: the local name counts", () => {
    const text = `<o:request xmlns:o="urn:x" o:protocol="3.1"><o:app o:appid="a" xmlns:version="v"><o:ping/></o:app></o:request>`;
    expect(appOf(text)).toMatchObject({ appId: "a", version: "", ping: true });
  });

  it("may have a default namespace and unknown elements and attributes, at any place", () => {
    const text = aRequest(
      `text &amp; more<hw sse="1"/><app appid="a" cohort="c"><data><ping/><app appid="no"/></data><event eventtype="3" extra=""/></app>
       <ping/><event/><updatecheck/>`,
      ' xmlns="urn:x" dedup="cr" ismachine="yes"',
    );
    expect(appOf(text)).toMatchObject({ appId: "a", ping: false, updateCheck: false, events: [{ type: 3 }] });
  });

  it("has the names of elements and attributes in lower case", () => {
    expect(appsOf(aRequest('<App appid="a"/>'))).toEqual([]);
    expect(appOf(aRequest('<app APPID="a"/>')).appId).toBe("");
  });

  it("may have its os behind the apps; the last one counts", () => {
    expect(appOf(aRequest('<app appid="a"/><os arch="x64"/><os arch="arm"/>')).arch).toBe(2);
  });

  it("of another protocol than 3.x is refused", () => {
    for (const protocol of ["", "2.0", "30", "3", "4.0", "3.x", " 3.0", "3.0 ", "03.0", "v3.0"]) {
      expect(reasonAgainst(`<request protocol="${protocol}"/>`), protocol).toContain("protocol");
    }
    expect(reasonAgainst("<request/>")).toBe('request: protocol must be "3.0"');
    expect(appsOf('<request protocol="3.1"/>')).toEqual([]);
  });

  it("with another root is refused", () => {
    expect(reasonAgainst('<response protocol="3.0"/>')).toBe("the root element must be <request>");
    expect(reasonAgainst('<x><request protocol="3.0"/></x>')).toContain("root");
    expect(reasonAgainst('<Request protocol="3.0"/>')).toContain("root");
  });

  it("leaves nothing behind for the next one", () => {
    expect(appsOf(aRequest('<app appid="a"><ping/></app>'))).toHaveLength(1);
    reasonAgainst(aRequest('<app appid="b"><constructor/></app>'));
    expect(appsOf(aRequest("<ping/>"))).toEqual([]);
  });
});

describe("attribute values", () => {
  const read = (raw: string) => appOf(aRequest(`<app machinealias="${raw}"/>`)).machineAlias;

  it("have the five entities and character references decoded, once", () => {
    expect(read("&amp;&lt;&gt;&quot;&apos;")).toBe("&<>\"'");
    expect(read("&#xFC;&#252;&#34;&#39;&#x1F600;&#x80;&#x9;&#10;&#13;")).toBe("üü\"'😀\u0080\t\n\r");
    expect(read("&amp;lt;&#38;lt;&amp;#65;")).toBe("&lt;&lt;&#65;");
  });

  it("keep their spaces, and have line ends and tabs read as spaces, as XML says", () => {
    expect(read("  a  ")).toBe("  a  ");
    expect(read("a\r\nb\tc\nd\re")).toBe("a b c d e");
  });

  it("may hold whatever needs no escaping", () => {
    expect(read("it's > a = 'b' /")).toBe("it's > a = 'b' /");
    expect(appOf(aRequest(`<app machinealias='say "hi"/>'/>`)).machineAlias).toBe('say "hi"/>');
    expect(read("Ünïcödé 世界 😀")).toBe("Ünïcödé 世界 😀");
  });

  it("are text, whatever they look like", () => {
    expect(appOf(aRequest('<app version="007.10" machineid="true" track="1e3"/>'))).toMatchObject({
      version: "007.10",
      machineId: "true",
      track: "1e3",
    });
  });
});

describe("the architecture", () => {
  const arch = (board: string, os: string) => appOf(aRequest(`<os ${os}/><app board="${board}"/>`)).arch;

  it("is the board's first of all", () => {
    expect(arch("amd64-usr", 'arch="arm" sp="1_aarch64"')).toBe(1);
    expect(arch("arm64-usr", 'arch="x64" sp="1_x86_64"')).toBe(2);
  });

  it("is the os's arch without a board that we know", () => {
    const names = { x64: 1, amd64: 1, x86_64: 1, arm: 2, arm64: 2, aarch64: 2, x86: 3, all: 0 };
    for (const [name, number] of Object.entries(names)) expect(arch("", `arch="${name}"`), name).toBe(number);
    expect(arch("mips-usr", 'arch="arm"')).toBe(2);
  });

  it("is the suffix of the service pack without either, and amd64 without anything", () => {
    expect(arch("", 'sp="4230.2.1_aarch64"')).toBe(2);
    expect(arch("", 'sp="4230.2.1_x86_64"')).toBe(1);
    expect(arch("", 'arch="mips" sp="4230.2.1_arm64"')).toBe(2);
    expect(arch("", 'sp="4230.2.1"')).toBe(1);
    expect(arch("", 'sp="4230.2.1_mips"')).toBe(1);
    expect(appOf(aRequest("<app/>")).arch).toBe(1);
  });
});

describe("who asks, and why", () => {
  const asked = (attributes: string) => appOf(aRequest("<app/>", ` ${attributes}`));

  it("is a person when the source is on demand", () => {
    expect(asked('installsource="ondemandupdate"').onDemand).toBe(true);
    expect(asked('installsource="ondemand"').onDemand).toBe(true);
    expect(asked('installsource="scheduler"').onDemand).toBe(false);
    expect(asked("").onDemand).toBe(false);
  });

  const PAIR =
    ' installsource="scheduler" version="CoreOSUpdateEngine-0.1.0.0" updaterversion="CoreOSUpdateEngine-0.1.0.0"';
  const UUID = "{0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d}";
  const inPair = (attributes: string, children = "<updatecheck/>") =>
    appOf(aRequest(`<os platform="CoreOS" version="Chateau" arch="x64"/><app ${attributes}>${children}</app>`, PAIR));

  it("is a mirror with the mirror's version and the scheduler as source, and not with one of them", () => {
    expect(asked('installsource="scheduler" version="CoreOSUpdateEngine-0.1.0.0"').syncer).toBe(true);
    expect(asked('installsource="ondemandupdate" version="CoreOSUpdateEngine-0.1.0.0"').syncer).toBe(false);
    expect(asked('installsource="scheduler" version="CoreOSUpdateEngine-0.1.0"').syncer).toBe(false);
  });

  it.each([
    ["one that names itself freely, without a boot", 'machineid="syncer-766.0.0" multi_manifest_ok="true"'],
    ["without any id", 'version="766.0.0" track="stable"'],
    ["Nebraska's, of today", `machineid="${UUID}" bootid="${UUID}" multi_manifest_ok="true"`],
    ["Nebraska's, before there were floors, and CoreRoller's", `machineid="${UUID}" bootid="${UUID}"`],
    ["ours", `bootid="${UUID}" machineid="${UUID}" multi_manifest_ok="true"`],
  ])("is a mirror: %s", (_who, attributes) => {
    expect(inPair(attributes).syncer).toBe(true);
  });

  const DIGITS = "b7d94e2c61f84a0f9d3355aa10c2e8f4";
  it.each([
    [
      "a check",
      `machineid="${DIGITS}" bootid="${UUID}" board="amd64-usr"`,
      '<ping active="1"/><updatecheck/><event eventtype="3" eventresult="2" previousversion=""/>',
    ],
    [
      "a check of one that pings once a day",
      `machineid="${DIGITS}"`,
      '<updatecheck/><event eventtype="3" eventresult="2" previousversion=""/>',
    ],
    ["a ping", `machineid="${DIGITS}"`, '<ping active="1"/>'],
    ["a report", `machineid="${DIGITS}"`, '<event eventtype="13" eventresult="1"/>'],
    ["one with a board", `machineid="${UUID}" board="amd64-usr"`, "<updatecheck/>"],
    ["one whose board is not known", `machineid="${UUID}" board=""`, "<updatecheck/>"],
    ["one with a boot and an id of digits", `machineid="${DIGITS}" bootid="${UUID}"`, "<updatecheck/>"],
    ["one with a boot and no id", `bootid="${UUID}"`, "<updatecheck/>"],
    [
      "one of 2014, with its id in braces",
      `machineid="${UUID}" bootid="${UUID}"`,
      '<ping active="1" a="-1" r="-1"/><updatecheck/>',
    ],
  ])("is a node of CoreOS's times, with the same version and source: %s", (_what, attributes, children) => {
    expect(inPair(attributes, children)).toMatchObject({ syncer: false, updateEngine: true });
  });

  it("is update_engine by the client's or the updater's version", () => {
    expect(asked('version="update_engine-0.4.10"').updateEngine).toBe(true);
    expect(asked('version="x" updaterversion="update_engine-0.4.2"').updateEngine).toBe(true);
    expect(asked('version="FlatcarUpdateEngine-0.1.0.0"').updateEngine).toBe(false);
  });

  it("takes several manifests when it says so", () => {
    for (const yes of ["true", "1", "t", "T", "True", "TRUE"]) {
      expect(appOf(aRequest(`<app multi_manifest_ok="${yes}"/>`)).multiManifest, yes).toBe(true);
    }
    for (const no of ["false", "0", "", "yes"]) {
      expect(appOf(aRequest(`<app multi_manifest_ok="${no}"/>`)).multiManifest, no).toBe(false);
    }
  });

  it("may limit the versions it takes", () => {
    expect(appOf(aRequest('<app><updatecheck targetversionprefix="4230."/></app>')).targetVersionPrefix).toBe("4230.");
  });
});

describe("numbers in events", () => {
  const read = (attributes: string) => appOf(aRequest(`<app><event ${attributes}/></app>`)).events[0];

  it("are 0 when empty or absent; an absent error code is none at all", () => {
    expect(read("")).toEqual(event(0, 0));
    expect(read('eventtype="" eventresult=" " errorcode=""')).toEqual(event(0, 0, 0));
  });

  it("may have a sign and spaces around", () => {
    expect(read('eventtype=" +13 " eventresult="&#9;1"')).toEqual(event(13, 1));
  });

  it("are taken as 32 bits without sign where they are error codes", () => {
    expect(read('errorcode="-2147483648"')?.errorCode).toBe(0x80000000);
    expect(read('errorcode="-1"')?.errorCode).toBe(0xffffffff);
    expect(read('errorcode="4294967295"')?.errorCode).toBe(0xffffffff);
  });

  it("that are none are refused, and the attribute is named", () => {
    for (const name of ["eventtype", "eventresult", "errorcode"]) {
      for (const bad of [
        "x",
        "1.5",
        "0x10",
        "1e3",
        "- 1",
        "--1",
        "4294967296",
        "-2147483649",
        "99999999999",
        "Infinity",
      ]) {
        expect(reasonAgainst(aRequest(`<app><event ${name}="${bad}"/></app>`)), bad).toBe(
          `event: ${name} must be a whole number of 32 bits, e.g. ${name}="3"`,
        );
      }
    }
  });
});
