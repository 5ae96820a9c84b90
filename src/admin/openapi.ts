/** The OpenAPI 3.1 document, from the operations themselves. Source: spec.openapis.org/oas/v3.1.1. */
import { z } from "zod";
import type { Operation } from "./operation.ts";
import { problemObject } from "./problem.ts";

type Json = { [key: string]: unknown };

/** What each parameter of a path is. */
const PARAMETERS: Readonly<Record<string, string>> = {
  app: "The application's UUID or its product id",
  group: "The group's UUID",
  channel: "The channel's UUID",
  package: "The package's UUID",
  name: "The file's name, as its package has it",
  instance: "The node's machine id, as it sends it",
  rollout: "The rollout's UUID",
  token: "The token's UUID, or its name",
  webhook: "The webhook's UUID, or its name",
  delivery: "The delivery's UUID",
  session: "The session's UUID",
  site: "The site's name",
};

const TAGS: Readonly<Record<string, string>> = {
  applications: "What is updated",
  groups: "The nodes that share a policy",
  channels: "Named pointers to packages",
  floors: "Packages that no node may skip",
  packages: "One version for one architecture, with its files and hashes",
  payloads: "The files of packages, kept by this server",
  rollouts: "One package going out to one group, stage by stage",
  instances: "The nodes of a group, how they stand and how they came there",
  statistics: "Nodes by status and version, now and in time",
  fleet: "Applications, packages, channels, floors and groups as one document",
  activity: "What happened",
  notifications: "Who is told of what happens",
  sites: "Servers that get their configuration from this one, and where this one gets its own",
  access: "Who may do what",
  audit: "Who changed what",
  server: "The server itself",
};

export function openApiDocument(operations: readonly Operation[], version: string): Json {
  const schemas: Json = {};
  const paths: { [path: string]: Json } = {};
  for (const operation of operations) {
    const path = `/api${operation.path.replace(/:(\w+)/g, "{$1}")}`;
    paths[path] = { ...paths[path], [operation.method]: describe(operation, schemas) };
  }
  schemas.Problem = schemaOf(problemObject, "output", schemas);
  return {
    openapi: "3.1.0",
    info: {
      title: "Turnout",
      version,
      description:
        "The admin API of Turnout, the update server for Flatcar Container Linux fleets. Lists are paged with `page` and `perpage`, or with `after` and the last id. " +
        "Times are RFC 3339. Errors are RFC 9457 problem details. What is answered with an `ETag` can be changed with `If-Match`.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ token: [] }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
      schemas,
    },
  };
}

function describe(operation: Operation, schemas: Json): Json {
  const { id, tag, summary, description, role } = operation;
  return {
    operationId: id,
    tags: [tag],
    summary,
    description: [description, `Needs the role \`${role}\`.`].filter(Boolean).join(" "),
    parameters: [...pathParameters(operation), ...queryParameters(operation, schemas), ...headerParameters(operation)],
    ...(operation.streamed && {
      requestBody: { required: true, content: { "application/octet-stream": { schema: {} } } },
    }),
    ...(operation.body && {
      requestBody: {
        required: operation.bodyOptional !== true,
        content: { "application/json": { schema: schemaOf(operation.body, "input", schemas) } },
      },
    }),
    responses: {
      ...success(operation, schemas),
      "4XX": { ...PROBLEM, description: "The request is not possible; the problem says why, and what would be right" },
      "5XX": { ...PROBLEM, description: "The server can't do it now; nothing was changed" },
    },
  };
}

const PROBLEM = {
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
};

function success({ answer, status, conditional }: Operation, schemas: Json): Json {
  if (answer === null) return { 204: { description: "Done" } };
  const content = { "application/json": { schema: schemaOf(answer, "output", schemas) } };
  return {
    [status ?? 200]: { description: "Done", content },
    ...(conditional && { 304: { description: "It is as it was (`If-None-Match`)" } }),
  };
}

function pathParameters({ path }: Operation): Json[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = ""]) => ({
    name,
    in: "path",
    required: true,
    description: PARAMETERS[name],
    schema: { type: "string" },
  }));
}

function queryParameters({ query }: Operation, schemas: Json): Json[] {
  if (query === undefined) return [];
  const { properties = {}, required = [] } = schemaOf(query, "input", schemas) as {
    properties?: { [name: string]: Json };
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: "query",
    required: required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema,
  }));
}

function headerParameters({ headers = {} }: Operation): Json[] {
  return Object.entries(headers).map(([name, description]) => ({
    name,
    in: "header",
    required: false,
    description,
    schema: { type: "string" },
  }));
}

/** Schemas with a name go into `schemas`, and are referred to. */
function schemaOf(schema: z.ZodType, io: "input" | "output", schemas: Json): Json {
  const {
    $schema: _,
    $defs = {},
    ...own
  } = z.toJSONSchema(schema, {
    target: "draft-2020-12",
    io,
    unrepresentable: "any",
    reused: "inline",
    override: ({ zodSchema, jsonSchema }) => plainer(zodSchema, jsonSchema),
  }) as Json & { $defs?: Json };
  for (const [name, definition] of Object.entries($defs)) {
    const { id: __, ...rest } = relinked(definition) as Json;
    schemas[name] = rest;
  }
  const { id, ...rest } = relinked(own) as Json;
  if (typeof id !== "string") return rest;
  schemas[id] = rest;
  return { $ref: `#/components/schemas/${id}` };
}

/** What zod says more clumsily than a reader needs. */
function plainer(zodSchema: z.core.$ZodTypes, schema: Json): void {
  if (schema.format !== undefined) delete schema.pattern;
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  const { def } = zodSchema._zod;
  if (def.type === "default" && typeof def.defaultValue !== "object") schema.default = def.defaultValue;
  // Whole numbers in a query are texts on the way; what they mean is a number.
  if (schema.wholeNumber === undefined) return;
  const { wholeNumber, pattern: _, ...rest } = schema;
  for (const key of Object.keys(schema)) delete schema[key];
  Object.assign(schema, { ...rest, type: "integer" }, wholeNumber);
}

function relinked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(relinked);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) => [
    key,
    key === "$ref" && typeof inner === "string"
      ? inner.replace(/^#\/\$defs\//, "#/components/schemas/")
      : relinked(inner),
  ]);
  return Object.fromEntries(entries);
}
