/** The HTTP server: who is mounted where. */
import { timingSafeEqual } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { Duplex } from "node:stream";
import express, { type Express, type RequestHandler } from "express";
import helmet from "helmet";
import { trustProxies } from "./address.ts";
import type { Metrics } from "./metrics.ts";

export interface ServerParts {
  readonly omaha: RequestHandler;
  readonly admin: RequestHandler;
  readonly payloads: RequestHandler;
  /** `/config`, and the login's pages. */
  readonly access: RequestHandler;
  readonly metrics: Metrics;
  readonly omahaSecret: string | null;
  readonly trustProxy: string | number | null;
}

/** How long a client may take. A slow one keeps nobody waiting, but it keeps a socket. */
export interface ServerTimeouts {
  /** To send its request. */
  readonly headersMs: number;
  readonly requestMs: number;
  /** Between any two parts of a file that it brings. */
  readonly uploadStallMs: number;
  /** Between any two parts of a file that it takes: update_engine itself gives up after 90 seconds. */
  readonly downloadStallMs: number;
}
export const DEFAULT_TIMEOUTS: ServerTimeouts = {
  headersMs: 10_000,
  requestMs: 20_000,
  uploadStallMs: 60_000,
  downloadStallMs: 120_000,
};

export function createApp(parts: ServerParts): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  if (parts.trustProxy !== null) trustProxies(app, parts.trustProxy);

  app.use(singleSlashes);
  // Nodes first: theirs is nearly all of the traffic.
  if (parts.omahaSecret === null) app.all("/v1/update", parts.omaha);
  else app.all("/v1/update/:secret", behindSecret(parts.omahaSecret, parts.omaha));

  app.use("/payloads", parts.payloads);

  app.get("/health", (_request, response) => {
    response.type("text/plain").send("OK");
  });
  app.get("/metrics", async (_request, response) => {
    response.setHeader("Content-Type", parts.metrics.registry.contentType);
    response.end(await parts.metrics.registry.metrics());
  });
  // On plain http a browser must not be sent to https for a page's scripts.
  app.use(helmet({ contentSecurityPolicy: { directives: { "upgrade-insecure-requests": null } } }));
  app.use("/api", parts.admin);
  app.use(parts.access);
  app.use((_request, response) => {
    response
      .status(404)
      .type("text/plain")
      .send("There is nothing here. Nodes ask at /v1/update/, the API is at /api.\n");
  });
  return app;
}

/** @param uploading connections that bring a file now: these are let be as long as something comes. */
export function createHttpServer(app: Express, uploading: WeakSet<Duplex>, timeouts: ServerTimeouts): Server {
  const server = createServer(
    {
      headersTimeout: timeouts.headersMs,
      requestTimeout: timeouts.requestMs,
      connectionsCheckingInterval: Math.min(2_000, timeouts.headersMs / 2),
      keepAliveTimeout: 30_000,
    },
    app,
  );
  server.maxRequestsPerSocket = 0;
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (error.code === "ERR_HTTP_REQUEST_TIMEOUT" && uploading.has(socket)) return;
    if (error.code === "ECONNRESET" || !socket.writable || isAnswered(socket)) socket.destroy();
    else if (error.code === "HPE_INVALID_URL") socket.end(UNREADABLE_URL);
    else socket.end(`HTTP/1.1 ${STATUS_LINES[error.code ?? ""] ?? "400 Bad Request"}\r\nConnection: close\r\n\r\n`);
  });
  return server;
}

/** Whether an answer is under way: whatever else is written would come into the middle of it. Not a documented field of a socket. */
function isAnswered(socket: Duplex): boolean {
  return (socket as { _httpMessage?: { headersSent: boolean } | null })._httpMessage?.headersSent === true;
}

/** Clients of the API forget to encode what people search for, and such a request comes to none of its handlers. */
const UNREADABLE_URL = (() => {
  const detail =
    'the URL has letters in it that must be percent-encoded, in UTF-8: "ü" is "%C3%BC"; curl does it with -G --data-urlencode';
  const body = JSON.stringify({ type: "about:blank", title: "Bad Request", status: 400, detail, message: detail });
  const headers = `Content-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close`;
  return `HTTP/1.1 400 Bad Request\r\n${headers}\r\n\r\n${body}`;
})();

/** What Node itself answers when nobody listens for such errors. */
const STATUS_LINES: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: "408 Request Timeout",
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
  HPE_CHUNK_EXTENSIONS_OVERFLOW: "413 Content Too Large",
};

/**
 * Nodes' addresses are put together from parts, and slashes double where two of them meet: `SERVER=http://…:8000//v1/update/`. The
 * API's are as they are but for their beginning: a part of the path that is empty by mistake must not lead to something else.
 */
const singleSlashes: RequestHandler = (request, _response, next) => {
  if (request.url.includes("//")) {
    request.url = request.url
      .replace(/^\/{2,}/, "/")
      .replace(/^\/(?:v1|payloads)\/[^?]*/, (path) => path.replace(/\/{2,}/g, "/"));
  }
  next();
};

function behindSecret(secret: string, next: RequestHandler): RequestHandler {
  const expected = Buffer.from(secret);
  return (request, response, done) => {
    const given = Buffer.from(String(request.params.secret ?? ""));
    if (given.length === expected.length && timingSafeEqual(given, expected)) return next(request, response, done);
    response.status(404).type("text/plain").send("There is nothing here.\n");
    return undefined;
  };
}
