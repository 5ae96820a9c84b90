/** What a fleet counts while it runs. */
import { createHistogram } from "node:perf_hooks";
import type { Answer } from "./answer.ts";
import type { Downloaded } from "./download.ts";
import type { Happening, NodeState } from "./node.ts";
import type { Message } from "./request.ts";

/** Where a node stands, in a person's words. */
export type NodeStatus =
  | "idle"
  | "updated"
  | "downloading"
  | "installing"
  | "waiting for reboot"
  | "rebooting"
  | "failed"
  | "fell back"
  | "silent";

export interface Sample {
  /** Virtual milliseconds since the start. */
  readonly atMs: number;
  readonly byStatus: Readonly<Record<string, number>>;
  readonly byVersion: Readonly<Record<string, number>>;
}

export interface Figures {
  readonly requests: {
    readonly total: number;
    readonly checks: number;
    readonly pings: number;
    readonly events: number;
  };
  /** e.g. `noupdate`, `update`, `acknowledged` (pings and events), `HTTP 503`, `no answer`, `invalid (34)` */
  readonly answers: Readonly<Record<string, number>>;
  /** Files that were really fetched. */
  readonly downloads: {
    readonly files: number;
    readonly failed: number;
    /** Broken off, and gone on with. */
    readonly resumed: number;
    readonly bytes: number;
  };
  readonly latencyMs: { readonly p50: number; readonly p90: number; readonly p99: number; readonly max: number };
}

export interface Progress extends Sample {
  readonly settled: number;
  readonly requests: number;
}

export interface FleetReport extends Figures, Omit<Sample, "atMs"> {
  readonly end: "settled" | "time over" | "interrupted";
  readonly nodes: number;
  readonly settled: number;
  /** Null: none was offered, and none was asked for. */
  readonly target: string | null;
  readonly onTarget: number;
  readonly requestsPerSecond: number;
  readonly virtualMs: number;
  readonly realMs: number;
  readonly timeline: readonly Sample[];
}

export function statusOf(state: NodeState): NodeStatus {
  switch (state.phase.kind) {
    case "idle":
    case "checking":
    case "retrying":
      if (state.failure !== null) return state.failure.how === "failed" ? "failed" : "fell back";
      return state.version === state.alephVersion ? "idle" : "updated";
    case "starting":
    case "downloading":
      return "downloading";
    case "downloaded":
    case "installing":
      return "installing";
    case "installed":
    case "waiting":
    case "pinging":
      return "waiting for reboot";
    case "failing":
      return "failed";
    case "rebooting":
    case "silent":
      return state.phase.kind;
  }
}

export class Statistics {
  readonly #latency = createHistogram();
  readonly #requests = { total: 0, checks: 0, pings: 0, events: 0 };
  readonly #downloads = { files: 0, failed: 0, resumed: 0, bytes: 0 };
  readonly #answers = new Map<string, number>();
  readonly #byStatus = new Map<string, number>();
  readonly #byVersion = new Map<string, number>();
  readonly timeline: Sample[] = [];

  request(message: Message): void {
    this.#requests.total += 1;
    this.#requests[`${message.kind}s`] += 1;
  }

  /** @param answer what a check's answer said, where there was one */
  answer(happening: Happening, answer: Answer | undefined, latencyMs: number): void {
    add(this.#answers, answerName(happening, answer), 1);
    if (happening.kind === "answer") this.#latency.record(Math.max(1, Math.round(latencyMs * 1000)));
  }

  downloaded({ errorCode, extraFailed, resumed, bytes }: Downloaded): void {
    this.#downloads.files += 1;
    this.#downloads.failed += Number(errorCode !== null || extraFailed);
    this.#downloads.resumed += resumed;
    this.#downloads.bytes += bytes;
  }

  moved(before: NodeState | null, after: NodeState): void {
    if (before !== null) {
      add(this.#byStatus, statusOf(before), -1);
      add(this.#byVersion, before.version, -1);
    }
    add(this.#byStatus, statusOf(after), 1);
    add(this.#byVersion, after.version, 1);
  }

  sample(atMs: number): Sample {
    return { atMs: Math.round(atMs), byStatus: present(this.#byStatus), byVersion: present(this.#byVersion) };
  }

  get requests(): number {
    return this.#requests.total;
  }

  figures(): Figures {
    const percentile = (percent: number) => (this.#latency.count === 0 ? 0 : this.#latency.percentile(percent) / 1000);
    return {
      requests: { ...this.#requests },
      answers: present(this.#answers),
      downloads: { ...this.#downloads },
      latencyMs: {
        p50: percentile(50),
        p90: percentile(90),
        p99: percentile(99),
        max: percentile(100),
      },
    };
  }
}

function answerName(happening: Happening, answer: Answer | undefined): string {
  if (happening.kind !== "answer") return "no answer";
  if (happening.status < 200 || happening.status > 299) return `HTTP ${happening.status}`;
  if (answer === undefined) return "acknowledged";
  if (answer.kind === "invalid") return `invalid (${answer.code})`;
  // A wrong track or application shows itself nowhere else.
  return answer.appStatus === null || answer.appStatus === "ok" ? answer.kind : `${answer.kind} (${answer.appStatus})`;
}

function add(counts: Map<string, number>, name: string, change: number): void {
  counts.set(name, (counts.get(name) ?? 0) + change);
}

function present(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].filter(([, count]) => count > 0).sort(([a], [b]) => (a < b ? -1 : 1)));
}
