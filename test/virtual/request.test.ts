import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Boot, type Identity, type Message, renderRequest } from "../../src/virtual/request.ts";

const identity: Identity = {
  appId: "e96281a6-d1af-4bde-9a0a-97b76e56dc57",
  track: "berlin-web",
  oem: "azure",
  machineId: "b7d94e2c61f84a0f9d3355aa10c2e8f4",
  machineAlias: "web-07 & spare",
  board: "amd64-usr",
};
const boot: Boot = {
  version: "4459.2.1",
  bootId: "3f0c7a52-91de-4c3b-8a46-0b6f1d2e7c95",
  alephVersion: "4081.2.0",
};

/** The samples of protocol/samples, 02 to 12, are this around their children. */
const sample = (children: string) => `<?xml version="1.0" encoding="UTF-8"?>
<request protocol="3.0" version="update_engine-0.4.10" updaterversion="update_engine-0.4.10" installsource="scheduler" ismachine="1">
    <os version="Chateau" platform="CoreOS" sp="4459.2.1_x86_64"></os>
    <app appid="{e96281a6-d1af-4bde-9a0a-97b76e56dc57}" version="4459.2.1" track="berlin-web" bootid="{3f0c7a52-91de-4c3b-8a46-0b6f1d2e7c95}" oem="azure" oemversion="4459.2.1" alephversion="4081.2.0" machineid="b7d94e2c61f84a0f9d3355aa10c2e8f4" machinealias="web-07 &amp; spare" lang="en-US" board="amd64-usr" hardware_class="" delta_okay="false" >
${children}
    </app>
</request>
`;
const CHECK = `        <ping active="1"></ping>
        <updatecheck></updatecheck>
`;

const event = (type: number, result: number, errorCode: number | null = null): Message => ({
  kind: "event",
  event: { type, result, errorCode },
});

const cases: readonly (readonly [string, Message, string])[] = [
  [
    "02, a check",
    { kind: "check", previousVersion: "" },
    `${CHECK}        <event eventtype="3" eventresult="2" previousversion=""></event>`,
  ],
  ["03, a download begins", event(13, 1), '        <event eventtype="13" eventresult="1"></event>'],
  ["04, a download is finished", event(14, 1), '        <event eventtype="14" eventresult="1"></event>'],
  ["05, an update is applied", event(3, 1), '        <event eventtype="3" eventresult="1"></event>'],
  ["06, a ping", { kind: "ping" }, '        <ping active="1"></ping>'],
  [
    "07, a check after the reboot",
    { kind: "check", previousVersion: "4081.2.0" },
    `${CHECK}        <event eventtype="3" eventresult="2" previousversion="4081.2.0"></event>`,
  ],
  [
    "08, a check after a fall-back",
    { kind: "check", previousVersion: null },
    `${CHECK}        <event eventtype="3" eventresult="0" errorcode="44"></event>`,
  ],
  [
    "09, an error",
    event(3, 0, 268435466),
    '        <event eventtype="3" eventresult="0" errorcode="268435466"></event>',
  ],
  [
    "12, put off by itself",
    event(3, 9, 268435496),
    '        <event eventtype="3" eventresult="9" errorcode="268435496"></event>',
  ],
];

describe("a request", () => {
  it.each(cases)("is, byte for byte, update_engine's: sample %s", (_name, message, children) => {
    expect(renderRequest(identity, boot, message)).toBe(sample(children));
  });

  it("says when a person asked for it", () => {
    const message: Message = { kind: "check", previousVersion: "0.0.0.0" };
    expect(renderRequest(identity, boot, message, "ondemandupdate")).toBe(
      sample(`${CHECK}        <event eventtype="3" eventresult="2" previousversion="0.0.0.0"></event>`).replace(
        "scheduler",
        "ondemandupdate",
      ),
    );
  });

  it("names an ARM machine as the kernel does", () => {
    const text = renderRequest({ ...identity, board: "arm64-usr" }, boot, { kind: "ping" });
    expect(text).toContain('sp="4459.2.1_aarch64"');
    expect(text).toContain('board="arm64-usr"');
  });

  it("keeps attributes without a value, and gives no OEM no version", () => {
    expect(renderRequest({ ...identity, oem: "", machineAlias: "" }, boot, { kind: "ping" })).toMatch(
      / oem="" oemversion="" .* machinealias="" lang/,
    );
  });

  it("encodes as libxml2 does: other scripts as numbers, quotes not at all", () => {
    const text = renderRequest({ ...identity, machineAlias: 'Prüfung <1> "a" 🚂' }, boot, { kind: "ping" });
    expect(text).toContain('machinealias="Pr&#xFC;fung &lt;1&gt; "a" &#x1F682;"');
  });

  it("is ASCII, whatever people wrote into update.conf", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (machineAlias) => {
        const text = renderRequest({ ...identity, machineAlias }, boot, { kind: "ping" });
        expect(Buffer.byteLength(text)).toBe(text.length);
      }),
    );
  });
});
