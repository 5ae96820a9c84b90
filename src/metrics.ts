/** What Prometheus sees. Labels are bounded: reasons and statuses are enums, groups are configured, versions are cut off. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Clock } from "./clock.ts";
import { silenceOf } from "./store/silence-record.ts";
import type { Store } from "./store/store.ts";

/** Versions a group shows by name; the rest is summed up as "other", so that invented versions can't fill the page. */
const VERSIONS_PER_GROUP = 20;

export interface Metrics {
  readonly registry: Registry;
  checkIn(outcome: "update" | "noupdate" | "error", reason: string): void;
  batch(size: number, milliseconds: number): void;
  refused(status: number): void;
  repaired(): void;
  webhook(outcome: string, deliveries: number): void;
}

export function createMetrics(store: Store, clock: Clock): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const checkIns = new Counter({
    name: "turnout_checkins_total",
    help: "Apps answered, by what they were answered and why",
    labelNames: ["outcome", "reason"],
    registers,
  });
  const batchSize = new Histogram({
    name: "turnout_batch_size",
    help: "Requests that shared one transaction",
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    registers,
  });
  const commitSeconds = new Histogram({
    name: "turnout_commit_seconds",
    help: "From handing a batch to the writer until it was on disk",
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });
  const refusals = new Counter({
    name: "turnout_requests_refused_total",
    help: "Omaha requests that were not answered as such, by HTTP status",
    labelNames: ["status"],
    registers,
  });
  const repairs = new Counter({
    name: "turnout_requests_repaired_total",
    help: "Omaha requests whose unescaped quotes were repaired: a node's update.conf wants mending",
    registers,
  });
  const deliveries = new Counter({
    name: "turnout_webhook_deliveries_total",
    help: "Deliveries to webhooks: delivered, tried in vain (and tried again), failed for good, dropped",
    labelNames: ["outcome"],
    registers,
  });
  nodesGauge(store, registers);
  rolloutsGauge(store, registers);
  webhooksGauge(store, registers);
  centralGauges(store, registers);
  sitesGauge(store, registers);
  mirroringServersGauge(store, clock, registers);

  return {
    registry,
    checkIn: (outcome, reason) => checkIns.inc({ outcome, reason }),
    batch(size, milliseconds) {
      batchSize.observe(size);
      commitSeconds.observe(milliseconds / 1000);
    },
    refused: (status) => refusals.inc({ status: String(status) }),
    repaired: () => repairs.inc(),
    webhook: (outcome, count) => deliveries.inc({ outcome }, count),
  };
}

/** Read when scraped, from counts that are kept as check-ins come in. */
function nodesGauge(store: Store, registers: Registry[]): void {
  new Gauge({
    name: "turnout_nodes",
    help: "Nodes known, by group, version and status",
    labelNames: ["group", "version", "status"],
    registers,
    async collect() {
      this.reset();
      const rows = await store.read
        .selectFrom("node_counts")
        .innerJoin("groups", "groups.no", "node_counts.group_no")
        .select(["groups.id as group", "node_counts.version", "node_counts.status", "node_counts.count"])
        .execute();
      const shown = mostCommonVersions(rows);
      for (const { group, version, status, count } of rows) {
        this.inc({ group, version: shown.get(group)?.has(version) ? version : "other", status }, count);
      }
    },
  });
}

function mostCommonVersions(
  rows: readonly { group: string; version: string; count: number }[],
): Map<string, ReadonlySet<string>> {
  const totals = new Map<string, Map<string, number>>();
  for (const { group, version, count } of rows) {
    const versions = totals.get(group) ?? new Map<string, number>();
    versions.set(version, (versions.get(version) ?? 0) + count);
    totals.set(group, versions);
  }
  const shown = new Map<string, ReadonlySet<string>>();
  for (const [group, versions] of totals) {
    const ranked = [...versions].sort((a, b) => b[1] - a[1]).slice(0, VERSIONS_PER_GROUP);
    shown.set(group, new Set(ranked.map(([version]) => version)));
  }
  return shown;
}

function rolloutsGauge(store: Store, registers: Registry[]): void {
  new Gauge({
    name: "turnout_rollout_nodes",
    help: "Nodes of the rollouts under way or completed, by where they stand in it",
    labelNames: ["group", "version", "state", "status"],
    registers,
    async collect() {
      this.reset();
      for (const row of await presentRollouts(store)) {
        const { rollout_no: _, cells: __, causes: ___, group, version, state, silence, ...counts } = row;
        for (const [status, count] of Object.entries(counts)) this.set({ group, version, state, status }, count);
        this.set({ group, version, state, status: "silent" }, silenceOf(silence)?.silent ?? 0);
      }
    },
  });
  new Gauge({
    name: "turnout_rollout_failures",
    help: "Nodes of the rollouts under way or completed whose last try failed, by update_engine's error code",
    labelNames: ["group", "version", "code"],
    registers,
    async collect() {
      this.reset();
      for (const { group, version, causes } of await presentRollouts(store)) {
        // Written by us alone: nodes by code.
        for (const [code, nodes] of Object.entries(JSON.parse(causes) as Record<string, number>)) {
          this.inc({ group, version, code: Number(code) < 0 ? "other" : code }, nodes);
        }
      }
    },
  });
}

function presentRollouts(store: Store) {
  return store.read
    .selectFrom("rollouts")
    .innerJoin("rollout_counters as c", "c.rollout_no", "rollouts.no")
    .innerJoin("packages", "packages.no", "rollouts.package_no")
    .innerJoin("groups", "groups.no", "rollouts.group_no")
    .selectAll("c")
    .select(["groups.id as group", "packages.version", "rollouts.state", "rollouts.silence"])
    .where("rollouts.present", "=", 1)
    .execute();
}

/** At a site. */
function centralGauges(store: Store, registers: Registry[]): void {
  const row = () =>
    store.read.selectFrom("central").select(["fetched_at", "reported_at", "failures", "held"]).executeTakeFirst();
  new Gauge({
    name: "turnout_central_contact_timestamp_seconds",
    help: "When the central server last answered with the configuration, and last took a report",
    labelNames: ["what"],
    registers,
    async collect() {
      this.reset();
      const { fetched_at: fetched = null, reported_at: reported = null } = (await row()) ?? {};
      if (fetched !== null) this.set({ what: "configuration" }, fetched / 1000);
      if (reported !== null) this.set({ what: "report" }, reported / 1000);
    },
  });
  new Gauge({
    name: "turnout_central_failures",
    help: "Tries to sync with the central server that failed since the last that went well",
    registers,
    async collect() {
      this.reset();
      const central = await row();
      if (central !== undefined) this.set(central.failures);
    },
  });
  new Gauge({
    name: "turnout_central_held_channels",
    help: "Channels that wait for files before they move to what the central server says",
    registers,
    async collect() {
      this.reset();
      const central = await row();
      if (central !== undefined) this.set(JSON.parse(central.held).length);
    },
  });
}

/** At a central server. */
function sitesGauge(store: Store, registers: Registry[]): void {
  new Gauge({
    name: "turnout_site_contact_timestamp_seconds",
    help: "When a site last reported",
    labelNames: ["site"],
    registers,
    async collect() {
      this.reset();
      const rows = await store.read.selectFrom("sites").select(["name", "reported_at"]).execute();
      for (const { name, reported_at: at } of rows) this.set({ site: name }, at / 1000);
    },
  });
}

const DAY_MS = 86_400_000;

function mirroringServersGauge(store: Store, clock: Clock, registers: Registry[]): void {
  new Gauge({
    name: "turnout_mirroring_servers",
    help: "Addresses of servers that asked to mirror this one within a day, by whether they may",
    labelNames: ["answer"],
    registers,
    async collect() {
      const rows = await store.read
        .selectFrom("mirroring_servers")
        .select(["address", "reason"])
        .where("last_at", ">", clock.now() - DAY_MS)
        .orderBy("last_at")
        .execute();
      // What it was answered last.
      const answers = [...new Map(rows.map(({ address, reason }) => [address, reason])).values()];
      const refused = answers.filter((reason) => reason === "mirror-not-allowed").length;
      this.set({ answer: "served" }, answers.length - refused);
      this.set({ answer: "refused" }, refused);
    },
  });
}

function webhooksGauge(store: Store, registers: Registry[]): void {
  new Gauge({
    name: "turnout_webhook_waiting",
    help: "Deliveries that are still to be made, by webhook",
    labelNames: ["webhook"],
    registers,
    async collect() {
      this.reset();
      const rows = await store.read
        .selectFrom("webhooks")
        .leftJoin("webhook_deliveries as d", (join) =>
          join.onRef("d.webhook_no", "=", "webhooks.no").on("d.due_at", "is not", null),
        )
        .select(["webhooks.id", (eb) => eb.fn.count("d.no").as("waiting")])
        .groupBy("webhooks.id")
        .execute();
      for (const { id, waiting } of rows) this.set({ webhook: id }, Number(waiting));
    },
  });
}
