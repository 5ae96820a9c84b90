import { describe, expect, it } from "vitest";
import { outcomeOf, parseRule } from "../../src/virtual/behaviour.ts";
import { machineId } from "../../src/virtual/random.ts";

const ids = Array.from({ length: 10_000 }, (_, index) => machineId("behaviour", index));
const count = (rules: Parameters<typeof outcomeOf>[0], kind: string, oem = "azure", version = "2.0.0") =>
  ids.filter((id) => outcomeOf(rules, id, oem, version).kind === kind).length;

describe("what becomes of a node with a release", () => {
  it("follows the rules' shares", () => {
    const rules = [parseRule("20%:10", "fails"), parseRule("1%", "dies"), parseRule("5%", "falls-back")];
    expect(count(rules, "fails") / ids.length).toBeCloseTo(0.2, 1);
    expect(count(rules, "dies") / ids.length).toBeCloseTo(0.01, 2);
    expect(count(rules, "falls-back") / ids.length).toBeCloseTo(0.05, 1);
  });

  it("is the same every time, and another with another release", () => {
    const rules = [parseRule("50%:10", "fails")];
    const failing = (version: string) => ids.map((id) => outcomeOf(rules, id, "azure", version).kind).join();
    expect(failing("2.0.0")).toBe(failing("2.0.0"));
    expect(failing("2.0.0")).not.toBe(failing("3.0.0"));
  });

  it("is bad for all with 100 %, and for nobody with 0 %", () => {
    expect(count([parseRule("100%:9", "fails")], "fails")).toBe(ids.length);
    expect(count([parseRule("0%:9", "fails")], "fails")).toBe(0);
  });

  it("depends on OEM and version where the rule does", () => {
    const rules = [parseRule("100%:10@2.0.0,oem=vmware", "fails")];
    expect(count(rules, "fails", "vmware", "2.0.0")).toBe(ids.length);
    expect(count(rules, "fails", "azure", "2.0.0")).toBe(0);
    expect(count(rules, "fails", "vmware", "3.0.0")).toBe(0);
  });
});

describe("a rule", () => {
  it("is read from its text", () => {
    expect(parseRule("12.5%:5@4230.2.1+build,oem=azure", "fails")).toEqual({
      outcome: { kind: "fails", code: 5 },
      share: 0.125,
      version: "4230.2.1+build",
      oem: "azure",
    });
    expect(parseRule("1%", "dies")).toEqual({ outcome: { kind: "dies" }, share: 0.01, version: null, oem: null });
    expect(parseRule("1%,oem=", "dies")).toMatchObject({ oem: "" });
  });

  it.each(["20%", "20:10", "120%:10", "%:10", "20%:ten", "20%:10@", "20%:10,arch=arm"])(
    "that makes no sense is refused, with an example: %s",
    (text) => {
      expect(() => parseRule(text, "fails")).toThrow('e.g. "20%:10@4230.2.1,oem=azure"');
    },
  );

  it("has a code only for failures", () => {
    expect(() => parseRule("1%:10", "dies")).toThrow('e.g. "1%@4230.2.1,oem=azure"');
  });
});
