/**
 * One node as a pure state machine: (state, what happened, now) → (next state, what it does). Times are virtual, in milliseconds.
 * Source: CLIENTS.md §1.4 (timing) and §1.6 (lifecycle).
 */
import { type Answer, type Offer, readAnswer } from "./answer.ts";
import type { Outcome } from "./behaviour.ts";
import type { Random } from "./random.ts";
import type { Boot, Identity, Message } from "./request.ts";
import { firstCheckIn, nextCheckIn, nextPingIn, type Timing } from "./timing.ts";

const NO_ANSWER_RETRIES = 3;
const NO_ANSWER_RETRY_MS = 10_000;
const REBOOT_TAKES_MS = 60_000;
/** Set on every error code where the server is not the public one; not on "rolled back". */
const PRIVATE_SERVER = 0x10000000;
const HTTP_BASE = 2000;
/** The post-install step could not fetch what belongs to the image. */
const POSTINSTALL_FAILED = 5;
/** Put off by the node itself: reported as deferred, not as an error. */
const DEFERRED_CODES: readonly number[] = [35, 36, 40];

export interface NodeState extends Boot {
  readonly identity: Identity;
  /** Said in the next check, and erased when that is built, not when it has arrived; null: it fell back. */
  readonly previousVersion: string | null;
  /** Whether a check was answered since the boot. */
  readonly heard: boolean;
  /** The release that it failed on last. */
  readonly failure: { readonly version: string; readonly how: "failed" | "fell-back" } | null;
  /** What the last check's answer means for the next one. */
  readonly pace: { readonly intervalMs: number; readonly pollIntervalSeconds: number | null; readonly slower: boolean };
  readonly phase: Phase;
}

export type Phase =
  | { readonly kind: "idle" }
  | { readonly kind: "retrying"; readonly message: Message; readonly retries: number }
  | { readonly kind: "downloading"; readonly target: string }
  | { readonly kind: "installing"; readonly target: string; readonly extraFailed: boolean }
  | { readonly kind: "waiting"; readonly target: string; readonly rebootAt: number }
  | { readonly kind: "rebooting"; readonly target: string }
  | { readonly kind: "silent" }
  /** In these, something was sent, and its answer is awaited: a check, event 13/1, 14/1, 3/1, a ping, an error's event. */
  | { readonly kind: "checking"; readonly message: Message; readonly retries: number }
  | { readonly kind: "starting"; readonly target: string; readonly offer: Offer }
  | { readonly kind: "downloaded"; readonly target: string; readonly extraFailed: boolean }
  | { readonly kind: "installed"; readonly target: string }
  | { readonly kind: "pinging"; readonly target: string; readonly rebootAt: number }
  | { readonly kind: "failing" };

export type Happening =
  | { readonly kind: "due" }
  | { readonly kind: "answer"; readonly status: number; readonly body: string }
  /** No HTTP answer at all. */
  | { readonly kind: "no-answer" }
  /** A real download has ended: with update_engine's code, or null, and with or without the files that ue-rs fetches. */
  | { readonly kind: "downloaded"; readonly errorCode: number | null; readonly extraFailed: boolean };

export type Action =
  | { readonly kind: "send"; readonly message: Message }
  | { readonly kind: "wait"; readonly until: number }
  | { readonly kind: "download"; readonly offer: Offer }
  | { readonly kind: "nothing-more" };

export interface World {
  readonly timing: Timing;
  /** Whether files are fetched, or downloads only take their time. */
  readonly downloads: "real" | "timed";
  readonly random: Random;
  /** For the next boot. No machine ever has an old one again, also when a simulation is run once more with the same seed. */
  readonly newBootId: () => string;
  /** What becomes of this node with a release. */
  readonly outcome: (version: string) => Outcome;
}

export interface Step {
  readonly state: NodeState;
  readonly action: Action;
  /** What the server said, if a check was answered in this step. */
  readonly answer?: Answer;
}

/** A node that was just switched on for the first time. */
export function newNode(identity: Identity, version: string, now: number, { timing, random, newBootId }: World): Step {
  const checkAt = now + firstCheckIn(timing, random);
  const state: NodeState = {
    identity,
    version,
    alephVersion: version,
    bootId: newBootId(),
    previousVersion: "0.0.0.0",
    heard: false,
    failure: null,
    pace: { intervalMs: timing.pollMs, pollIntervalSeconds: null, slower: false },
    phase: { kind: "idle" },
  };
  return { state, action: { kind: "wait", until: checkAt } };
}

export function step(state: NodeState, happening: Happening, now: number, world: World): Step {
  const { phase } = state;
  const { timing } = world;
  switch (phase.kind) {
    case "idle":
      return check({ ...state, previousVersion: "" }, { kind: "check", previousVersion: state.previousVersion }, 0);
    case "retrying":
      return check(state, phase.message, phase.retries);
    case "checking":
      return answered(state, phase, happening, now, world);
    case "starting":
      return download(state, phase, now, world);
    case "downloading":
      return failing(state, phase.target, "download", world) ?? downloaded(state, phase.target, happening);
    case "downloaded":
      return wait(state, { ...phase, kind: "installing" }, now + timing.installMs);
    case "installing":
      return (
        failing(state, phase.target, "install", world) ??
        (phase.extraFailed ? failed(state, phase.target, POSTINSTALL_FAILED) : null) ??
        report(state, 3, { kind: "installed", target: phase.target })
      );
    case "installed":
      return awaitReboot(state, phase.target, now + timing.rebootMs, now, world);
    case "waiting":
      if (now >= phase.rebootAt) return wait(state, { ...phase, kind: "rebooting" }, now + REBOOT_TAKES_MS);
      return send(state, { ...phase, kind: "pinging" }, { kind: "ping" });
    case "pinging":
      return awaitReboot(state, phase.target, phase.rebootAt, now, world);
    case "rebooting":
      return boot(state, phase.target, now, world);
    case "failing":
      return idle(state, now, world);
    case "silent":
      return { state, action: { kind: "nothing-more" } };
  }
}

function check(state: NodeState, message: Message, retries: number): Step {
  return send(state, { kind: "checking", message, retries }, message);
}

function answered(
  before: NodeState,
  phase: Phase & { kind: "checking" },
  happening: Happening,
  now: number,
  world: World,
): Step {
  if (happening.kind !== "answer") {
    if (phase.retries < NO_ANSWER_RETRIES) {
      return wait(before, { ...phase, kind: "retrying", retries: phase.retries + 1 }, now + NO_ANSWER_RETRY_MS);
    }
    return fail(paced(before, null, false), HTTP_BASE);
  }
  const { status, body } = happening;
  if (status < 200 || status > 299) {
    return fail(paced(before, null, status === 500 || status === 503), HTTP_BASE + status);
  }
  const answer = readAnswer(body);
  const state = paced({ ...before, heard: true }, answer.pollIntervalSeconds, false);
  return { ...follow(state, answer, now, world), answer };
}

function follow(state: NodeState, answer: Answer, now: number, world: World): Step {
  switch (answer.kind) {
    case "noupdate":
      return idle(state, now, world);
    case "invalid":
      return fail(state, answer.code);
    case "update": {
      const { version } = answer.offer;
      const starting = { kind: "starting", target: version, offer: answer.offer } as const;
      return failing(state, version, "copy", world) ?? report(state, 13, starting);
    }
  }
}

function paced(state: NodeState, pollIntervalSeconds: number | null, slower: boolean): NodeState {
  return { ...state, pace: { ...state.pace, pollIntervalSeconds, slower } };
}

/** Where an error shows itself: copying the old partition, before the download begins; after it; or while installing. */
type Moment = "copy" | "download" | "install";
function momentOf(code: number): Moment {
  if (code === 4) return "copy";
  return code === 5 || code === 15 || code === 16 || code === 19 ? "install" : "download";
}

/** Null: it doesn't fail here. */
function failing(state: NodeState, target: string, moment: Moment, world: World): Step | null {
  const outcome = world.outcome(target);
  if (outcome.kind !== "fails" || momentOf(outcome.code) !== moment) return null;
  return failed(state, target, outcome.code);
}

function failed(state: NodeState, target: string, code: number): Step {
  return fail({ ...state, failure: { version: target, how: "failed" } }, code);
}

function download(state: NodeState, phase: Phase & { kind: "starting" }, now: number, world: World): Step {
  const { target, offer } = phase;
  const next = { kind: "downloading", target } as const;
  if (world.downloads === "timed") return wait(state, next, now + world.timing.downloadMs);
  return { state: { ...state, phase: next }, action: { kind: "download", offer } };
}

function downloaded(state: NodeState, target: string, happening: Happening): Step {
  const { errorCode, extraFailed } =
    happening.kind === "downloaded" ? happening : { errorCode: null, extraFailed: false };
  if (errorCode !== null) return failed(state, target, errorCode);
  return report(state, 14, { kind: "downloaded", target, extraFailed });
}

function fail(state: NodeState, code: number): Step {
  const result = DEFERRED_CODES.includes(code) ? 9 : 0;
  const event = { type: 3, result, errorCode: code | PRIVATE_SERVER };
  return send(state, { kind: "failing" }, { kind: "event", event });
}

/** Sent once; whatever comes back, or nothing, it goes on. */
function report(state: NodeState, type: number, phase: Phase): Step {
  return send(state, phase, { kind: "event", event: { type, result: 1, errorCode: null } });
}

function awaitReboot(state: NodeState, target: string, rebootAt: number, now: number, world: World): Step {
  const pingAt = now + nextPingIn(world.timing, world.random);
  return wait(state, { kind: "waiting", target, rebootAt }, Math.min(pingAt, rebootAt));
}

function boot(before: NodeState, target: string, now: number, world: World): Step {
  const { timing, random, newBootId, outcome } = world;
  const { kind } = outcome(target);
  if (kind === "dies") {
    return { state: { ...before, phase: { kind: "silent" } }, action: { kind: "nothing-more" } };
  }
  const checkAt = now + firstCheckIn(timing, random);
  const state: NodeState = {
    ...before,
    bootId: newBootId(),
    heard: false,
    // A new daemon starts with its own interval.
    pace: { intervalMs: timing.pollMs, pollIntervalSeconds: null, slower: false },
    ...(kind === "falls-back"
      ? { previousVersion: null, failure: { version: target, how: "fell-back" } as const }
      : { previousVersion: before.version, version: target, failure: null }),
  };
  return wait(state, { kind: "idle" }, checkAt);
}

function idle(before: NodeState, now: number, { timing, random }: World): Step {
  const { intervalMs, delayMs } = nextCheckIn(before.pace, timing, random);
  const checkAt = now + delayMs;
  return wait({ ...before, pace: { ...before.pace, intervalMs } }, { kind: "idle" }, checkAt);
}

function send(state: NodeState, phase: Phase, message: Message): Step {
  return { state: { ...state, phase }, action: { kind: "send", message } };
}

function wait(state: NodeState, phase: Phase, until: number): Step {
  return { state: { ...state, phase }, action: { kind: "wait", until } };
}
