/** What nobody should send, at every operation of the served document: refused with a problem, and nothing is changed. */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import Database from "better-sqlite3";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { aTurnout, checks, FLATCAR, NODE_ID, STABLE_CHANNEL, STABLE_GROUP, type TestTurnout } from "../e2e/turnout.ts";
import { groupBody, NOWHERE, packageBody } from "./api.ts";
import { type Document, Documented, type Located } from "./documented.ts";

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

let turnout: TestTurnout;
let operations: readonly Located[];
/** What stands in a path for what is really there. */
let params: Readonly<Record<string, string>>;
/** For each operation that takes a body, one that it would take. */
const bodies = new Map<string, Json>();
let database: Database.Database;
const ajv = new Ajv2020({ strict: false });
formats.default(ajv);

beforeAll(async () => {
  turnout = await aTurnout();
  const file = { name: "oem-azure.gz", size: "12", hash256: "df".repeat(32) };
  const release = await turnout.release("4230.2.1", { extra_files: [file] });
  await turnout.api("PUT", `/channels/${STABLE_CHANNEL}/floors/${release}`, { floor_reason: "the bootloader" });
  await turnout.omaha(checks({ version: "4081.2.0" }));
  const { rollouts } = await turnout.api<{ rollouts: { id: string }[] }>(
    "GET",
    `/apps/${FLATCAR}/groups/${STABLE_GROUP}/rollouts`,
  );
  const token = await turnout.api<{ id: string }>("POST", "/tokens", { name: "ci", role: "viewer" });
  params = {
    app: FLATCAR,
    group: STABLE_GROUP,
    channel: STABLE_CHANNEL,
    package: release,
    instance: NODE_ID,
    rollout: rollouts[0]?.id ?? "",
    token: token.id,
  };
  const all = [...(await Documented.of(turnout.url, "")).operations.values()];
  // Sites need a token, and bodies of theirs are tried in test/edge/.
  operations = all.filter(({ description }) => !description.includes("the role `site`"));
  const { components } = (await (await fetch(`${turnout.url}/api/openapi.json`)).json()) as Document;
  ajv.addSchema({ $id: "turnout", components });
  await findBodies();
  database = new Database(join(turnout.dataDir, "turnout.db"), { readonly: true });
});
afterAll(async () => {
  database.close();
  await turnout.close();
});

let before: string;
beforeEach(() => {
  before = everything();
});
afterEach(async () => {
  expect(everything(), "nothing was changed").toBe(before);
  expect(await (await fetch(`${turnout.url}/health`)).text()).toBe("OK");
});

/** Every row of every table. */
function everything(): string {
  const tables = database
    .prepare<[], { name: string }>("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    .all();
  return JSON.stringify(tables.map(({ name }) => [name, database.prepare(`SELECT * FROM "${name}"`).all()]));
}

const KNOWN: Readonly<Record<string, Json>> = {
  createApplication: { name: "Lab", product_id: "io.example.lab" },
  createGroup: groupBody({ channel_id: STABLE_CHANNEL, track: "lab", strategy: { preset: "careful" } }) as Json,
  createChannel: { name: "canary", color: "#ffcc00", arch: 1, application_id: FLATCAR },
  createPackage: packageBody("5000.0.0", { extra_files: [{ name: "a.gz", size: "1" }] }) as Json,
  setFloor: { floor_reason: "the disk's layout" },
  updateRollout: { stages: [{ percent: 50, bake: "1h" }, { percent: 100 }], revision: 1, reason: "slower" },
  changeInstances: { action: "hold", reason: "a try", filter: { state: ["failed"] } },
  beginMirrorImport: {
    created_ts: "2026-03-04T12:00:00.000Z",
    sha256: "5e".repeat(32),
    signed_by: "c1".repeat(32),
  },
  createUpstream: {
    kind: "plain",
    url: "https://files.example.org/flatcar/",
    track: "stable",
    channel_id: STABLE_CHANNEL,
    policy: "off",
  },
  createToken: { name: "other", role: "viewer", applications: [FLATCAR] },
};

/** What an object's own path answers can be sent back to it; what else is taken is made up from the document. */
async function findBodies(): Promise<void> {
  for (const operation of operations) {
    if (operation.requestBody?.content["application/json"] === undefined) continue;
    const { operationId: id } = operation;
    const shown = operation.method === "put" ? await fetch(urlOf(operation)) : null;
    if (KNOWN[id] !== undefined) bodies.set(id, KNOWN[id]);
    else if (shown?.ok) bodies.set(id, (await shown.json()) as Json);
    else bodies.set(id, sample(schemaOf(operation)));
  }
  expect(bodies.size).toBeGreaterThan(15);
  expect(sending().filter((operation) => !isAllowed(operation, bodyOf(operation)))).toEqual([]);
}

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly Json[];
  readonly minimum?: number;
  readonly minLength?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly const?: Json;
}

function schemaOf(operation: Located): Schema {
  const schema = operation.requestBody?.content["application/json"]?.schema ?? {};
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/components/', '"turnout#/components/'));
}

const SAMPLES: Readonly<Record<string, string>> = {
  "date-time": "2099-01-01T00:00:00Z",
  uuid: NOWHERE,
  uri: "https://example.org/",
};

function sample(schema: Schema): Json {
  const [first] = schema.anyOf ?? schema.oneOf ?? [];
  if (first !== undefined) return sample(first);
  if (schema.const !== undefined) return schema.const;
  if (schema.enum?.[0] !== undefined) return schema.enum[0];
  switch (schema.type) {
    case "object":
      return Object.fromEntries((schema.required ?? []).map((name) => [name, sample(schema.properties?.[name] ?? {})]));
    case "array":
      return [];
    case "string":
      return SAMPLES[schema.format ?? ""] ?? "x".repeat(schema.minLength ?? 1);
    case "boolean":
      return true;
    default:
      return schema.minimum ?? 1;
  }
}

function urlOf({ path }: Located, changes: Readonly<Record<string, string>> = {}): string {
  const segments = path.replace(/\{(\w+)\}/g, (_, name) => changes[name] ?? params[name] ?? `no-${name}`);
  return `${turnout.url}${segments}`;
}

interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

/** @returns the problem; whatever else is answered fails the test. */
async function refused(operation: Located, url: string, { headers, body }: Sent, why: string) {
  const json = body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await fetch(url, {
    method: operation.method.toUpperCase(),
    headers: { ...json, ...headers },
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  const what = `${operation.operationId}, ${why}: ${response.status} ${text.slice(0, 500)}`;
  expect(response.status, what).toBeGreaterThanOrEqual(400);
  expect(response.status, what).toBeLessThan(500);
  expect(response.headers.get("content-type"), what).toContain("application/problem+json");
  const problem = JSON.parse(text);
  expect(problem, what).toMatchObject({ type: "about:blank", status: response.status, message: problem.detail });
  expect(problem.detail, what).toMatch(/\S{2}/);
  return problem as { status: number; detail: string; errors?: { path: string; message: string }[] };
}

const sending = () => operations.filter(({ operationId }) => bodies.has(operationId));
const bodyOf = ({ operationId }: Located) => bodies.get(operationId) ?? null;

/** Nothing about its body is wrong. */
const asTaken = (operation: Located): Sent =>
  bodies.has(operation.operationId) ? { body: JSON.stringify(bodyOf(operation)) } : {};

/** At once: a server has to bear that, too. */
const all = <T>(items: readonly T[], work: (item: T) => Promise<unknown>) => Promise.all(items.map(work));

/** Whether the served document allows such a body. */
const validators = new Map<string, (body: unknown) => unknown>();
function isAllowed(operation: Located, body: Json): boolean {
  const known = validators.get(operation.operationId) ?? ajv.compile(schemaOf(operation));
  validators.set(operation.operationId, known);
  return known(body) === true;
}

/** Every place in a value, outermost first. */
function* placesIn(value: Json, path: readonly string[] = []): Generator<readonly string[]> {
  if (path.length > 0) yield path;
  if (typeof value !== "object" || value === null) return;
  for (const [name, inner] of Object.entries(value)) yield* placesIn(inner, [...path, name]);
}

function replaced(value: Json, [name, ...rest]: readonly string[], by: Json): Json {
  if (name === undefined) return by;
  const copy = structuredClone(value);
  const inner = (Array.isArray(copy) ? copy[Number(name)] : (copy as { [name: string]: Json })[name]) ?? null;
  Object.assign(copy ?? {}, { [name]: replaced(inner, rest, by) });
  return copy;
}

const WRONG: readonly Json[] = [null, true, -1, 0.5, 1e308, 2 ** 53, "", "x".repeat(20_000), [], [[]], {}, { a: 1 }];

describe("bodies", () => {
  it("of a type that the document does not allow are refused, and the field is named", async () => {
    let sent = 0;
    for (const operation of sending()) {
      const schema = schemaOf(operation);
      for (const name of Object.keys(schema.properties ?? {})) {
        const wrong = WRONG.map((value) => ({ ...(bodyOf(operation) as { [name: string]: Json }), [name]: value }));
        await all(
          wrong.filter((body) => !isAllowed(operation, body)),
          async (body) => {
            sent += 1;
            const text = JSON.stringify(body);
            const why = `${name}: ${text.slice(0, 200)}`;
            const { status, errors = [] } = await refused(operation, urlOf(operation), { body: text }, why);
            expect(status).toBe(400);
            expect(
              errors.map(({ path }) => path.split(".")[0]),
              operation.operationId,
            ).toContain(name);
          },
        );
      }
      for (const body of [null, true, 7, "x", [], [{}]] as const) {
        await refused(
          operation,
          urlOf(operation),
          { body: JSON.stringify(body) },
          `the whole is ${JSON.stringify(body)}`,
        );
      }
    }
    expect(sent).toBeGreaterThan(500);
  });

  it("that are changed somewhere inside are refused when the document does not allow them", async () => {
    const value = fc.oneof(fc.constantFrom(...WRONG), fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>);
    const choice = fc.constantFrom(...sending()).chain((operation) => {
      const places = [...placesIn(bodyOf(operation))];
      const place = places.length === 0 ? fc.constant<readonly string[]>([]) : fc.constantFrom(...places);
      return fc.tuple(fc.constant(operation), place, value);
    });
    await fc.assert(
      fc.asyncProperty(choice, async ([operation, place, by]) => {
        const body = replaced(bodyOf(operation), place, by);
        fc.pre(!isAllowed(operation, body));
        await refused(operation, urlOf(operation), { body: JSON.stringify(body) }, `${place.join(".")} changed`);
      }),
      { numRuns: 400 },
    );
  });

  it("with fields that nobody knows are refused, whatever these are called", async () => {
    for (const operation of sending()) {
      const inside = JSON.stringify(bodyOf(operation)).slice(1, -1);
      for (const name of ["nonsense", "__proto__", "constructor", "prototype", "toString", "Name ", "🛤️"]) {
        const body = `{${[inside, `${JSON.stringify(name)}:{"isAdmin":true}`].filter(Boolean).join(",")}}`;
        const { status, errors } = await refused(operation, urlOf(operation), { body }, name);
        expect(status).toBe(400);
        expect(errors, operation.operationId).toContainEqual({ path: name, message: "there is no such field" });
      }
    }
    expect({}).not.toHaveProperty("isAdmin");
  });

  it("that can't be read, or say something twice, or what can't be kept, are refused", async () => {
    const deep = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
    for (const [index, operation] of sending().entries()) {
      const inside = JSON.stringify(bodyOf(operation)).slice(1, -1);
      const also = (more: string) => `{${[inside, more].filter(Boolean).join(",")}}`;
      const texts: Record<string, string | Buffer> = {
        "not closed": "{",
        "two at once": "{}{}",
        "a comment": "{/**/}",
        NaN: '{"id":NaN}',
        "bare words": "name=x&id=1",
        "a name twice": also('"id":1,"id":1'),
        "a name twice, written differently": also('"id":1,"\\u0069d":1'),
        "a name twice, inside": also('"id":[{"a":1},{"b":{"c":1,"d":2,"c":3}}]'),
        "a NUL": also('"id":"x\\u0000"'),
        "half a pair": also('"id":["\\ud83d"]'),
        "half a pair in a name": also('"\\udca9":1'),
        "bytes that are no UTF-8": Buffer.concat([
          Buffer.from('{"id":"'),
          Buffer.from([0xff, 0xfe]),
          Buffer.from('"}'),
        ]),
        "an overlong slash": Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]),
        "UTF-16": Buffer.from('{"id":1}', "utf16le"),
        "deep lists": also(`"id":${deep(101)}`),
      };
      // Large ones take their time.
      if (index % 5 === 0) {
        texts["very deep lists"] = also(`"id":${deep(400_000)}`);
        texts["very deep objects"] = also(`"id":${'{"a":'.repeat(150_000)}1${"}".repeat(150_000)}`);
        texts["an unended depth"] = '{"a":'.repeat(150_000);
      }
      if (operation.requestBody?.required === true) texts.nothing = "";
      for (const [why, body] of Object.entries(texts)) {
        const problem = await refused(operation, urlOf(operation), { body }, why);
        expect(problem.status, why).toBe(400);
      }
    }
  });

  it("that are too large, packed or of another kind are refused", async () => {
    const bomb = gzipSync(Buffer.alloc(50 << 20, " "));
    expect(bomb.length).toBeLessThan(100_000);
    const plain = { "Content-Type": "text/plain" };
    for (const operation of sending()) {
      const body = JSON.stringify(bodyOf(operation));
      const tooLarge = body.padEnd((1 << 20) + 1);
      const cases: [number, Sent][] = [
        [413, { body: tooLarge }],
        [413, { body: bomb, headers: { "Content-Encoding": "gzip" } }],
        [400, { body, headers: { "Content-Encoding": "gzip" } }],
        [400, { body, headers: { "Content-Encoding": "br" } }],
        [400, { body: gzipSync(body).subarray(0, -5), headers: { "Content-Encoding": "gzip" } }],
        [415, { body, headers: { "Content-Encoding": "compress" } }],
        [415, { body, headers: { "Content-Encoding": "gzip, gzip" } }],
        [415, { body, headers: plain }],
        [415, { body, headers: { "Content-Type": "application/x-www-form-urlencoded" } }],
        [415, { body, headers: { "Content-Type": "multipart/form-data; boundary=x" } }],
        [415, { body, headers: { "Content-Type": "application/json; charset=utf-16" } }],
        [415, { body, headers: { "Content-Type": "application/json; charset=iso-8859-1" } }],
      ];
      for (const [status, sent] of cases) {
        const why = `${JSON.stringify(sent.headers)} ${sent.body?.length}`;
        expect((await refused(operation, urlOf(operation), sent, why)).status, why).toBe(status);
      }
    }
    for (const operation of operations.filter(({ method }) => method === "delete")) {
      await refused(operation, urlOf(operation), { body: "x", headers: plain }, "a body that is not asked for");
    }
  });

  it("of exactly 1 MiB, packed or not, are read", async () => {
    const [operation] = sending().filter(({ operationId }) => operationId === "createApplication");
    if (operation === undefined) throw new Error("there is no such operation");
    const body = '{"name":7}'.padEnd(1 << 20);
    for (const sent of [{ body }, { body: gzipSync(body), headers: { "Content-Encoding": "gzip" } }]) {
      expect((await refused(operation, urlOf(operation), sent, "as large as it may be")).detail).toBe(
        "name: must be a text",
      );
    }
  });
});

describe("URLs", () => {
  it("that name nothing that is there are refused", async () => {
    const names = [
      ...[
        "__proto__",
        "constructor",
        "*",
        "..%2f..%2fetc",
        "x".repeat(4_000),
        "%27%20OR%201=1--",
        "%F0%9F%92%A9",
        NOWHERE,
      ],
      ...["%00", `${NOWHERE}%00`, "%FF", "%ED%A0%80", "%", "%zz", "%C0%AF"],
    ];
    for (const operation of operations) {
      for (const [, name = ""] of operation.path.matchAll(/\{(\w+)\}/g)) {
        // A mirror makes up its UUID itself: any is taken.
        await all(name === "mirror" ? names.filter((one) => one !== NOWHERE) : names, (value) =>
          refused(
            operation,
            urlOf(operation, { [name]: value }),
            asTaken(operation),
            `${name} is ${value.slice(0, 50)}`,
          ),
        );
      }
    }
  });

  it("with a query that the document does not allow are refused", async () => {
    const texts = [
      "abc",
      "-1",
      "1e3",
      "1.5",
      "9".repeat(30),
      "0x10",
      "%20",
      "",
      "%D9%A1",
      "NaN",
      "true",
      "{}",
      "x".repeat(4_000),
    ];
    const unreadable = ["%00", "%FF", "%", "%ED%A0%80"];
    for (const operation of operations) {
      for (const { name, schema, in: where } of operation.parameters) {
        if (where !== "query") continue;
        const url = `${urlOf(operation)}?${name}=`;
        const allows = ajv.compile(schema);
        const wrong = texts.filter((text) => {
          const said = decodeURIComponent(text);
          return !allows(said) && !(said !== "" && allows(Number(said)));
        });
        await all([...wrong, ...unreadable], (text) =>
          refused(operation, url + text, asTaken(operation), `${name}=${text.slice(0, 50)}`),
        );
        if (!allows([])) await refused(operation, `${url}1&${name}=2`, asTaken(operation), `${name}, twice`);
      }
    }
  });
});

describe("changes of what has changed meanwhile", () => {
  it("are refused with 412, whatever else is right with them", async () => {
    const tagged = operations.filter(({ path, method }) => {
      const shown = operations.find((one) => one.method === "get" && one.path === path);
      return shown !== undefined && ["put", "delete"].includes(method) && path.startsWith("/api/apps");
    });
    let checked = 0;
    for (const operation of tagged) {
      if ((await fetch(urlOf(operation))).headers.get("etag") === null) continue;
      const headers = { "If-Match": '"of-another-time"' };
      expect((await refused(operation, urlOf(operation), { ...asTaken(operation), headers }, "If-Match")).status).toBe(
        412,
      );
      checked += 1;
    }
    expect(checked).toBeGreaterThanOrEqual(8);
  });
});
