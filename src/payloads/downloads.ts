/**
 * `GET /payloads/{app}/{arch}/{version}/{file}`, with ranges; mirrors ask for `{app}/{arch}/{version}~{file}`, too. Source: RFC 9110, 13 and 14; CLIENTS.md §1.1: update_engine asks
 * for single ranges when it goes on with a download, ue-rs for none.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { type ErrorRequestHandler, type Request, type RequestHandler, type Response, Router } from "express";
import { clientAddress } from "../address.ts";
import { cutDownload } from "../rollout/downloads.ts";
import { VERSION_FROM_NAME } from "../rollout/one-codebase.ts";
import type { HostedFile } from "../store/hosted.ts";
import type { Store } from "../store/store.ts";
import type { Blobs } from "./blobs.ts";
import { CutDownloads } from "./cut-downloads.ts";
import { OpenDownloads } from "./open-downloads.ts";
import { Rate } from "./rate.ts";
import { fetchingAt, findFile } from "./records.ts";
import { type Bytes, FileTooShort, sendBytes } from "./send-bytes.ts";
import { damageOf } from "./stored.ts";

export interface DownloadOptions {
  readonly blobs: Blobs;
  readonly store: Store;
  /** Null: none in the path. */
  readonly token: string | null;
  /** Null: downloads are for anybody. */
  readonly login: { readonly user: string; readonly password: string } | null;
  /** Open at the same time, by others than nodes that were offered what they fetch; 0: no limit. */
  readonly downloads: number;
  readonly downloadsPerAddress: number;
  /** Bytes a second, of all together; null: no limit. */
  readonly downloadRate: number | null;
  /** A client that takes nothing for so long is cut off. */
  readonly stallMs: number;
  /** Whether the kernel may send files by itself, where it can. */
  readonly sendfile: boolean;
  readonly now: () => number;
  readonly onDownload: (status: number, bytes: number) => void;
  /** One that was asked for, and did not come to its end since this server would not have it, or could not. */
  readonly onCut: (why: CutReason) => void;
  /** A file is gone, or not what it was. */
  readonly onDamaged: (sha256: string) => Promise<void>;
  readonly onFault: (error: unknown, path: string) => void;
}

/** There were too many; the file could not be read; its client took nothing any more. */
export type CutReason = "limit" | "unreadable" | "stalled";

export interface Downloads {
  /** To be mounted at `/payloads`. */
  readonly router: Router;
  readonly open: OpenDownloads;
  readonly cut: CutDownloads;
}

/** Only clients that were offered nothing are sent away: mirrors, say, or people. */
const RETRY_AFTER_SECONDS = 60;

export function downloads(options: DownloadOptions): Downloads {
  const open = new OpenDownloads(options.downloads, options.downloadsPerAddress);
  const cut = new CutDownloads();
  const way = {
    rate: options.downloadRate === null ? null : new Rate(options.downloadRate, () => open.count),
    sendfile: options.sendfile,
  };
  const router = Router();
  const folder = `${options.token === null ? "" : "/:token"}/:app/:arch`;
  const path = [`${folder}/:version/:file`, `${folder}/:named`];

  const enter = async (address: string) =>
    open.enter(address) ?? open.enterBeyond(address, await fetchingAt(options.store.read, address));

  const serve: RequestHandler = async (request, response) => {
    // Route parameters without a wildcard are texts.
    const params = request.params as Readonly<Record<string, string>>;
    const [version = "", ...file] = (params.named ?? "").split(VERSION_FROM_NAME);
    const wanted = {
      app: params.app ?? "",
      arch: params.arch ?? "",
      version: params.version ?? version,
      file: params.file ?? file.join(VERSION_FROM_NAME),
    };
    if (options.token !== null && !isSame(params.token ?? "", options.token)) return refuse(response, 404, NOTHING);
    if (options.login !== null && !knows(request, options.login)) {
      response.setHeader("WWW-Authenticate", 'Basic realm="payloads", charset="UTF-8"');
      return refuse(response, 401, "downloads need a user and a password");
    }
    const found = await findFile(options.store.read, wanted);
    if (found === null) return refuse(response, 404, NOTHING);
    const bytes = describe(request, response, found, options.token !== null || options.login !== null);
    if (bytes === null) return undefined;

    const address = clientAddress(request);
    const cutOff = (why: CutReason) => {
      const { applicationId, version, name, filename } = found;
      cut.add(address, cutDownload(applicationId, version, name === filename), options.now());
      options.onCut(why);
    };
    const leave = await enter(address);
    if (leave === null) {
      cutOff("limit");
      return refuseForNow(response, "too many downloads are open; come back later");
    }
    const { statusCode } = response;
    try {
      const file = await options.blobs.read(found.sha256);
      try {
        response.setTimeout(options.stallMs, () => {
          cutOff("stalled");
          response.destroy();
        });
        options.onDownload(statusCode, await sendBytes(file, bytes, response, way));
      } finally {
        await file.close();
      }
    } catch (error) {
      cutOff("unreadable");
      if (error instanceof FileTooShort || damageOf(error) !== null) await options.onDamaged(found.sha256);
      throw error;
    } finally {
      leave();
    }
  };

  router.get(path, async (request, response, next) => {
    try {
      await serve(request, response, next);
    } catch (error) {
      options.onFault(error, request.originalUrl);
      // In the middle of a file there is nothing to be said but by hanging up: the client asks for the rest.
      if (response.headersSent) response.destroy();
      else refuseForNow(response, "the file can't be read now");
    }
  });
  router.all(path, (_request, response) => {
    response.setHeader("Allow", "GET, HEAD");
    refuse(response, 405, "files are fetched with GET");
  });
  const malformed: ErrorRequestHandler = (_error, _request, response, _next) => {
    refuse(response, 400, "the address can't be read: % begins a character that is written as two hexadecimal digits");
  };
  router.use(malformed);
  return { router, open, cut };
}

const NOTHING = "there is no such file here";

/** Writes the answer's headers; what its body is, or null when there is none and it has been sent. */
function describe(request: Request, response: Response, file: HostedFile, isPrivate: boolean): Bytes | null {
  const { sizeBytes: size, sha256 } = file;
  const etag = `"${sha256}"`;
  // Whatever a file is called, nodes want its bytes as they are; proxies ask again whether they still are.
  response.setHeader("Content-Type", "application/octet-stream");
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Cache-Control", `${isPrivate ? "private" : "public"}, no-cache, no-transform`);
  response.setHeader("ETag", etag);
  response.setHeader("Accept-Ranges", "bytes");
  if (request.headers["if-match"] !== undefined && !names(request.headers["if-match"], etag)) {
    refuse(response, 412, "the file is another one by now");
    return null;
  }
  if (request.fresh) {
    response.removeHeader("Content-Type");
    response.status(304).end();
    return null;
  }
  const ifRange = request.headers["if-range"];
  // Ours are strong ETags; there is no date that one could go by. Ranges are for GET alone (RFC 9110, 14.2).
  const isPart = request.method === "GET" && (ifRange === undefined || ifRange === etag);
  const range = isPart ? rangeOf(request.headers.range, size) : null;
  if (range === "none of it") {
    response.setHeader("Content-Range", `bytes */${size}`);
    refuse(response, 416, `the file has ${size} bytes`);
    return null;
  }
  if (range !== null) response.status(206).setHeader("Content-Range", `bytes ${range.start}-${range.end}/${size}`);
  const bytes = range ?? { start: 0, end: size - 1 };
  response.setHeader("Content-Length", bytes.end - bytes.start + 1);
  if (request.method !== "HEAD") return bytes;
  response.end();
  return null;
}

/**
 * The one range that is asked for; null: the whole, which is also an answer to several of them, and to what can't be read.
 * (Express's own parser takes a suffix longer than the file for none of it.) Source: RFC 9110, 14.1.2.
 */
function rangeOf(header: string | undefined, size: number): Bytes | "none of it" | null {
  const [, first = "", last = ""] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header ?? "") ?? [];
  if (first === "" && last === "") return null;
  if (first === "")
    return Number(last) === 0 ? "none of it" : { start: Math.max(0, size - Number(last)), end: size - 1 };
  if (last !== "" && Number(last) < Number(first)) return null;
  if (Number(first) >= size) return "none of it";
  return { start: Number(first), end: last === "" ? size - 1 : Math.min(Number(last), size - 1) };
}

function names(header: string, etag: string): boolean {
  return header.trim() === "*" || header.split(",").some((one) => one.trim() === etag);
}

function refuse(response: Response, status: number, line: string): void {
  response.status(status).type("text/plain").send(`${line}\n`);
}

/** In place of a file that was described already. */
function refuseForNow(response: Response, line: string): void {
  for (const name of ["Content-Length", "Content-Range", "ETag", "Accept-Ranges"]) response.removeHeader(name);
  response.setHeader("Cache-Control", "no-store");
  response.setHeader("Retry-After", String(RETRY_AFTER_SECONDS));
  refuse(response, 503, line);
}

function knows({ headers }: Request, { user, password }: { user: string; password: string }): boolean {
  const given = /^Basic +([\w+/=-]+) *$/i.exec(headers.authorization ?? "")?.[1];
  return given !== undefined && isSame(Buffer.from(given, "base64").toString("utf8"), `${user}:${password}`);
}

/** Takes as long whatever is different. */
function isSame(given: string, right: string): boolean {
  const hash = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(given), hash(right));
}
