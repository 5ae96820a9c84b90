/** Every setting, from the environment or `config/turnout.yaml` (the environment wins), checked before anything starts. */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { parseInterval } from "./rollout/interval.ts";

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

/** Texts, since that is what an environment holds; numbers and booleans of the YAML file are taken as their text. */
const number = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, "must be a whole number")
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be between ${min} and ${max}`);

const duration = z.string().transform((text, context) => {
  const milliseconds = parseInterval(text);
  if (milliseconds === null) context.addIssue(`"${text}" is not an interval; write e.g. "45 minutes"`);
  return milliseconds ?? 0;
});

const schema = z.strictObject({
  TURNOUT_HOST: z.string().min(1).default("127.0.0.1"),
  TURNOUT_PORT: number(0, 65_535).default(8000),
  TURNOUT_DATA_DIR: z.string().min(1).default("./data"),
  TURNOUT_DATABASE_URL: z
    .literal("sqlite", { error: 'only "sqlite" (the default) is there yet; PostgreSQL comes with a later version' })
    .default("sqlite"),
  TURNOUT_AUTH: z.enum(["token", "none"]).default("token"),
  TURNOUT_AUTH_NONE_ANYWHERE: z.enum(["yes", "no"]).default("no"),
  TURNOUT_ADMIN_TOKEN: z.string().min(16, "must have at least 16 characters").optional(),
  TURNOUT_OMAHA_SECRET: z
    .string()
    .regex(/^[A-Za-z0-9._~-]+$/, "must be made of letters, digits and . _ ~ - (it is a part of the URL's path)")
    .optional(),
  TURNOUT_TRUST_PROXY: z.string().min(1).optional(),
  TURNOUT_LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
  TURNOUT_POLL_INTERVAL: duration
    .refine((ms) => ms >= 1_000 && ms <= 4 * 3_600_000, "must be between 1 second and 4 hours")
    .optional(),
  TURNOUT_ADAPTIVE_POLLING: z.enum(["yes", "no"]).default("yes"),
  TURNOUT_LONGEST_POLL: duration
    .refine((ms) => ms >= 45 * 60_000 && ms <= 4 * 3_600_000, "must be between 45 minutes and 4 hours")
    .default(4 * 3_600_000),
  TURNOUT_OVERLOAD_WAIT: duration.default(1_000),
  TURNOUT_NEW_NODES_PER_MINUTE: number(0, 1_000_000).default(0),
  TURNOUT_HISTORY_DAYS: number(1, 36_500).default(90),
  TURNOUT_FORGET_SEEN_ONCE_DAYS: number(1, 36_500).default(7),
});

export interface Settings {
  readonly host: string;
  /** 0: a free port is picked, and printed. */
  readonly port: number;
  readonly dataDir: string;
  readonly auth: "token" | "none";
  readonly adminToken: string | null;
  /** When set, Omaha is served at /v1/update/SECRET only. */
  readonly omahaSecret: string | null;
  /** Whose X-Forwarded-For to believe, in Express's words: addresses, subnets, `loopback`, or a number of hops. */
  readonly trustProxy: string | number | null;
  readonly logLevel: string;
  /** Sent to nodes as PollInterval; null: they keep their own (45 minutes). */
  readonly pollIntervalSeconds: number | null;
  /** Nodes that can get nothing before a known time are told to come back when it is near. */
  readonly adaptivePolling: boolean;
  /** No node is told to stay away longer than this. */
  readonly longestPollMs: number;
  /** Check-ins that wait longer than this for their turn are a sign of overload. */
  readonly overloadWaitMs: number;
  /** 0: no limit. */
  readonly newNodesPerMinute: number;
  readonly historyDays: number;
  readonly forgetSeenOnceDays: number;
}

/** A setting that can't be used; the message says which, and what would be right. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** Where the settings are, and what the command line asks a server with. */
const NOT_SETTINGS: ReadonlySet<string> = new Set(["TURNOUT_CONFIG", "TURNOUT_SERVER", "TURNOUT_TOKEN"]);

/** @throws SettingsError */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const file = environment.TURNOUT_CONFIG ?? "config/turnout.yaml";
  const given: Record<string, string> = { ...readFile(file, environment.TURNOUT_CONFIG !== undefined) };
  for (const [name, value] of Object.entries(environment)) {
    if (name.startsWith("TURNOUT_") && !NOT_SETTINGS.has(name) && value) given[name] = value;
  }
  const parsed = schema.safeParse(given);
  if (!parsed.success) throw new SettingsError(parsed.error.issues.map(describe).join("\n"));
  return toSettings(parsed.data);
}

function toSettings(given: z.infer<typeof schema>): Settings {
  if (
    given.TURNOUT_AUTH === "none" &&
    !LOOPBACK.test(given.TURNOUT_HOST) &&
    given.TURNOUT_AUTH_NONE_ANYWHERE !== "yes"
  ) {
    throw new SettingsError(
      `TURNOUT_AUTH=none is refused while TURNOUT_HOST is ${given.TURNOUT_HOST}: anybody could steer the fleet. ` +
        "Listen on 127.0.0.1, use TURNOUT_AUTH=token, or set TURNOUT_AUTH_NONE_ANYWHERE=yes if that is meant.",
    );
  }
  const proxy = given.TURNOUT_TRUST_PROXY;
  return {
    host: given.TURNOUT_HOST,
    port: given.TURNOUT_PORT,
    dataDir: resolve(given.TURNOUT_DATA_DIR),
    auth: given.TURNOUT_AUTH,
    adminToken: given.TURNOUT_ADMIN_TOKEN ?? null,
    omahaSecret: given.TURNOUT_OMAHA_SECRET ?? null,
    trustProxy: proxy === undefined ? null : /^\d+$/.test(proxy) ? Number(proxy) : proxy,
    logLevel: given.TURNOUT_LOG_LEVEL,
    pollIntervalSeconds:
      given.TURNOUT_POLL_INTERVAL === undefined ? null : Math.round(given.TURNOUT_POLL_INTERVAL / 1000),
    adaptivePolling: given.TURNOUT_ADAPTIVE_POLLING === "yes",
    longestPollMs: given.TURNOUT_LONGEST_POLL,
    overloadWaitMs: given.TURNOUT_OVERLOAD_WAIT,
    newNodesPerMinute: given.TURNOUT_NEW_NODES_PER_MINUTE,
    historyDays: given.TURNOUT_HISTORY_DAYS,
    forgetSeenOnceDays: given.TURNOUT_FORGET_SEEN_ONCE_DAYS,
  };
}

function readFile(file: string, required: boolean): Record<string, string> {
  if (!existsSync(file)) {
    if (required) throw new SettingsError(`TURNOUT_CONFIG: there is no file ${resolve(file)}`);
    return {};
  }
  let content: unknown;
  try {
    content = parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new SettingsError(`${file} is not YAML: ${error instanceof Error ? error.message : error}`);
  }
  if (content === null) return {};
  if (typeof content !== "object" || Array.isArray(content)) {
    throw new SettingsError(`${file}: must be a map of settings, e.g. "TURNOUT_PORT: 8000"`);
  }
  const settings: Record<string, string> = {};
  for (const [name, value] of Object.entries(content)) {
    if (value !== null) settings[name] = String(value);
  }
  return settings;
}

function describe(issue: z.core.$ZodIssue): string {
  if (issue.code === "unrecognized_keys") {
    return `${issue.keys.join(", ")}: there is no such setting; config/turnout.yaml lists them all`;
  }
  return `${issue.path.join(".")}: ${issue.message}`;
}
