/** Files and downloads, as Prometheus sees them. */
import { Counter, Gauge, type Registry } from "prom-client";
import { downloadCounters } from "../rollout/downloads.ts";
import { archName } from "../rollout/health.ts";
import { loadFetching } from "../store/counters.ts";
import { loadFleet, toArch } from "../store/fleet.ts";
import type { Store } from "../store/store.ts";
import type { CutReason } from "./downloads.ts";
import type { Payloads } from "./payloads.ts";
import { type Usage, usageOf } from "./usage.ts";

export interface PayloadMetrics {
  download(status: number, bytes: number): void;
  cut(why: CutReason): void;
}

/** @param open how many downloads there are now */
export function payloadMetrics(
  registry: Registry,
  payloads: Payloads,
  store: Store,
  open: () => number,
): PayloadMetrics {
  const registers = [registry];
  const downloads = new Counter({
    name: "turnout_downloads_total",
    help: "Downloads of files kept here that have ended, by HTTP status",
    labelNames: ["status"],
    registers,
  });
  const bytes = new Counter({
    name: "turnout_download_bytes_total",
    help: "Bytes of files kept here that were sent",
    registers,
  });
  const cut = new Counter({
    name: "turnout_downloads_cut_total",
    help: "Downloads of files kept here that were refused or cut off: beyond the limits, unreadable, or stalled by the client",
    labelNames: ["why"],
    registers,
  });
  new Gauge({
    name: "turnout_downloads_offered",
    help: "Nodes that were offered files kept here and have not fetched them yet: what TURNOUT_DOWNLOADS limits",
    registers,
    async collect() {
      const fetching = await loadFetching(store.read);
      this.set(fetching.length === 0 ? 0 : downloadCounters(await loadFleet(store.read), fetching).fetching);
    },
  });
  new Gauge({
    name: "turnout_downloads_open",
    help: "Downloads under way",
    registers,
    collect() {
      this.set(open());
    },
  });
  // Several gauges show the same: they share one look.
  let looking: Promise<Usage> | null = null;
  const usage = (): Promise<Usage> => {
    looking ??= usageOf(payloads, store.read).finally(() => {
      looking = null;
    });
    return looking;
  };
  new Gauge({
    name: "turnout_payload_bytes",
    help: "Bytes on the disk: files of packages, files of none, unfinished uploads",
    labelNames: ["state"],
    registers,
    async collect() {
      const { bytes, unreferencedBytes, uploadBytes } = await usage();
      this.set({ state: "hosted" }, bytes - unreferencedBytes);
      this.set({ state: "unreferenced" }, unreferencedBytes);
      this.set({ state: "uploading" }, uploadBytes);
    },
  });
  new Gauge({
    name: "turnout_package_bytes",
    help: "Bytes of a package's files that are kept here",
    labelNames: ["application", "version", "arch"],
    registers,
    async collect() {
      const { packages } = await usage();
      this.reset();
      for (const { applicationId: application, version, arch, bytes } of packages) {
        this.set({ application, version, arch: archName(toArch(arch)) }, bytes);
      }
    },
  });
  new Gauge({
    name: "turnout_payloads_corrupt",
    help: "Files found corrupt, and not uploaded again",
    registers,
    async collect() {
      this.set((await usage()).corruptFiles);
    },
  });
  new Gauge({
    name: "turnout_payloads_refused",
    help: "Files that are not signed with their application's payload key, and kept out of offers",
    registers,
    async collect() {
      this.set((await usage()).refusedFiles);
    },
  });
  new Gauge({
    name: "turnout_payload_disk_free_bytes",
    help: "Bytes free on the disk that the files are on",
    registers,
    async collect() {
      this.set((await usage()).freeBytes);
    },
  });
  return {
    download(status, sent) {
      downloads.inc({ status: String(status) });
      bytes.inc(sent);
    },
    cut(why) {
      cut.inc({ why });
    },
  };
}
