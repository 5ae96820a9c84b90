/** Cookies come along with whatever a browser sends, also when a stranger's page made it send that. */
import type { Request } from "express";

/** Methods that change nothing, whoever asks. */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * Whether a request that only a cookie speaks for may change something: browsers say where it comes from, and pages
 * can't make them lie. A browser that says nothing must bring a header, which a page of another origin may not set.
 * @param publicUrl where our own pages are.
 */
export function isFromOurPages(request: Request, publicUrl: string): boolean {
  if (SAFE.has(request.method)) return true;
  const site = request.headers["sec-fetch-site"];
  if (site !== undefined) return site === "same-origin";
  const { origin } = request.headers;
  if (origin !== undefined) return origin === new URL(publicUrl).origin;
  return request.headers["x-requested-with"] !== undefined;
}
