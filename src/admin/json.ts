/**
 * JSON as it goes out; and as it comes in, before any schema sees it: UTF-8, each name once in its object, nothing that
 * would not come back as it was sent. Source: RFC 7493 (I-JSON), 2.1 and 2.3.
 */
import express, { type RequestHandler, type Response } from "express";
import { invalid, Problem } from "./problem.ts";

/** Express would name a charset, which this media type does not have (RFC 8259, 11). */
export function sendJson(response: Response, answer: unknown): void {
  response.setHeader("Content-Type", "application/json");
  response.end(`${JSON.stringify(answer)}\n`);
}

const MAX_DEPTH = 100;

/** Reads the body, if there is one; an empty one is none. @throws Problem 400, 413, 415 */
export function jsonBody(limit: string): RequestHandler[] {
  const raw = express.raw({ limit, type: () => true });
  const unpacked: RequestHandler = (request, response, next) => {
    raw(request, response, (error?: unknown) => {
      if (!(error instanceof Error) || !("status" in error) || error.status !== 400) return next(error);
      const packed = request.headers["content-encoding"];
      next(
        packed === undefined ? error : new Problem(400, `the body can't be unpacked as ${packed}: ${error.message}`),
      );
    });
  };
  return [onlyJson, unpacked, parsed];
}

const onlyJson: RequestHandler = (request, _response, next) => {
  const { headers } = request;
  const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
  const charset = /;\s*charset="?([^";\s]+)/i.exec(headers["content-type"] ?? "")?.[1] ?? "utf-8";
  if (hasBody && !(request.is("json") && /^utf-?8$/i.test(charset))) {
    throw new Problem(415, "send the body as Content-Type: application/json, in UTF-8");
  }
  next();
};

const parsed: RequestHandler = (request, _response, next) => {
  const bytes: unknown = request.body;
  request.body = Buffer.isBuffer(bytes) && bytes.length > 0 ? parseJson(bytes) : undefined;
  next();
};

/** @throws Problem 400 */
export function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Problem(400, "the body is not UTF-8");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Problem(400, `the body is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  check(text);
  return value;
}

/** An object's names so far, or where in an array we are. */
interface Place {
  readonly names: Set<string> | null;
  at: string | number;
}

/** @param text JSON: only what is not said by its grammar is looked for. */
function check(text: string): void {
  const places: Place[] = [];
  const path = () =>
    places
      .map(({ at }) => at)
      .join(".")
      .toWellFormed() || "body";
  let nameIsNext = false;
  for (let index = 0; index < text.length; index += 1) {
    const place = places.at(-1);
    switch (text[index]) {
      case "{":
      case "[":
        nameIsNext = text[index] === "{";
        places.push({ names: nameIsNext ? new Set() : null, at: nameIsNext ? "" : 0 });
        if (places.length > MAX_DEPTH) throw invalid("body", `may be nested ${MAX_DEPTH} deep at most`);
        break;
      case "}":
      case "]":
        places.pop();
        nameIsNext = false;
        break;
      case ",":
        nameIsNext = place !== undefined && place.names !== null;
        if (typeof place?.at === "number") place.at += 1;
        break;
      case '"': {
        const end = endOfText(text, index);
        const said = textOf(text.slice(index, end));
        if (nameIsNext && place !== undefined) {
          place.at = said;
          if (place.names?.has(said)) throw invalid(path(), "is there twice; say it once");
          place.names?.add(said);
        }
        if (!isKeepable(said)) throw invalid(path(), "has a NUL or half a surrogate pair in it, which can't be kept");
        nameIsNext = false;
        index = end - 1;
        break;
      }
    }
  }
}

/** @returns where the text that begins at `start` has ended, its quotes included. */
function endOfText(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === "\\") backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
}

const textOf = (quoted: string) => (quoted.includes("\\") ? String(JSON.parse(quoted)) : quoted.slice(1, -1));

const isKeepable = (text: string) => text.isWellFormed() && !text.includes("\0");

/** The same for what a URL says. @throws Problem 400 */
export const readableUrl: RequestHandler = (request, _response, next) => {
  let text: string;
  try {
    text = decodeURIComponent(request.url);
  } catch {
    throw new Problem(400, 'the URL must be percent-encoded UTF-8; write "%" itself as "%25"');
  }
  if (!isKeepable(text)) throw new Problem(400, "the URL has a NUL (%00) in it, which nothing here is named by");
  next();
};
