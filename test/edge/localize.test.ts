import { describe, expect, it } from "vitest";
import { localize } from "../../src/edge/localize.ts";
import type { FleetDocument } from "../../src/fleet/document.ts";

const APP = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";
const CHANNEL = "e06064ad-4414-4904-9a6e-fd465593d1b2";
const action = { sha256: "LIkAKVZY2EJFiwTmltiJZLFLA5xT/FodbjVgqkyF/y8=" };
const here = { fleet: { applications: [] }, previous: null, switchedOff: new Set<string>(), complete: new Set<string>(), wanted: new Set<string>() }; // biome-ignore format: one line

const aFleet = (changes: object): FleetDocument => ({
  applications: [
    {
      id: APP,
      name: "Flatcar",
      packages: [
        { version: "4230.2.1", arch: "amd64", url: "https://a/", filename: "a.gz", size: "12", flatcar_action: action, ...changes }, // biome-ignore format: one line
      ],
      channels: [{ id: CHANNEL, name: "new", arch: "amd64", package: "4230.2.1" }],
    },
  ],
});

describe("what a site takes from its central server", () => {
  it.each<[string, object, string | null]>([
    ["is whole", {}, "4230.2.1"],
    ["says its size as a number", { size: 12 }, "4230.2.1"],
    ["has no size", { size: "" }, null],
    ["has no action", { flatcar_action: undefined }, null],
    ["has no filename", { filename: null }, null],
    ["is of another kind", { type: "docker", filename: null, size: null, flatcar_action: undefined }, "4230.2.1"],
  ])("points a channel to a package that %s only if nodes could be offered it", (_, changes, version) => {
    const { fleet, held } = localize(aFleet(changes), here);
    expect(fleet.applications[0]?.channels?.[0]?.package).toBe(version);
    expect(fleet.applications[0]?.packages).toHaveLength(1);
    expect(held).toMatchObject(version === null ? [{ channel: "new", version: "4230.2.1", stays: null }] : []);
  });
});
