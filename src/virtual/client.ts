/** Posts requests over a bounded number of connections. */
import { Pool } from "undici";

export type Posted =
  | { readonly kind: "answer"; readonly status: number; readonly body: string }
  | { readonly kind: "no-answer"; readonly reason: string };

export interface OmahaClient {
  /** Never rejects. */
  post(xml: string): Promise<Posted>;
  close(): Promise<void>;
}

/** As update_engine waits for a connection, and for a transfer that stands still. Source: CLIENTS.md §1.1. */
const CONNECT_MS = 30_000;
const STALL_MS = 90_000;
/** What update_engine sends besides Host and Content-Length. It opens a connection for each; a simulation would run out of ports. */
const HEADERS = { accept: "*/*", "content-type": "text/xml" };

export function omahaClient(server: string, connections: number): OmahaClient {
  const url = new URL(server);
  const pool = new Pool(url.origin, {
    connections,
    connect: { timeout: CONNECT_MS },
    headersTimeout: STALL_MS,
    bodyTimeout: STALL_MS,
  });
  const path = url.pathname + url.search;
  return {
    async post(xml) {
      try {
        const { statusCode, body } = await pool.request({ path, method: "POST", headers: HEADERS, body: xml });
        return { kind: "answer", status: statusCode, body: await body.text() };
      } catch (error) {
        return { kind: "no-answer", reason: reasonOf(error) };
      }
    },
    close: () => pool.destroy(),
  };
}

/** Node tries every address of a name, and then says nothing but that all of them failed. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}
