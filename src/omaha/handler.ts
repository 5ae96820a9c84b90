/** The Express handler of the update path: read, parse, have it answered, render. */
import type { Request, RequestHandler, Response } from "express";
import { clientAddress } from "../address.ts";
import { endAfterBody } from "../early-answer.ts";
import { type AppRequest, MAX_BODY_BYTES, parseRequest, tooLarge } from "./request.ts";
import { type AppAnswer, renderResponse } from "./response.ts";

/** It can't be answered now, and nothing of it was stored: the client may come back. */
export class Unavailable extends Error {
  override readonly name = "Unavailable";
  readonly retryAfterSeconds: number;

  constructor(message: string, retryAfterSeconds: number) {
    super(message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export interface OmahaOptions {
  /**
   * Answers the apps of one request, in their order. When it resolves, all they said is on disk.
   * @throws Unavailable
   */
  readonly answer: (apps: readonly AppRequest[], ip: string) => Promise<readonly AppAnswer[]>;
  readonly now: () => number;
  readonly onRefused: (status: number, reason: string, ip: string) => void;
  readonly onFault: (error: unknown) => void;
}

export function omahaHandler(options: OmahaOptions): RequestHandler {
  return async (request, response) => {
    const ip = clientAddress(request);
    const refuse = (status: number, reason: string, headers: Record<string, string> = {}): void => {
      options.onRefused(status, reason, ip);
      sendLine(request, response, status, reason, headers);
    };
    if (request.method !== "POST") return refuse(405, "Omaha requests are sent with POST", { Allow: "POST" });
    const encoding = request.headers["content-encoding"] ?? "identity";
    if (encoding.toLowerCase() !== "identity") return refuse(415, "send the request without a content encoding");

    const body = await readBody(request);
    if (body === "aborted") return;
    const parsed = body === "too large" ? tooLarge() : parseRequest(body);
    if (!parsed.ok) return refuse(parsed.status, parsed.reason);
    try {
      const text = renderResponse(await options.answer(parsed.apps, ip), options.now());
      if (response.destroyed) return; // the client has gone; what it said is stored all the same
      response.writeHead(200, {
        "Content-Type": "text/xml; charset=utf-8",
        "Content-Length": Buffer.byteLength(text),
      });
      response.end(text);
    } catch (error) {
      if (error instanceof Unavailable) {
        return refuse(503, `not now: ${error.message}`, { "Retry-After": String(error.retryAfterSeconds) });
      }
      options.onFault(error);
      refuse(500, "the server made a mistake with this request; ask again later");
    }
  };
}

/** The body, unless it gets too large or the client goes away first. */
function readBody(request: Request): Promise<Buffer | "too large" | "aborted"> {
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) return Promise.resolve("too large");
  return new Promise((resolve) => {
    let chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MAX_BODY_BYTES) chunks.push(chunk);
      else {
        chunks = [];
        resolve("too large");
      }
    });
    request.on("end", () =>
      resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)),
    );
    request.on("error", () => resolve("aborted"));
    request.on("close", () => resolve("aborted"));
  });
}

function sendLine(
  request: Request,
  response: Response,
  status: number,
  line: string,
  headers: Record<string, string> = {},
): void {
  if (response.destroyed) return;
  const text = `${line.replace(/\s+/g, " ")}\n`;
  response.writeHead(status, {
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": Buffer.byteLength(text),
    ...headers,
    ...(request.complete ? {} : { Connection: "close" }),
  });
  if (request.complete) response.end(text);
  else endAfterBody(request, response, text);
}
