/** Upstreams, as Prometheus sees them. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { Clock } from "../clock.ts";
import type { Store } from "../store/store.ts";

export interface SyncMetrics {
  checked(ok: boolean): void;
  bytes(count: number): void;
}

export function syncMetrics(registry: Registry, store: Store, clock: Clock): SyncMetrics {
  const registers = [registry];
  const checks = new Counter({
    name: "turnout_upstream_checks_total",
    help: "Checks of upstreams, by whether they went well",
    labelNames: ["result"],
    registers,
  });
  const bytes = new Counter({
    name: "turnout_upstream_bytes_total",
    help: "Bytes of files downloaded from upstreams",
    registers,
  });
  const failures = new Gauge({
    name: "turnout_upstream_failures",
    help: "Checks that failed since the last one that went well, by upstream",
    labelNames: ["upstream"],
    registers,
  });
  new Gauge({
    name: "turnout_upstream_success_age_seconds",
    help: "How long ago the last check that went well was; before the first: since the upstream was made",
    labelNames: ["upstream"],
    registers,
    async collect() {
      this.reset();
      failures.reset();
      const rows = await store.read
        .selectFrom("upstreams")
        .select(["id", "created_at", "succeeded_at", "failures"])
        .where("policy", "!=", "off")
        .execute();
      for (const { id: upstream, created_at, succeeded_at, failures: count } of rows) {
        this.set({ upstream }, Math.max(0, clock.now() - (succeeded_at ?? created_at)) / 1000);
        failures.set({ upstream }, count);
      }
    },
  });
  return {
    checked: (ok) => checks.inc({ result: ok ? "ok" : "error" }),
    bytes: (count) => bytes.inc(count),
  };
}
