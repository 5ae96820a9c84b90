/** The syncing, ready to start: how each kind of upstream is asked. */
import type { Clock } from "../clock.ts";
import { type Resolve, systemResolve } from "../target.ts";
import type { BringInContext } from "./bring-in.ts";
import { Http, type HttpTimeouts } from "./http.ts";
import { omahaUpstream } from "./omaha-upstream.ts";
import { Syncing, type SyncingOptions } from "./syncing.ts";

export interface OpenSyncingOptions extends BringInContext, Pick<SyncingOptions, "onChecked" | "onBytes" | "onError"> {
  readonly clock: Clock;
  /** Turnout's own. */
  readonly version: string;
  readonly proxy: string | null;
  readonly resolve?: Resolve | undefined;
  readonly timeouts?: HttpTimeouts | undefined;
}

export function openSyncing(options: OpenSyncingOptions): Syncing {
  const { proxy, version, resolve = systemResolve, timeouts } = options;
  const http = new Http({ proxy, resolve, userAgent: `Turnout/${version}`, timeouts });
  return new Syncing({
    ...options,
    random: Math.random,
    open: ({ url, private_addresses: privateAddresses }) =>
      omahaUpstream({ url, privateAddresses: privateAddresses === 1, http }),
    close: () => http.close(),
  });
}
