/** The syncing, ready to start: how each kind of upstream is asked. */
import type { Clock } from "../clock.ts";
import type { PublicKey } from "../mirror/keys.ts";
import { type Resolve, systemResolve } from "../target.ts";
import type { BringInContext } from "./bring-in.ts";
import { directoryTree } from "./directory-tree.ts";
import { Http, type HttpTimeouts } from "./http.ts";
import { httpTree } from "./http-tree.ts";
import { beginImport } from "./mirror-imports.ts";
import { mirrorUpstream } from "./mirror-upstream.ts";
import { omahaUpstream } from "./omaha-upstream.ts";
import { plainUpstream } from "./plain-upstream.ts";
import { Syncing, type SyncingOptions } from "./syncing.ts";

export interface OpenSyncingOptions extends BringInContext, Pick<SyncingOptions, "onChecked" | "onBytes" | "onError"> {
  readonly clock: Clock;
  /** Turnout's own. */
  readonly version: string;
  readonly proxy: string | null;
  /** What mirrors may be signed with. */
  readonly mirrorKeys: readonly PublicKey[];
  /** Directories of this machine that releases may come from, with all that is below. */
  readonly syncDirs: readonly string[];
  readonly resolve?: Resolve | undefined;
  readonly timeouts?: HttpTimeouts | undefined;
}

export function openSyncing(options: OpenSyncingOptions): Syncing {
  const { store, clock, proxy, version, mirrorKeys, syncDirs, resolve = systemResolve, timeouts } = options;
  const http = new Http({ proxy, resolve, userAgent: `Turnout/${version}`, timeouts });
  return new Syncing({
    ...options,
    random: Math.random,
    open: ({ id, kind, url, application_no: applicationNo, private_addresses }) => {
      const source = { url, privateAddresses: private_addresses === 1, http };
      if (kind === "omaha") return omahaUpstream({ ...source, asker: id });
      const tree = url.startsWith("file:") ? directoryTree(url, syncDirs) : httpTree(source);
      if (kind === "plain") return plainUpstream(tree);
      return mirrorUpstream({
        tree,
        trusted: mirrorKeys,
        async begin(state) {
          const now = clock.now();
          await store.write((tx) => beginImport(tx, applicationNo, state, { allowOlder: false, now }));
        },
      });
    },
    close: () => http.close(),
  });
}
