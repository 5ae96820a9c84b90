import { describe, expect, it } from "vitest";
import { moment } from "../../src/cli/moments.ts";
import { facts, printable, table } from "../../src/cli/terminal.ts";
import { freezeText, readFreeze, readWindow, windowText } from "../../src/cli/windows.ts";

describe("a table", () => {
  const head = ["GROUP", "NODES", "WHY"];
  const rows = [
    ["Stable (AMD64)", 1000, "the nodes of stage 1 of 3 have finished; it bakes"],
    ["Canary", 7, null],
  ];

  it("is as wide as it needs, numbers on the right", () => {
    expect(table(head, rows, 80)).toBe(
      "GROUP           NODES  WHY\n" +
        "Stable (AMD64)   1000  the nodes of stage 1 of 3 have finished; it bakes\n" +
        "Canary              7  -\n",
    );
    expect(table(head, [])).toBe("GROUP  NODES  WHY\n");
  });

  it("goes on in the next line where the terminal is too narrow, and leaves nothing out", () => {
    expect(table(head, rows, 44)).toBe(
      "GROUP           NODES  WHY\n" +
        "Stable (AMD64)   1000  the nodes of stage 1\n" +
        "                       of 3 have finished;\n" +
        "                       it bakes\n" +
        "Canary              7  -\n",
    );
    const id = "dd9b8bdde1cb9741c3693b782d8ed0a1";
    // An id stays whole as long as others can give.
    expect(table(["NODE", "GROUP"], [[id, "Stable (AMD64)"]], 42)).toBe(
      `NODE                              GROUP\n${id}  Stable\n${" ".repeat(34)}(AMD64)\n`,
    );
    const lines = table(["NODE", "STATUS"], [[id, "complete"]], 30).split("\n");
    expect(lines.every((line) => line.length <= 30)).toBe(true);
    expect(lines.slice(1).map((line) => line.slice(0, 20).trim()).join("")).toBe(id); // biome-ignore format: one line
  });

  it("breaks no number, and moves columns together where nothing else is left", () => {
    expect(table(["ROLLED BACK", "LOST"], [[1_234_567, 12]], 13)).toBe(" ROLLED  LOST\n   BACK\n1234567    12\n");
    expect(table(["ROLLED BACK", "LOST"], [[1_234_567, 12]], 9)).toBe(" ROLLED LOST\n   BACK\n1234567   12\n");
  });

  it("shows what would steer a terminal instead of doing it", () => {
    const evil = "web\u001b[2J\u0007\u009b1m\nnext\u202e";
    expect(printable(evil)).toBe("web�[2J��1m�next�");
    expect(table(["ALIAS"], [[evil]]).split("\n")).toHaveLength(3);
    expect(facts([["alias", evil]])).toBe("alias  web�[2J��1m�next�\n");
  });
});

it("windows and freezes are read as they are shown", () => {
  for (const text of [
    "22:00-04:00",
    "mon 22:00-04:00",
    "mon-thu 22:00-04:00",
    "sat,sun 00:00-23:59",
    "fri-mon 20:00-23:00",
    "sat,sun 20:00-24:00",
    "thu 23:00 + 1h30m",
    "22:00 + 1h",
    "fri 22:00 to mon 06:00",
  ])
    expect(windowText(readWindow(text))).toBe(text);
  for (const [text, window] of [
    ["Fri 22:00 to Mon 06:00", { from: "fri 22:00", to: "mon 06:00" }],
    ["Fri 22:00-Mon 06:00", { from: "fri 22:00", to: "mon 06:00" }],
    ["fri 22:00 - mon 06:00", { from: "fri 22:00", to: "mon 06:00" }],
    ["22:00 to 04:00", { from: "22:00", to: "04:00" }],
    ["Mon-Thu 22:00 - 04:00", { days: ["mon", "tue", "wed", "thu"], from: "22:00", to: "04:00" }],
    ["Thu  23:00+1h30m", { days: ["thu"], from: "23:00", length: "1h30m" }],
    ["sat,sun 23:30 + 60 minutes", { days: ["sat", "sun"], from: "23:30", length: "60 minutes" }],
  ] as const)
    expect(readWindow(text)).toEqual(window);
  expect(windowText({ from: "Thu 23:00", length: "1h30m" })).toBe("thu 23:00 + 1h30m");
  // What could be taken for nothing at all is shown as what it is.
  expect(windowText({ days: ["sat"], from: "00:00", to: "00:00" })).toBe("sat 00:00-24:00");
  expect(windowText({ from: "22:00", to: "22:00" })).toBe("22:00 + 24h");
  expect(windowText({ from: "Fri 22:00", to: "fri 22:00" })).toBe("fri 22:00 + 7d");
  for (const text of ["fri 22:00 to", "mon-wed 22:00 to fri 06:00", "22:00", "+ 1h"])
    expect(() => readWindow(text)).toThrow("Write days and times");
  expect(readWindow("MON,wed-fri 22:00-04:00").days).toEqual(["mon", "wed", "thu", "fri"]);
  for (const text of ["2026-12-20..2027-01-06", "2026-12-20T18:00..2027-01-06 the holidays, as always"])
    expect(freezeText(readFreeze(text))).toBe(text);
});

it("moments are a time from now, a time ago, or a date", () => {
  const now = Date.now();
  const off = (direction: "from now" | "ago", text: string) => Date.parse(moment(direction)(text)) - now;
  expect(off("from now", "90d") / 86_400_000).toBeCloseTo(90, 3);
  expect(off("ago", "2h") / 3_600_000).toBeCloseTo(-2, 3);
  expect(moment("ago")("2026-03-04T12:00:00Z")).toBe("2026-03-04T12:00:00.000Z");
  for (const text of ["soon", "", "999999999d"]) expect(() => moment("from now")(text)).toThrow("e.g. 90d");
});
