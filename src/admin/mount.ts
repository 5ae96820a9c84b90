/** From declared operations to routes: who may, what came, what is answered. */
import type { Request, RequestHandler, Response, Router } from "express";
import { hasRole, type Principal } from "./auth/principal.ts";
import { type AdminContext, principalOf } from "./context.ts";
import { matches } from "./etag.ts";
import { jsonBody, sendJson } from "./json.ts";
import { findApplication } from "./lookups.ts";
import { Call, type Operation } from "./operation.ts";
import { onlyMethods, Problem, validated } from "./problem.ts";

/** Paths with fixed words go before those that take the same words for an id. */
export function mount(router: Router, context: AdminContext, operations: readonly Operation[]): void {
  const paths = [...new Set(operations.map(({ path }) => path))].sort(bySpecificity);
  for (const path of paths) {
    const here = operations.filter((operation) => operation.path === path);
    const route = router.route(path);
    for (const operation of here) {
      if (operation.streamed) route[operation.method](handler(context, operation));
      else route[operation.method](...json, handler(context, operation));
    }
    route.all(onlyMethods(...here.map(({ method }) => method.toUpperCase())));
  }
}

const json = jsonBody("1mb");

function bySpecificity(a: string, b: string): number {
  const [left, right] = [a.split("/"), b.split("/")];
  for (const [index, word] of left.entries()) {
    const other = right[index];
    if (other === undefined || word === other) continue;
    return Number(word.startsWith(":")) - Number(other.startsWith(":")) || (word < other ? -1 : 1);
  }
  return left.length - right.length;
}

function handler(context: AdminContext, operation: Operation): RequestHandler {
  return async (request, response) => {
    const who = principalOf(response);
    await authorize(context, operation, request, who);
    const given = {
      // Each of them is what the operation's own schemas say: `operation` tied their types to the handler's.
      params: request.params as never,
      query: (operation.query ? validated(operation.query, request.query) : {}) as never,
      body: bodyOf(operation, request) as never,
    };
    const call = new Call(context, operation, request, response, who, given);
    const answer = operation.streamed
      ? await patiently(context, request, () => operation.handle(call))
      : await operation.handle(call);
    if (operation.conditional && isKnown(request, response)) response.status(304).end();
    else send(response, operation, answer);
  };
}

/** A file takes as long as it takes, as long as something comes. */
async function patiently<T>(
  { uploading, uploadStallMs }: AdminContext,
  request: Request,
  work: () => Promise<T>,
): Promise<T> {
  if (!request.is("application/octet-stream")) {
    throw new Problem(415, "send the file as it is, as Content-Type: application/octet-stream");
  }
  const { socket } = request;
  uploading.add(socket);
  socket.setTimeout(uploadStallMs);
  // From then on it is we who take our time.
  request.once("end", () => socket.setTimeout(0));
  try {
    return await work();
  } finally {
    uploading.delete(socket);
  }
}

/** Source: RFC 9110, 13.1.2. `request.fresh` won't do: `fetch` asks for no cached answer when it is given the header. */
function isKnown({ headers }: Request, response: Response): boolean {
  const known = headers["if-none-match"];
  return known !== undefined && matches(known, String(response.getHeader("ETag")));
}

function bodyOf(operation: Operation, request: Request): unknown {
  if (operation.body === undefined) return undefined;
  const absent = request.body === undefined && operation.bodyOptional === true;
  return validated(operation.body, absent ? {} : request.body);
}

function send(response: Response, operation: Operation, answer: unknown): void {
  if (operation.answer === null) response.status(204).end();
  else sendJson(response.status(operation.status ?? 200), answer);
}

/** @throws Problem 403: what is asked for is not theirs to do. */
async function authorize(
  { store }: AdminContext,
  operation: Operation,
  request: Request,
  who: Principal,
): Promise<void> {
  const changes = operation.method !== "get" && operation.readsOnly !== true;
  if (!hasRole(who, operation.role)) {
    throw new Problem(
      403,
      `${operation.id} needs the role ${operation.role}; ${who.kind} "${who.name}" is ${who.role}`,
    );
  }
  const { applications, groups } = who.scope;
  const { confined = "path" } = operation;
  if ((applications === null && groups === null) || confined === "filters") return;
  const outside = (what: string) => new Problem(403, `${who.kind} "${who.name}" has no right to ${what}`);
  if (confined === "everywhere") throw outside("what concerns the whole server");

  // Route parameters without a wildcard are texts.
  const params = request.params as Readonly<Record<string, string>>;
  if (applications !== null) {
    const applicationId =
      confined === "path"
        ? (await findApplication(store.read, params.app ?? "")).id
        : (await confined(store.read, params)).applicationId;
    if (!applications.includes(applicationId)) throw outside("this application");
  }
  if (groups === null || !changes) return;
  if (confined !== "path" || params.group === undefined) throw outside("anything but its groups");
  if (!groups.includes(params.group.toLowerCase())) throw outside("this group");
}
