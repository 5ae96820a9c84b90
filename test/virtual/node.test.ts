import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Outcome } from "../../src/virtual/behaviour.ts";
import { type Happening, newNode, type Step, step, type World } from "../../src/virtual/node.ts";
import { seededRandom } from "../../src/virtual/random.ts";
import type { Identity, Message } from "../../src/virtual/request.ts";
import { DEFAULT_TIMING, type Timing } from "../../src/virtual/timing.ts";

const MINUTE = 60_000;
const OLD = "4081.2.0";
const NEW = "4230.2.1";
const UPDATE = `<response><app status="ok"><updatecheck status="ok"><urls><url codebase="http://a/"/></urls><manifest version="${NEW}"><packages><package name="u.gz" size="1"/></packages><actions><action event="postinstall" sha256="x="/></actions></manifest></updatecheck></app></response>`;
const noupdate = (pollInterval = "") =>
  `<response><app status="ok"><updatecheck status="noupdate" PollInterval="${pollInterval}"/></app></response>`;

const identity: Identity = {
  appId: "app",
  track: "stable",
  oem: "azure",
  machineId: "0".repeat(32),
  machineAlias: "",
  board: "amd64-usr",
};

/** A node on a clock of its own: `wait` lets the time pass until it does something. */
class Driven {
  now = 0;
  last: Step;
  readonly #world: World;

  constructor(outcome: Outcome = { kind: "succeeds" }, timing: Partial<Timing> = {}) {
    this.#world = {
      timing: { ...DEFAULT_TIMING, ...timing },
      downloads: "timed",
      random: seededRandom("node"),
      newBootId: randomUUID,
      outcome: () => outcome,
    };
    this.last = newNode(identity, OLD, 0, this.#world);
  }

  get state() {
    return this.last.state;
  }

  /** Lets the time come that it waits for. @returns how long that took, in minutes */
  wait(): number {
    if (this.last.action.kind !== "wait") throw new Error(`it does not wait: ${JSON.stringify(this.last.action)}`);
    const waited = this.last.action.until - this.now;
    this.now = this.last.action.until;
    this.#happens({ kind: "due" });
    return waited / MINUTE;
  }

  answer(body: string, status = 200): this {
    return this.#happens({ kind: "answer", status, body });
  }

  noAnswer(): this {
    return this.#happens({ kind: "no-answer" });
  }

  get sends(): Message {
    if (this.last.action.kind !== "send") throw new Error(`it sends nothing: ${JSON.stringify(this.last.action)}`);
    return this.last.action.message;
  }

  #happens(happening: Happening): this {
    this.last = step(this.state, happening, this.now, this.#world);
    return this;
  }

  /** From the first check on, with everything acknowledged, until the update is installed. */
  install(): this {
    this.wait();
    this.answer(UPDATE).answer("").wait();
    this.answer("").wait();
    return this.answer("");
  }
}

const event = (type: number, result: number, errorCode: number | null = null): Message => ({
  kind: "event",
  event: { type, result, errorCode },
});
const error = (code: number, result = 0) => event(3, result, code + 268435456);
const check = (previousVersion: string | null): Message => ({ kind: "check", previousVersion });

describe("a node without an update", () => {
  it("asks 7 minutes after its boot, then every 45, each more or less 5", () => {
    const node = new Driven();
    const first = node.wait();
    expect(first).toBeGreaterThanOrEqual(2);
    expect(first).toBeLessThanOrEqual(12);
    const waits = Array.from({ length: 200 }, () => node.answer(noupdate()).wait());
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(40);
    expect(Math.max(...waits)).toBeLessThanOrEqual(50);
    expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(8);
  });

  it("says 0.0.0.0 in its very first check, and then nothing", () => {
    const node = new Driven();
    node.wait();
    expect(node.sends).toEqual(check("0.0.0.0"));
    node.answer(noupdate()).wait();
    expect(node.sends).toEqual(check(""));
  });

  it.each([
    ["60", 40, 50],
    ["7200", 60, 180],
    ["99999", 120, 360],
  ])("heeds a poll interval of %s s within its bounds", (seconds, least, most) => {
    const node = new Driven();
    node.wait();
    for (let round = 0; round < 100; round += 1) {
      const waited = node.answer(noupdate(seconds)).wait();
      expect(waited).toBeGreaterThanOrEqual(least);
      expect(waited).toBeLessThanOrEqual(most);
    }
    const waited = node.answer(noupdate()).wait();
    expect(waited).toBeLessThanOrEqual(50);
  });
});

describe("a node whose check fails", () => {
  it.each([500, 503])("reports HTTP %s and doubles its interval up to 4 hours, until it is answered", (status) => {
    const node = new Driven();
    node.wait();
    for (const minutes of [90, 180, 240, 240]) {
      expect(node.answer("", status).sends).toEqual(error(2000 + status));
      const waited = node.answer("", status).wait();
      expect(waited).toBeGreaterThanOrEqual(minutes / 2);
      expect(waited).toBeLessThanOrEqual(minutes * 1.5);
    }
    expect(node.answer(noupdate()).wait()).toBeLessThanOrEqual(50);
  });

  it.each([404, 429, 502, 302])("reports HTTP %s and keeps its interval", (status) => {
    const node = new Driven();
    node.wait();
    expect(node.answer("", status).sends).toEqual(error(2000 + status));
    expect(node.answer("").wait()).toBeLessThanOrEqual(50);
  });

  it.each([
    ["", 30],
    ["<html>", 31],
    ["<html/>", 34],
  ])("reports an answer that it can't use: %j is %i", (body, code) => {
    const node = new Driven();
    node.wait();
    expect(node.answer(body).sends).toEqual(error(code));
  });

  it("tries again three times, 10 seconds apart, with the same request, when there is no answer", () => {
    const node = new Driven();
    node.wait();
    for (let retry = 0; retry < 3; retry += 1) {
      expect(node.noAnswer().wait()).toBeCloseTo(10 / 60);
      expect(node.sends).toEqual(check("0.0.0.0"));
    }
    expect(node.noAnswer().sends).toEqual(error(2000));
    expect(node.noAnswer().wait()).toBeGreaterThanOrEqual(40);
  });
});

describe("a node with an update", () => {
  it("reports each step, reboots into it, and says once where it came from", () => {
    const node = new Driven();
    node.wait();
    expect(node.answer(UPDATE).sends).toEqual(event(13, 1));
    expect(node.answer("").wait()).toBe(4);
    expect(node.sends).toEqual(event(14, 1));
    expect(node.answer("").wait()).toBe(1);
    expect(node.sends).toEqual(event(3, 1));
    const { bootId } = node.state;
    expect(node.answer("").wait()).toBe(2);
    expect(node.state.version).toBe(OLD);
    node.wait();
    expect(node.state).toMatchObject({ version: NEW, alephVersion: OLD });
    expect(node.state.bootId).not.toBe(bootId);
    node.wait();
    expect(node.sends).toEqual(check(OLD));
    node.answer(noupdate()).wait();
    expect(node.sends).toEqual(check(""));
  });

  it("goes on when an event is lost, and never sends it again", () => {
    const node = new Driven();
    node.wait();
    expect(node.answer(UPDATE).sends).toEqual(event(13, 1));
    node.noAnswer().wait();
    expect(node.sends).toEqual(event(14, 1));
    node.answer("", 500).wait();
    expect(node.sends).toEqual(event(3, 1));
  });

  it("only pings while it waits for the reboot, every 45 minutes, whatever the server wishes", () => {
    const node = new Driven(undefined, { rebootMs: 5 * 60 * MINUTE }).install();
    let pings = 0;
    for (let waited = node.wait(); node.state.phase.kind === "pinging"; waited = node.wait()) {
      expect(waited).toBeGreaterThanOrEqual(40);
      expect(waited).toBeLessThanOrEqual(50);
      expect(node.sends).toEqual({ kind: "ping" });
      node.answer(noupdate("14400"), pings === 2 ? 503 : 200);
      pings += 1;
    }
    expect(pings).toBe(6);
    expect(node.state.version).toBe(OLD);
  });

  it("loses what it came from when that check is lost", () => {
    const node = new Driven().install();
    node.wait();
    node.wait();
    node.wait();
    expect(node.sends).toEqual(check(OLD));
    node.answer("", 502).answer("").wait();
    expect(node.sends).toEqual(check(""));
  });
});

describe("a node that takes a release badly", () => {
  it("fails before the download when copying fails", () => {
    const node = new Driven({ kind: "fails", code: 4 });
    node.wait();
    expect(node.answer(UPDATE).sends).toEqual(error(4));
  });

  it("fails in the download", () => {
    const node = new Driven({ kind: "fails", code: 10 });
    node.wait();
    node.answer(UPDATE).answer("").wait();
    expect(node.sends).toEqual(error(10));
    expect(node.answer("").wait()).toBeGreaterThanOrEqual(40);
    expect(node.sends).toEqual(check(""));
  });

  it("fails when installing", () => {
    const node = new Driven({ kind: "fails", code: 5 });
    node.wait();
    node.answer(UPDATE).answer("").wait();
    node.answer("").wait();
    expect(node.sends).toEqual(error(5));
  });

  it("puts it off without calling that an error", () => {
    const node = new Driven({ kind: "fails", code: 40 });
    node.wait();
    node.answer(UPDATE).answer("").wait();
    expect(node.sends).toEqual(error(40, 9));
  });

  it("is silent for ever when it dies after the reboot", () => {
    const node = new Driven({ kind: "dies" }).install();
    node.wait();
    node.wait();
    expect(node.last.action).toEqual({ kind: "nothing-more" });
    expect(node.noAnswer().last.action).toEqual({ kind: "nothing-more" });
  });

  it("falls back: a new boot, the old version, and code 44 without flags, once", () => {
    const node = new Driven({ kind: "falls-back" }).install();
    const { bootId } = node.state;
    node.wait();
    node.wait();
    expect(node.state.version).toBe(OLD);
    expect(node.state.bootId).not.toBe(bootId);
    node.wait();
    expect(node.sends).toEqual(check(null));
    node.answer(noupdate()).wait();
    expect(node.sends).toEqual(check(""));
  });
});
