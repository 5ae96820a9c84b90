import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const SRC = resolve(import.meta.dirname, "../src");

/** Which folders of src/ may import a file of this one (besides the folder itself). DESIGN.md, "Who may import whom". */
const IMPORTERS: Readonly<Record<string, readonly string[]>> = {
  rollout: [
    "checkin",
    "store",
    "admin",
    "fleet",
    "forecast",
    "notify",
    "payloads",
    "mirror",
    "sync",
    "edge",
    "cli",
    "settings.ts",
  ],
  omaha: ["checkin", "sync", "main.ts"],
  checkin: ["main.ts"],
  store: ["checkin", "admin", "sync", "edge", "fleet", "notify", "payloads", "main.ts", "database.ts", "metrics.ts"],
  admin: ["main.ts", "edge"],
  fleet: ["main.ts", "cli", "admin", "forecast", "edge"],
  virtual: ["cli", "forecast"],
  forecast: ["main.ts", "admin", "cli"],
  notify: ["main.ts", "admin", "cli"],
  payloads: ["main.ts", "admin", "sync", "edge", "cli"],
  mirror: ["sync", "cli", "main.ts"],
  sync: ["main.ts", "admin", "edge", "cli"],
  edge: ["main.ts"],
  "audit-chain.ts": ["store", "cli"],
  "address.ts": ["omaha", "admin", "payloads", "server.ts", "networks.ts"],
  "networks.ts": ["checkin", "settings.ts"],
  "early-answer.ts": ["omaha", "admin"],
  "target.ts": ["notify", "sync", "admin", "cli"],
  "version.ts": ["main.ts", "cli"],
  "repeating.ts": ["checkin", "notify", "payloads", "sync", "edge"],
  "clock.ts": [
    "checkin",
    "admin",
    "fleet",
    "notify",
    "payloads",
    "sync",
    "edge",
    "main.ts",
    "database.ts",
    "metrics.ts",
  ],
  "settings.ts": ["main.ts", "database.ts"],
  // Its types: what it does is handed in, as the server is.
  "database.ts": ["cli"],
  "metrics.ts": ["main.ts", "server.ts"],
  "server.ts": ["main.ts"],
  cli: [],
  "main.ts": [],
};

/** The engine is pure: these are all it may use besides its own files. */
const ENGINE_LIBRARIES = ["semver", "luxon", "node:crypto"];

interface Import {
  readonly file: string;
  readonly specifier: string;
  /** Relative to src/, or null for a library. */
  readonly target: string | null;
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(join(SRC, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, specifier = ""]) => ({
    file,
    specifier,
    target: specifier.startsWith(".") ? relative(SRC, resolve(SRC, dirname(file), specifier)) : null,
  }));
});

const place = (path: string): string => path.split("/")[0] ?? path;

describe("the import rules", () => {
  it("find the sources", () => {
    expect(files.length).toBeGreaterThan(30);
    expect(imports.length).toBeGreaterThan(100);
  });

  it("let only the listed folders import each folder", () => {
    const broken = imports.filter(({ file, target }) => {
      if (target === null || place(target) === place(file)) return false;
      return !IMPORTERS[place(target)]?.includes(place(file));
    });
    expect(broken.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
  });

  it("keep the engine pure", () => {
    const broken = imports.filter(
      ({ file, specifier, target }) =>
        place(file) === "rollout" &&
        (target === null ? !ENGINE_LIBRARIES.includes(specifier) : place(target) !== "rollout"),
    );
    expect(broken.map(({ file, specifier }) => `${file} imports ${specifier}`)).toEqual([]);
    for (const file of files.filter((name) => place(name) === "rollout")) {
      expect(readFileSync(join(SRC, file), "utf8"), file).not.toMatch(
        /Date\.now|Math\.random|new Date\(\)|performance\.now/,
      );
    }
  });

  it("allow no circles", () => {
    const edges = new Map<string, string[]>();
    for (const { file, target } of imports) if (target !== null) edges.set(file, [...(edges.get(file) ?? []), target]);
    const circles: string[] = [];
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" → "));
      if (done.has(file) || path.includes(file)) return;
      for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(circles).toEqual([]);
  });

  it("have one place that asks whom a request comes from: what Express answers may be any text that a proxy has written", () => {
    const asking = files.filter((file) => /\brequest\.ips?\b/.test(readFileSync(join(SRC, file), "utf8")));
    expect(asking).toEqual(["address.ts"]);
  });

  it("know no utils, helpers or barrels", () => {
    expect(files.filter((file) => /(^|\/)(utils?|helpers?|common|misc|shared|index)(\.ts|\/)/.test(file))).toEqual([]);
  });
});
