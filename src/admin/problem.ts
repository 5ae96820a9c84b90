/** Errors as RFC 9457 problem details, with a `message` beside them for clients of the older API. */
import type { ErrorRequestHandler, RequestHandler, Response } from "express";
import { z } from "zod";
import { endAfterBody } from "../early-answer.ts";
import { ForecastUnavailable } from "../forecast/forecaster.ts";
import { UploadRefused } from "../payloads/uploads.ts";
import { NotPossible } from "../rollout/run.ts";
import { RolloutMoved } from "../store/rollouts.ts";
import { StoreUnavailable } from "../store/store.ts";
import { sayWhatWouldBeRight } from "./schema-errors.ts";

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  412: "Precondition Failed",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
  507: "Insufficient Storage",
};

/** What an error is answered as. Source: RFC 9457. */
export const problemObject = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  message: z.string(),
});

export interface FieldError {
  /** Where in the body or query, e.g. `extra_files.0.hash`. */
  readonly path: string;
  readonly message: string;
}

/** Thrown anywhere in a request's handling; answered as it says. */
export class Problem extends Error {
  readonly status: number;
  readonly errors: readonly FieldError[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    detail: string,
    { errors = [], headers = {} }: { errors?: readonly FieldError[]; headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(detail);
    this.status = status;
    this.errors = errors;
    this.headers = headers;
  }
}

/** One field is wrong. */
export function invalid(path: string, message: string, status = 400): Problem {
  return new Problem(status, `${path}: ${message}`, { errors: [{ path, message }] });
}

export function notFound(what: string, id: string): Problem {
  return new Problem(404, `${what} not found: ${id}`);
}

/** A body of 1 MiB can be wrong in a hundred thousand places; nobody reads them all. */
const MAX_ERRORS = 100;

/** @throws Problem 400 that names every field that is wrong. */
export function validated<S extends z.ZodType>(schema: S, input: unknown): z.infer<S> {
  const parsed = schema.safeParse(input, { error: sayWhatWouldBeRight });
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.flatMap(toFieldErrors).slice(0, MAX_ERRORS);
  throw new Problem(
    400,
    errors.map(({ path, message }) => `${path}: ${message}`).join("; ") || "the input is invalid",
    { errors },
  );
}

function toFieldErrors(issue: z.core.$ZodIssue): FieldError[] {
  const path = issue.path.join(".");
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ path: path === "" ? key : `${path}.${key}`, message: "there is no such field" }));
  }
  return [{ path: path === "" ? "body" : path, message: issue.message }];
}

export const unknownPath: RequestHandler = (request) => {
  throw new Problem(404, `there is nothing at ${request.method} /api${request.path}`);
};

/** For a path whose other methods exist. */
export function onlyMethods(...methods: string[]): RequestHandler {
  return (request) => {
    throw new Problem(405, `${request.method} is not possible here; ${methods.join(", ")} is`, {
      headers: { Allow: methods.join(", ") },
    });
  };
}

export function problems(onFault: (error: unknown) => void): ErrorRequestHandler {
  return (error: unknown, _request, response, next) => {
    if (response.headersSent) return next(error);
    const problem = toProblem(error);
    if (problem.status === 500) onFault(error);
    answer(response, problem);
  };
}

function answer(response: Response, { status, message, errors, headers }: Problem): void {
  const text = JSON.stringify({
    type: "about:blank",
    title: TITLES[status] ?? "Error",
    status,
    detail: message,
    ...(errors.length > 0 ? { errors } : {}),
    message,
  });
  response.status(status).set(headers).type("application/problem+json");
  if (response.req.complete) {
    response.send(text);
    return;
  }
  response.set({ Connection: "close", "Content-Length": String(Buffer.byteLength(text)) });
  endAfterBody(response.req, response, text);
}

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof StoreUnavailable) return new Problem(503, error.message, { headers: { "Retry-After": "5" } });
  if (error instanceof ForecastUnavailable)
    return new Problem(503, error.message, { headers: { "Retry-After": "10" } });
  if (error instanceof UploadRefused) {
    const { status, message, received } = error;
    const headers = { ...(received !== null && { "Upload-Offset": String(received) }) };
    return new Problem(status, message, { headers: { ...headers, ...(status >= 500 && { "Retry-After": "60" }) } });
  }
  if (error instanceof NotPossible) return new Problem(409, error.message);
  if (error instanceof RolloutMoved) return new Problem(412, `${error.message}; read it again, and then decide`);
  // What express.json() and the router throw: they have a status of their own.
  const status = typeof error === "object" && error !== null && "status" in error ? Number(error.status) : 500;
  const kind = typeof error === "object" && error !== null && "type" in error ? String(error.type) : "";
  if (kind === "entity.too.large") return new Problem(413, "the body is larger than 1 MiB");
  if (status >= 400 && status < 500)
    return new Problem(status, error instanceof Error ? error.message : "the request can't be read");
  return new Problem(500, "the server made a mistake; nothing was changed");
}
