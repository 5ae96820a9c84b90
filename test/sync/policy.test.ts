import { describe, expect, it } from "vitest";
import { choose, type Situation } from "../../src/sync/policy.ts";

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 2, 4, 12);

const situation = (
  changes: Partial<Situation> & { kind?: "follow" | "import-only"; pins?: object } = {},
): Situation => ({
  order: "semver",
  current: "4081.2.0",
  movedTo: null,
  target: "4230.2.1",
  here: [{ version: "4230.2.1", firstSeenAt: NOW - DAY }],
  now: NOW,
  policy: { kind: changes.kind ?? "follow", versions: [], upTo: null, minAgeMs: 0, ...changes.pins },
  ...changes,
});
const chosen = (changes: Parameters<typeof situation>[0] = {}) => choose(situation(changes));

describe("the channel is moved", () => {
  it("to what upstream leads to", () => expect(chosen()).toEqual({ version: "4230.2.1", heldBack: null, until: null }));
  it("when it had nothing", () => expect(chosen({ current: null }).version).toBe("4230.2.1"));
  it("to the newest that is old enough, while a newer one is not", () => {
    const choice = chosen({
      pins: { minAgeMs: 3 * DAY },
      here: [
        { version: "4152.2.0", firstSeenAt: NOW - 4 * DAY },
        { version: "4230.2.1", firstSeenAt: NOW - DAY },
      ],
    });
    expect(choice).toMatchObject({ version: "4152.2.0", until: NOW + 2 * DAY });
    expect(choice.heldBack).toBe("4230.2.1 is too young; the channel is moved to it at 2026-03-06T12:00:00.000Z");
  });
  it("to a former target that the pins allow", () => {
    const here = ["4152.2.0", "4230.2.1"].map((version) => ({ version, firstSeenAt: NOW - DAY }));
    expect(chosen({ here, pins: { upTo: "4200.0.0" } })).toMatchObject({
      version: "4152.2.0",
      heldBack: "4230.2.1 is beyond 4200.0.0, the pinned one",
    });
  });
});

describe("the channel stays where it is", () => {
  it("when nothing newer is offered", () =>
    expect(chosen({ target: null })).toMatchObject({ version: null, heldBack: null }));
  it("when upstream has taken back what it led to, though it is here", () =>
    expect(chosen({ target: "4152.2.0" })).toMatchObject({ version: null }));
  it("when upstream goes back", () =>
    expect(chosen({ current: "4593.2.5" })).toMatchObject({
      version: null,
      heldBack: "upstream goes back to 4230.2.1; a channel that has 4593.2.5 is never moved down by itself",
    }));
  it("when upstream leads to what counts as the same", () => {
    const [current, target] = ["4845.0.0+nightly-20261006-2100", "4845.0.0+nightly-20261007-2100"];
    const nightly = { current, target, here: [{ version: target, firstSeenAt: NOW - DAY }] };
    expect(chosen(nightly)).toMatchObject({
      version: null,
      heldBack: expect.stringContaining(`upstream leads to ${target}, which counts as the same version as ${current}`),
    });
    expect(chosen({ ...nightly, order: "semver-build" })).toMatchObject({ version: target, heldBack: null });
  });
  it("when a person moves it", () =>
    expect(chosen({ kind: "import-only" })).toMatchObject({
      version: null,
      heldBack: "4230.2.1 is here; by the policy, a person moves the channel",
    }));
  it("when a person has moved it back since", () => {
    const { version, heldBack } = chosen({ movedTo: "4230.2.1" });
    expect([version, heldBack]).toEqual([
      null,
      expect.stringMatching(/^the channel had 4230.2.1 from here, and somebody/),
    ]);
  });
  it("when another version is pinned", () =>
    expect(chosen({ pins: { versions: ["4152.2.0"] } })).toMatchObject({
      version: null,
      heldBack: "4230.2.1 is none of the pinned versions (4152.2.0)",
    }));
  it("until the release is old enough", () =>
    expect(chosen({ pins: { minAgeMs: 3 * DAY } })).toMatchObject({ version: null, until: NOW + 2 * DAY }));
});
