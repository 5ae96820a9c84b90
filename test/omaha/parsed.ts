import { type AppRequest, parseRequest } from "../../src/omaha/request.ts";

/** The apps of a request that must be taken. */
export function appsOf(text: string): readonly AppRequest[] {
  const parsed = parseRequest(Buffer.from(text));
  if (!parsed.ok) throw new Error(`refused: ${parsed.reason}`);
  return parsed.apps;
}

/** The only app of a request that must be taken. */
export function appOf(text: string): AppRequest {
  const [app, ...more] = appsOf(text);
  if (app === undefined || more.length > 0) throw new Error("not exactly one app");
  return app;
}

/** Why a request that must be refused is refused. */
export function reasonAgainst(body: string | Buffer, status = 400): string {
  const parsed = parseRequest(typeof body === "string" ? Buffer.from(body) : body);
  if (parsed.ok) throw new Error("it was taken");
  if (parsed.status !== status) throw new Error(`refused with ${parsed.status}: ${parsed.reason}`);
  return parsed.reason;
}

/** `<request protocol="3.0">…</request>` */
export function aRequest(inside = "", attributes = ""): string {
  return `<request protocol="3.0"${attributes}>${inside}</request>`;
}
