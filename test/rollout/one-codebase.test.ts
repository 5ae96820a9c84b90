import { describe, expect, it } from "vitest";
import type { Manifest, Offer } from "../../src/rollout/model/outcome.ts";
import { withOneCodebase } from "../../src/rollout/one-codebase.ts";
import { aChannel, aCheckIn, aFleet, aGroup, aPackage, World } from "./builders.ts";

/** Versions 1, 2, 3 and so on, each with where it is, all but the last as floors. */
function offering(...urls: readonly (string | readonly string[])[]): Offer {
  const manifests = urls.map((url, index): Manifest => {
    const isTarget = index === urls.length - 1;
    const file = (name: string) => ({ name, sizeBytes: 1, sha1: null, sha256: null });
    const files = [file("p.gz"), file("oem.gz")];
    const version = `${index + 1}.0.0`;
    return {
      package: aPackage({ version, urls: [url].flat(), files }),
      isFloor: !isTarget,
      floorReason: null,
      isTarget,
    };
  });
  return { urls: manifests.at(-1)?.package.urls ?? [], manifests, marked: true };
}

/** Its codebase, each manifest with its marks and its files' names, and what is left out. */
function expressed(...urls: readonly (string | readonly string[])[]) {
  const offer = withOneCodebase(offering(...urls));
  if (offer === null) return null;
  const rows = offer.manifests.map(({ package: { version, files }, isFloor, isTarget, filesLeftOut = [] }) => {
    const marks = `${isFloor ? "floor" : ""}${isTarget ? "target" : ""}`;
    return [version, marks, files.map(({ name }) => name).join(), filesLeftOut.map(({ name }) => name).join()];
  });
  return { urls: offer.urls, rows, leftOut: offer.leftOut };
}

describe("one codebase for several manifests", () => {
  it("is the folder that all files kept here are below; the payload is in its version's, others beside", () => {
    expect(expressed("/app/amd64/1.0.0/", ["/app/amd64/2.0.0%2Bx/", "https://h.example/2/"])).toEqual({
      urls: ["/app/amd64/"],
      rows: [
        ["1.0.0", "floor", "1.0.0/p.gz,1.0.0~oem.gz", ""],
        ["2.0.0", "target", "2.0.0+x/p.gz,2.0.0~oem.gz", ""],
      ],
      leftOut: [],
    });
  });

  it("is the folder that all are below on another server; extra files that need folders are left out", () => {
    const extra = (version: string) => ({ version, what: "extra-files" });
    expect(expressed("https://h.example/a/1.0.0", "https://h.example/a/b/2.0.0/")).toEqual({
      urls: ["https://h.example/a/"],
      rows: [
        ["1.0.0", "floor", "1.0.0/p.gz", "1.0.0/oem.gz"],
        ["2.0.0", "target", "b/2.0.0/p.gz", "b/2.0.0/oem.gz"],
      ],
      leftOut: [extra("1.0.0"), extra("2.0.0")],
    });
    expect(expressed("https://h.example", "https://h.example/2")?.urls).toEqual(["https://h.example/"]);
  });

  it("is the one they all have, and names stay as they are", () => {
    for (const url of ["https://h.example/flatcar/", "https://h.example/get?file="]) {
      const offer = expressed(url, url);
      expect(offer?.urls).toEqual([url]);
      expect(offer?.rows.map(([, , files]) => files)).toEqual(["p.gz,oem.gz", "p.gz,oem.gz"]);
    }
  });

  it("is on the server that has the most of them", () => {
    const both = (version: string) => [`/app/amd64/${version}/`, `https://h.example/${version}/`];
    expect(expressed(both("1.0.0"), both("2.0.0"))?.urls).toEqual(["/app/amd64/"]);
    expect(expressed(both("1.0.0"), "https://h.example/2.0.0/", both("3.0.0"))?.urls).toEqual(["https://h.example/"]);
  });

  it("leads up to the last floor on that server, which is the target for now: no floor is skipped", () => {
    expect(
      expressed("/app/amd64/1.0.0/", "/app/amd64/2.0.0/", "https://h.example/3.0.0/", "/app/amd64/4.0.0/"),
    ).toEqual({
      urls: ["/app/amd64/"],
      rows: [
        ["1.0.0", "floor", "1.0.0/p.gz,1.0.0~oem.gz", ""],
        ["2.0.0", "floortarget", "2.0.0/p.gz,2.0.0~oem.gz", ""],
      ],
      leftOut: ["3.0.0", "4.0.0"].map((version) => ({ version, what: "release" })),
    });
  });

  it("is none where the first floor is alone on its server: a Nebraska takes a single manifest for no floor", () => {
    expect(expressed("https://a.example/1.0.0/", "https://b.example/2.0.0/")).toBeNull();
    expect(expressed("https://a.example/?f=", "https://a.example/?g=")).toBeNull();
    const floor = { package: aPackage({ version: "4100.0.0", urls: ["https://a.example/"] }), reason: null };
    const world = new World(aFleet([aGroup({ channel: aChannel({ floors: [floor] }) })]));
    const mirror = aCheckIn({ syncer: true, multiManifest: true, version: "766.0.0", ping: false, events: [] });
    expect(world.checkIn(mirror)).toMatchObject({ reason: "floors-need-one-codebase", offer: null });
    expect(world.checkIn({ ...mirror, version: "4100.0.0" })).toMatchObject({ reason: "mirror", offer: { urls: ["https://updates.example.org/4230.2.1/"] } }); // biome-ignore format: one line
  });
});
