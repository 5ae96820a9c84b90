/** The HTTP client's connections. Loaded with the first question: a server without upstreams does without. */
import type { LookupFunction } from "node:net";
import { Agent, buildConnector } from "undici";
import { tunnelThrough } from "./tunnel.ts";

export interface AgentOptions {
  readonly proxy: string | null;
  readonly lookup: LookupFunction;
  readonly connectMs: number;
  readonly idleMs: number;
}

export function openAgent({ proxy, lookup, connectMs, idleMs }: AgentOptions): Agent {
  const direct = buildConnector({ lookup, timeout: connectMs });
  const toProxy = buildConnector({ timeout: connectMs });
  const tunnel = proxy === null ? null : tunnelThrough(proxy, connectMs);
  return new Agent({
    headersTimeout: idleMs,
    bodyTimeout: idleMs,
    connect(to, done) {
      if (tunnel === null) direct(to, done);
      else if (to.protocol === "https:") tunnel(to, done);
      else toProxy(to, done);
    },
  });
}
