import { describe, expect, it } from "vitest";
import { repairQuotes } from "../../src/omaha/repair.ts";
import { parseRequest } from "../../src/omaha/request.ts";
import { appOf, reasonAgainst } from "./parsed.ts";
import { sampleRequest } from "./samples.ts";

const sample = sampleRequest("02-ue-check-noupdate");
/** The sample as an update_engine sends it that does not escape quotes. */
const sent = ({ group = "stable", alias = "" }: { group?: string; alias?: string }) =>
  sample.replace(/machinealias=".*?"/, `machinealias="${alias}"`).replace('track="berlin-web"', `track="${group}"`);

describe("quotes that update_engine did not escape", () => {
  it('GROUP="stable" finds the group stable', () => {
    expect(appOf(sent({ group: '"stable"' }))).toMatchObject({ track: "stable", machineAlias: "", brokenQuotes: true });
  });

  it('MACHINE_ALIAS="web 1" is the alias web 1', () => {
    expect(appOf(sent({ alias: '"web 1"' }))).toMatchObject({ machineAlias: "web 1", brokenQuotes: true });
  });

  it("are repaired in both at once, and the rest is as it was sent", () => {
    const clean = appOf(sent({ group: "edge", alias: "web 1 &amp; 2" }));
    const broken = appOf(sent({ group: '"edge"', alias: '"web 1 &amp; 2"' }));
    expect(broken).toEqual({ ...clean, brokenQuotes: true });
  });

  it("with a comment behind them are read as a shell would: the comment goes", () => {
    expect(appOf(sent({ alias: '"rack 4" # left' })).machineAlias).toBe("rack 4");
    expect(appOf(sent({ group: '"stable"  # was beta' })).track).toBe("stable");
    expect(appOf(sent({ group: '""' })).track).toBe("");
  });

  it("anywhere else in the value stay what they are", () => {
    for (const alias of ['the "blue" one', '"', '"open', 'shut"', '"a" "b"', '"a" b', '19" rack']) {
      expect(appOf(sent({ alias })), alias).toMatchObject({ machineAlias: alias, brokenQuotes: true });
    }
  });

  it("say so for the request as a whole too", () => {
    const repaired = (text: string) => {
      const parsed = parseRequest(Buffer.from(text));
      return parsed.ok && parsed.repaired;
    };
    expect(repaired(sent({ group: '"stable"' }))).toBe(true);
    expect(repaired(sent({}))).toBe(false);
  });

  it("can't smuggle in another attribute's value", () => {
    // What is between the attribute and its known neighbour is the value, all of it.
    const app = appOf(sent({ group: 'x" machineid="other" oem="none' }));
    expect(app).toMatchObject({
      track: 'x" machineid="other" oem="none',
      machineId: "b7d94e2c61f84a0f9d3355aa10c2e8f4",
    });
    expect(appOf(sent({ group: 'x" machinealias="y' })).track).toBe('x" machinealias="y');
    expect(reasonAgainst(sent({ group: 'x" bootid="y' }))).toContain("twice");
  });
});

describe("anything else that is malformed", () => {
  it("stays refused, and the reason is about what was sent", () => {
    const tag = 'protocol="3.0"';
    const other = [
      sample.replace('oem="azure"', 'oem=""azure""'),
      sample.replace('version="4459.2.1" track', 'version=""4459.2.1"" track'),
      sample.replace('sp="4459', 'sp=""4459'),
      sent({ group: '"stable"' }).replace('oem="azure"', 'oem=""azure""'),
      sent({ group: '"stable"' }).replace("</app>", ""),
      sent({ group: '"stable"' }).replace(' bootid="', ' boot="'),
      sent({ group: '"sta<ble"' }),
      `<request ${tag}><app track=""stable"" lang="en"/></request>`,
      `<request ${tag}><os track=""stable"" bootid=""/></request>`,
    ];
    for (const text of other) expect(reasonAgainst(text), text).toMatch(/^not well-formed XML, line \d/);
  });

  it("and what is well-formed is never touched: escaped quotes are part of the value", () => {
    expect(appOf(sent({ group: "&quot;stable&quot;" }))).toMatchObject({ track: '"stable"', brokenQuotes: false });
    expect(appOf(sent({ group: "'stable'" }))).toMatchObject({ track: "'stable'", brokenQuotes: false });
    expect(repairQuotes(sample)).toBeNull();
    expect(repairQuotes("")).toBeNull();
  });
});
