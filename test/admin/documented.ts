/** Calls operations by the name they have in the served OpenAPI document, and holds request and answer against it. */
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { expect } from "vitest";

interface Described {
  readonly operationId: string;
  readonly description: string;
  readonly parameters: readonly {
    readonly name: string;
    readonly in: string;
    readonly required: boolean;
    readonly schema: object;
  }[];
  readonly requestBody?: { readonly required: boolean; readonly content: Contents };
  readonly responses: Readonly<Record<string, { readonly content?: Contents }>>;
}
type Contents = Readonly<Record<string, { readonly schema: object }>>;

export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
  readonly components: { readonly schemas: object };
}

export interface Located extends Described {
  readonly method: string;
  readonly path: string;
}

export interface Given {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number>>;
  readonly body?: unknown;
  readonly token?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test knows what it asked for
  readonly body: any;
}

function typeOf(body: unknown): string {
  return body instanceof Uint8Array ? "application/octet-stream" : "application/json";
}

export class Documented {
  readonly operations: ReadonlyMap<string, Located>;
  /** Operations that have been answered with success. */
  readonly succeeded = new Set<string>();
  readonly #url: string;
  readonly #token: string;
  readonly #ajv: Ajv2020;

  private constructor(url: string, token: string, document: Document) {
    this.#url = url;
    this.#token = token;
    this.#ajv = new Ajv2020({ strict: false, allErrors: true });
    formats.default(this.#ajv);
    this.#ajv.addSchema({ $id: "turnout", components: document.components });
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(
        ([method, described]) => [described.operationId, { ...described, method, path }] as const,
      ),
    );
    this.operations = new Map(operations);
    expect(this.operations.size, "each operation has a name of its own").toBe(operations.length);
  }

  static async of(url: string, token: string): Promise<Documented> {
    const response = await fetch(`${url}/api/openapi.json`);
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text).not.toMatch(/NaN|undefined\b(?!")/);
    return new Documented(url, token, JSON.parse(text) as Document);
  }

  /** A call that is as documented and succeeds; answers its body. */
  async call(id: string, given: Given = {}): Promise<Answered> {
    const operation = this.find(id);
    this.#checkRequest(operation, given);
    const answer = await this.send(id, given);
    expect(answer.status, `${id}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
    this.succeeded.add(id);
    return answer;
  }

  /** Any call; only its answer is held against the document. */
  async send(
    id: string,
    { params = {}, query = {}, body, token = this.#token, headers = {} }: Given = {},
  ): Promise<Answered> {
    const operation = this.find(id);
    const path = operation.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(params[name] ?? `no-${name}`));
    const search = new URLSearchParams(
      Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
    );
    const response = await fetch(`${this.#url}${path}${search.size > 0 ? `?${search}` : ""}`, {
      method: operation.method.toUpperCase(),
      headers: {
        ...(body === undefined ? {} : { "Content-Type": typeOf(body) }),
        ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: body instanceof Uint8Array ? new Uint8Array(body) : JSON.stringify(body) }),
    });
    const text = await response.text();
    const type = (response.headers.get("content-type") ?? "").split(";")[0] ?? "";
    const described = operation.responses[response.status] ?? operation.responses[`${String(response.status)[0]}XX`];
    expect(described, `${id} answers ${response.status}, which is not documented`).toBeDefined();
    const schema = described?.content?.[type]?.schema;
    if (described?.content === undefined) expect(text, `${id} answers nothing`).toBe("");
    else {
      expect(schema, `${id} answers ${type}, which is not documented`).toBeDefined();
      this.#check(schema ?? {}, JSON.parse(text), `${id}: its answer`);
    }
    return { status: response.status, headers: response.headers, body: text === "" ? null : JSON.parse(text) };
  }

  find(id: string): Located {
    const operation = this.operations.get(id);
    if (operation === undefined) throw new Error(`the document has no operation ${id}`);
    return operation;
  }

  #checkRequest(operation: Located, { params = {}, query = {}, body }: Given): void {
    const names = (where: string) => operation.parameters.filter((one) => one.in === where);
    expect(Object.keys(params).sort(), operation.operationId).toEqual(
      names("path")
        .map(({ name }) => name)
        .sort(),
    );
    for (const [name, value] of Object.entries(query)) {
      const parameter = names("query").find((one) => one.name === name);
      expect(parameter, `${operation.operationId} has no parameter ${name}`).toBeDefined();
      this.#check(parameter?.schema ?? {}, value, `${operation.operationId}: ${name}`);
    }
    const { requestBody } = operation;
    if (body === undefined) expect(requestBody?.required ?? false, operation.operationId).toBe(false);
    else
      this.#check(
        requestBody?.content[typeOf(body)]?.schema ?? { not: {} },
        body,
        `${operation.operationId}: its body`,
      );
  }

  #check(schema: object, value: unknown, what: string): void {
    const linked = JSON.parse(JSON.stringify(schema).replaceAll('"#/components/', '"turnout#/components/'));
    const validate = this.#ajv.compile(linked);
    const ok = validate(value);
    expect(ok ? [] : validate.errors, `${what} ${JSON.stringify(value)?.slice(0, 2000)}`).toEqual([]);
  }
}
