/**
 * Downloads that this server has refused, or cut off, by address: for a while, since the nodes there may report them as failures.
 * Each explains one report.
 */
import { REMEMBERED_MS } from "../rollout/downloads.ts";
import type { CutDownload } from "../rollout/model/server.ts";

/** The longest ago are forgotten beyond these. */
const MOST_ADDRESSES = 10_000;
const MOST_OF_ONE = 1_000;

interface Cut {
  readonly at: number;
  readonly download: CutDownload;
}

export class CutDownloads {
  /** In the order in which something was added. */
  readonly #byAddress = new Map<string, readonly Cut[]>();

  add(address: string, download: CutDownload, now: number): void {
    const others = this.#fresh(address, now).slice(1 - MOST_OF_ONE);
    this.#byAddress.delete(address);
    this.#byAddress.set(address, [...others, { at: now, download }]);
    const [first] = this.#byAddress.keys();
    if (this.#byAddress.size > MOST_ADDRESSES && first !== undefined) this.#byAddress.delete(first);
  }

  /** Each as often as it was added. */
  of(address: string, now: number): readonly CutDownload[] {
    return this.#fresh(address, now).map(({ download }) => download);
  }

  /** One such explains something now, and nothing else. */
  take(address: string, { applicationId, version, errorCode }: CutDownload): void {
    const cuts = this.#byAddress.get(address) ?? [];
    const index = cuts.findIndex(
      ({ download: one }) =>
        one.applicationId === applicationId && one.version === version && one.errorCode === errorCode,
    );
    if (index === -1) return;
    const left = cuts.toSpliced(index, 1);
    if (left.length === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, left);
  }

  #fresh(address: string, now: number): readonly Cut[] {
    return (this.#byAddress.get(address) ?? []).filter(({ at }) => now - at <= REMEMBERED_MS);
  }
}
