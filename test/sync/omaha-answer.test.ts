import { describe, expect, it } from "vitest";
import { readAnswer } from "../../src/sync/omaha-answer.ts";
import { filesOf } from "../../src/sync/release.ts";
import { FLATCAR } from "../e2e/turnout.ts";
import { answerOf, aVersion, MAIN, manifestOf, OEM } from "./world.ts";

const [floor, target] = [aVersion("4081.2.0", 1), aVersion("4230.2.1", 1)];
const ASKED = { appId: FLATCAR, arch: 1, order: "semver" } as const;
const BASE = "https://files.example.org/app/amd64/";

/** The release of one manifest whose files are named otherwise. */
function read(named: (text: string) => string, marks = "") {
  const manifest = named(manifestOf(target, marks));
  const { target: found, places } = readAnswer(answerOf(BASE, manifest, ["https://b.example/x"]), ASKED);
  if (found === null) throw new Error("there is none");
  return { url: found.url, names: filesOf(found).map(({ name }) => name), places: places.get(found) };
}
const renamed = (main: string, oem: string) => (text: string) => text.replace(MAIN, main).replace(OEM, oem);

describe("a release whose payload is named with a folder", () => {
  it("is in that folder, with all its files by their own names", () => {
    for (const oem of [`4230.2.1/${OEM}`, `4230.2.1~${OEM}`]) {
      expect(read(renamed(`4230.2.1/${MAIN}`, oem))).toEqual({
        url: `${BASE}4230.2.1/`,
        names: [MAIN, OEM],
        places: [`${BASE}4230.2.1/`, "https://b.example/x/4230.2.1/"],
      });
    }
  });

  it("has the files, too, that are said to be left out", () => {
    const apart = (text: string) =>
      renamed(`a/b/${MAIN}`, `a/b/${OEM}`)(text).replace(/(<package name="a\/b\/oem.*?\/>)(.*)<\/manifest>/, "$2<left_out>$1</left_out></manifest>"); // biome-ignore format: one line
    expect(apart(manifestOf(target))).toMatch(/<left_out><package name="a\/b\/oem-azure.gz"/);
    expect(read(apart)).toMatchObject({ url: `${BASE}a/b/`, names: [MAIN, OEM] });
  });

  it("is not looked for where the target's version in the codebase would lead", () => {
    const both = [floor, target].map((one) => renamed(`${one.version}/${MAIN}`, `${one.version}~${OEM}`)(manifestOf(one, one === floor ? ' is_floor="true"' : ""))); // biome-ignore format: one line
    const { floors } = readAnswer(answerOf(`${BASE}4230.2.1/`, both.join("")), ASKED);
    expect(floors.map(({ url }) => url)).toEqual([`${BASE}4230.2.1/4081.2.0/`]);
  });

  it.each([
    [`../${MAIN}`, OEM, /the folder "\.\.\/" has a name that is none/],
    [`a/./${MAIN}`, OEM, /the folder/],
    [`/${MAIN}`, OEM, /the folder/],
    [`a//${MAIN}`, OEM, /the folder/],
    [`%2e%2e/${MAIN}`, OEM, /the folder/],
    [`a b/${MAIN}`, OEM, /the folder/],
    [`${"a/".repeat(9)}${MAIN}`, OEM, /the folder/],
    [`a/${MAIN}`, OEM, /"oem-azure.gz" is not where its payload is, in a\//],
    [`a/${MAIN}`, `a/b/${OEM}`, /the file "b\/oem-azure.gz" has a name that is none/],
    [MAIN, `a/${OEM}`, /the file "a\/oem-azure.gz" has a name that is none/],
  ])("is not taken with %s and %s", (main, oem, why) => {
    expect(() => read(renamed(main, oem))).toThrow(why);
  });
});
