/** Every setting, from the environment or `config/turnout.yaml` (the environment wins), checked before anything starts. */
import { existsSync, readFileSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { type MirrorRule, readMirrorRule } from "./networks.ts";
import { parseInterval } from "./rollout/interval.ts";
import { DEFAULT_STRATEGIES, type DefaultStrategy } from "./rollout/strategy.ts";

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

const BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

const size = z.string().transform((text, context) => {
  const [, count, unit = "B"] = /^(\d{1,9}) ?(B|[KMGT]iB)?$/.exec(text) ?? [];
  if (count === undefined) context.addIssue(`"${text}" is not a size; write e.g. "64 MiB"`);
  return Number(count ?? 0) * (BYTES[unit] ?? 0);
});

/** Bytes a second. */
const rate = size.refine((value) => value >= 2 ** 17, "must be at least 128 KiB (a second)");

const secretInPath = z
  .string()
  .regex(/^[A-Za-z0-9._~-]+$/, "must be made of letters, digits and . _ ~ - (it is a part of the URL's path)");

/** Without a slash at its end. */
const url = z.string().transform((text, context) => {
  const given = URL.canParse(text) ? new URL(text) : null;
  const isPlain =
    given?.search === "" && given.hash === "" && given.username === "" && /^https?:$/.test(given.protocol);
  if (!isPlain) context.addIssue(`"${text}" is not a URL; write e.g. "https://updates.example.org"`);
  return text.replace(/\/+$/, "");
});

/** Separated by commas; where names can't have spaces, by spaces. */
const namesBy = (separator: string | RegExp) =>
  z.string().transform((text) =>
    text
      .split(separator)
      .map((name) => name.trim())
      .filter((name) => name !== ""),
  );
const names = namesBy(",");

const sessionTime = duration.refine((ms) => ms >= 5 * 60_000, "must be at least 5 minutes");

const schema = z.strictObject({
  TURNOUT_HOST: z.string().min(1).default("127.0.0.1"),
  TURNOUT_PORT: number(0, 65_535).default(8000),
  TURNOUT_PUBLIC_URL: url.optional(),
  TURNOUT_DATA_DIR: z.string().min(1).default("./data"),
  TURNOUT_DATABASE_URL: z
    .literal("sqlite", { error: 'only "sqlite" (the default) is there yet; PostgreSQL comes with a later version' })
    .default("sqlite"),
  TURNOUT_AUTH: z.enum(["token", "oidc", "none"]).default("token"),
  TURNOUT_AUTH_NONE_ANYWHERE: z.enum(["yes", "no"]).default("no"),
  TURNOUT_ADMIN_TOKEN: z.string().min(16, "must have at least 16 characters").optional(),
  TURNOUT_OIDC_ISSUER: z.string().min(1).optional(),
  TURNOUT_OIDC_CLIENT_ID: z.string().min(1).optional(),
  TURNOUT_OIDC_CLIENT_SECRET: z.string().min(1).optional(),
  TURNOUT_OIDC_CLIENT_AUTH: z.enum(["basic", "post"]).optional(),
  TURNOUT_OIDC_SCOPES: namesBy(/[ ,]/)
    .refine((scopes) => scopes.includes("openid"), 'must have "openid" among them, e.g. "openid profile email"')
    .default(["openid", "profile", "email"]),
  TURNOUT_OIDC_AUDIENCE: z.string().min(1).optional(),
  TURNOUT_OIDC_ROLES_CLAIM: z.string().min(1).default("roles"),
  TURNOUT_OIDC_ADMIN_ROLES: names.default([]),
  TURNOUT_OIDC_OPERATOR_ROLES: names.default([]),
  TURNOUT_OIDC_VIEWER_ROLES: names.default([]),
  TURNOUT_SESSION_LIFETIME: sessionTime.default(12 * 3_600_000),
  TURNOUT_SESSION_IDLE: sessionTime.default(2 * 3_600_000),
  TURNOUT_OMAHA_SECRET: secretInPath.optional(),
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
  TURNOUT_MIRRORS: z
    .string()
    .transform((text, context): MirrorRule => {
      const rule = readMirrorRule(text);
      if (typeof rule === "string" || !("wrong" in rule)) return rule;
      context.addIssue(rule.wrong);
      return "nobody";
    })
    .default("everyone"),
  TURNOUT_NEW_NODES_PER_MINUTE: number(0, 1_000_000).default(0),
  TURNOUT_DEFAULT_STRATEGY: z.enum(DEFAULT_STRATEGIES).default("guarded"),
  TURNOUT_HISTORY_DAYS: number(1, 36_500).default(90),
  TURNOUT_FORGET_SEEN_ONCE_DAYS: number(1, 36_500).default(7),
  TURNOUT_PAYLOAD_TOKEN: secretInPath.optional(),
  TURNOUT_PAYLOAD_USER: z
    .string()
    .regex(/^[^:]+$/, "must have no colon")
    .optional(),
  TURNOUT_PAYLOAD_PASSWORD: z.string().min(8, "must have at least 8 characters").optional(),
  TURNOUT_DOWNLOADS: number(0, 100_000).default(500),
  TURNOUT_DOWNLOADS_PER_ADDRESS: number(0, 100_000).default(100),
  TURNOUT_DOWNLOAD_RATE: rate.optional(),
  TURNOUT_SENDFILE: z.enum(["yes", "no"]).default("yes"),
  TURNOUT_DISK_RESERVE: size.default(2 ** 30),
  TURNOUT_SCRUB_DAYS: number(0, 36_500).default(7),
  TURNOUT_SCRUB_RATE: rate.default(16 * 2 ** 20),
  TURNOUT_MIRROR_KEYS: names.default([]),
  TURNOUT_SYNC_DIRS: names
    .refine(
      (folders) => folders.every((folder) => isAbsolute(folder) && resolve(folder) !== "/"),
      'must be directories with their whole paths, below "/", e.g. "/srv/flatcar"',
    )
    .transform((folders) => folders.map((folder) => resolve(folder)))
    .default([]),
  TURNOUT_SYNC_PROXY: url
    .refine((text) => text.startsWith("http://"), 'must begin with http://, e.g. "http://proxy.example.org:3128"')
    .optional(),
  TURNOUT_WEBHOOK_PRIVATE_TARGETS: z.enum(["yes", "no"]).default("no"),
  TURNOUT_CENTRAL_URL: url.optional(),
  TURNOUT_CENTRAL_TOKEN: z.string().min(1).optional(),
  TURNOUT_SITE: z
    .string()
    .regex(/^\w[\w.-]{0,62}$/, "must be 1 to 63 letters, digits and . _ -, the first of them no . or -")
    .optional(),
  TURNOUT_CENTRAL_INTERVAL: duration
    .refine((ms) => ms >= 10_000 && ms <= 86_400_000, "must be between 10 seconds and 1 day")
    .default(60_000),
  TURNOUT_CENTRAL_PAYLOADS: z.enum(["yes", "no"]).default("yes"),
});

export interface Settings {
  readonly host: string;
  /** 0: a free port is picked, and printed. */
  readonly port: number;
  /** Where nodes and browsers reach us, without a slash at its end; null: where it listens. */
  readonly publicUrl: string | null;
  readonly dataDir: string;
  readonly databasePath: string;
  readonly auth: "token" | "oidc" | "none";
  /** Null unless `auth` is `oidc`. */
  readonly oidc: ReturnType<typeof toOidc> | null;
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
  /** Who may mirror this server over the update address. */
  readonly mirrors: MirrorRule;
  /** 0: no limit. */
  readonly newNodesPerMinute: number;
  /** Of groups that have no strategy of their own. */
  readonly defaultStrategy: DefaultStrategy;
  readonly historyDays: number;
  readonly forgetSeenOnceDays: number;
  /** Whether webhooks may lead to private, loopback and link-local addresses. */
  readonly webhookPrivateTargets: boolean;
  /** What upstreams are asked through, e.g. http://proxy.example.org:3128; null: nothing. */
  readonly syncProxy: string | null;
  /** Files with the public keys that mirrors may be signed with. */
  readonly mirrorKeys: readonly string[];
  /** Directories of this machine that upstreams may be in, whole paths. */
  readonly syncDirs: readonly string[];
  readonly payloads: PayloadSettings;
  /** Where the configuration comes from; null: it is our own. */
  readonly central: ReturnType<typeof toCentral>;
}

export interface PayloadSettings {
  /** When set, payloads are served at /payloads/TOKEN/… only. */
  readonly token: string | null;
  /** What downloads must be asked for with; null: by anybody. */
  readonly login: { readonly user: string; readonly password: string } | null;
  /** Nodes that are to fetch something at the same time, and downloads by anybody else that are open; 0: no limit. */
  readonly downloads: number;
  /** By anybody else, from one address. */
  readonly downloadsPerAddress: number;
  /** Bytes a second, of all downloads together; null: no limit. */
  readonly downloadRate: number | null;
  /** Whether the kernel may send files by itself, where it can. */
  readonly sendfile: boolean;
  /** Bytes that uploads leave free on the disk. */
  readonly diskReserve: number;
  /** How often every file is read again; 0: never. */
  readonly scrubDays: number;
  /** Bytes a second. */
  readonly scrubRate: number;
}

/** A setting that can't be used; the message says which, and what would be right. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** Where the settings are, and what the command line asks a server with. */
const NOT_SETTINGS: ReadonlySet<string> = new Set([
  "TURNOUT_CONFIG",
  "TURNOUT_SERVER",
  "TURNOUT_TOKEN",
  "TURNOUT_MIRROR_FROM",
]);

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
  const { TURNOUT_PAYLOAD_USER: user, TURNOUT_PAYLOAD_PASSWORD: password, TURNOUT_TRUST_PROXY: proxy } = given;
  if ((user === undefined) !== (password === undefined)) {
    throw new SettingsError("TURNOUT_PAYLOAD_USER and TURNOUT_PAYLOAD_PASSWORD: set both, or none");
  }
  const dataDir = resolve(given.TURNOUT_DATA_DIR);
  return {
    host: given.TURNOUT_HOST,
    port: given.TURNOUT_PORT,
    publicUrl: given.TURNOUT_PUBLIC_URL ?? null,
    dataDir,
    databasePath: join(dataDir, "turnout.db"),
    auth: given.TURNOUT_AUTH,
    oidc: given.TURNOUT_AUTH === "oidc" ? toOidc(given) : null,
    adminToken: given.TURNOUT_ADMIN_TOKEN ?? null,
    omahaSecret: given.TURNOUT_OMAHA_SECRET ?? null,
    trustProxy: proxy === undefined ? null : /^\d+$/.test(proxy) ? Number(proxy) : proxy,
    logLevel: given.TURNOUT_LOG_LEVEL,
    pollIntervalSeconds:
      given.TURNOUT_POLL_INTERVAL === undefined ? null : Math.round(given.TURNOUT_POLL_INTERVAL / 1000),
    adaptivePolling: given.TURNOUT_ADAPTIVE_POLLING === "yes",
    longestPollMs: given.TURNOUT_LONGEST_POLL,
    overloadWaitMs: given.TURNOUT_OVERLOAD_WAIT,
    mirrors: given.TURNOUT_MIRRORS,
    newNodesPerMinute: given.TURNOUT_NEW_NODES_PER_MINUTE,
    defaultStrategy: given.TURNOUT_DEFAULT_STRATEGY,
    historyDays: given.TURNOUT_HISTORY_DAYS,
    forgetSeenOnceDays: given.TURNOUT_FORGET_SEEN_ONCE_DAYS,
    payloads: {
      token: given.TURNOUT_PAYLOAD_TOKEN ?? null,
      login: user === undefined || password === undefined ? null : { user, password },
      downloads: given.TURNOUT_DOWNLOADS,
      downloadsPerAddress: given.TURNOUT_DOWNLOADS_PER_ADDRESS,
      downloadRate: given.TURNOUT_DOWNLOAD_RATE ?? null,
      sendfile: given.TURNOUT_SENDFILE === "yes",
      diskReserve: given.TURNOUT_DISK_RESERVE,
      scrubDays: given.TURNOUT_SCRUB_DAYS,
      scrubRate: given.TURNOUT_SCRUB_RATE,
    },
    mirrorKeys: given.TURNOUT_MIRROR_KEYS,
    syncDirs: given.TURNOUT_SYNC_DIRS,
    syncProxy: given.TURNOUT_SYNC_PROXY ?? null,
    webhookPrivateTargets: given.TURNOUT_WEBHOOK_PRIVATE_TARGETS === "yes",
    central: toCentral(given),
  };
}

/** @throws SettingsError when a part is missing, or the token would go over the network in plain sight. */
function toCentral(given: z.infer<typeof schema>) {
  const { TURNOUT_CENTRAL_URL: central, TURNOUT_CENTRAL_TOKEN: token, TURNOUT_SITE: site } = given;
  if (central === undefined && token === undefined && site === undefined) return null;
  if (central === undefined || token === undefined || site === undefined) {
    throw new SettingsError("TURNOUT_CENTRAL_URL, TURNOUT_CENTRAL_TOKEN and TURNOUT_SITE: set all three, or none");
  }
  if (!isConfidential(central)) {
    throw new SettingsError(`TURNOUT_CENTRAL_URL: "${central}" must begin with https:// (http only on this machine)`);
  }
  const { TURNOUT_CENTRAL_INTERVAL: intervalMs, TURNOUT_CENTRAL_PAYLOADS: payloads } = given;
  return { url: central, token, site, intervalMs, payloads: payloads === "yes" };
}

/** Nobody listens on the way. */
function isConfidential(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname } = new URL(address);
  return protocol === "https:" || (protocol === "http:" && LOOPBACK.test(hostname.replace(/[[\]]/g, "")));
}

/** @throws SettingsError when somebody could not log in, or only in plain sight. */
function toOidc(given: z.infer<typeof schema>) {
  const needed = (name: "TURNOUT_OIDC_ISSUER" | "TURNOUT_OIDC_CLIENT_ID", what: string): string => {
    const value = given[name];
    if (value === undefined) throw new SettingsError(`TURNOUT_AUTH=oidc needs ${name}: ${what}`);
    return value;
  };
  const issuer = needed("TURNOUT_OIDC_ISSUER", "the identity provider's URL, e.g. https://id.example.org/realms/fleet");
  const clientId = needed("TURNOUT_OIDC_CLIENT_ID", "what Turnout is called there");
  if (!isConfidential(issuer)) {
    throw new SettingsError(`TURNOUT_OIDC_ISSUER: "${issuer}" must begin with https:// (http only on this machine)`);
  }
  if (given.TURNOUT_PUBLIC_URL === undefined && !LOOPBACK.test(given.TURNOUT_HOST)) {
    throw new SettingsError(
      `TURNOUT_AUTH=oidc needs TURNOUT_PUBLIC_URL while TURNOUT_HOST is ${given.TURNOUT_HOST}: ` +
        "the provider sends browsers back there, e.g. https://updates.example.org",
    );
  }
  const roles = {
    viewer: given.TURNOUT_OIDC_VIEWER_ROLES,
    operator: given.TURNOUT_OIDC_OPERATOR_ROLES,
    admin: given.TURNOUT_OIDC_ADMIN_ROLES,
  };
  if (Object.values(roles).every((one) => one.length === 0)) {
    throw new SettingsError(
      "TURNOUT_AUTH=oidc: nobody could log in; name the provider's roles or groups in TURNOUT_OIDC_ADMIN_ROLES, " +
        "TURNOUT_OIDC_OPERATOR_ROLES or TURNOUT_OIDC_VIEWER_ROLES",
    );
  }
  return {
    issuer,
    clientId,
    clientSecret: given.TURNOUT_OIDC_CLIENT_SECRET ?? null,
    clientAuth: given.TURNOUT_OIDC_CLIENT_AUTH ?? null,
    scopes: given.TURNOUT_OIDC_SCOPES.join(" "),
    audience: given.TURNOUT_OIDC_AUDIENCE ?? clientId,
    roles: { claim: given.TURNOUT_OIDC_ROLES_CLAIM, names: roles },
    sessionLifetimeMs: given.TURNOUT_SESSION_LIFETIME,
    sessionIdleMs: given.TURNOUT_SESSION_IDLE,
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
