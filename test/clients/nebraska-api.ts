/**
 * A client written for Nebraska's REST API, strict about what it is answered: each status, each key, each type, and where
 * null may be. Source: NEBRASKA.md, 3.1 to 3.3. It sends what that API's published schema demands, and nothing that it forbids.
 */
import { z } from "zod";

/** RFC 3339 with up to six digits after the second. */
const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$/);
const uuid = z.string().regex(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
const text = z.string();
const arch = z.int().min(0).max(3);

const flatcarAction = z.object({
  id: uuid,
  event: text,
  chromeos_version: text,
  sha256: text,
  needs_admin: z.boolean(),
  is_delta: z.boolean(),
  disable_payload_backoff: z.boolean(),
  metadata_signature_rsa: text,
  metadata_size: text,
  deadline: text,
  created_ts: time,
});
const extraFile = z.object({
  id: z.int(),
  package_id: uuid,
  name: text,
  size: text,
  hash: text,
  hash256: text,
  created_ts: time,
});
const pack = z.object({
  id: uuid,
  type: z.int(),
  version: text,
  url: text,
  filename: text.nullable(),
  description: text.nullable(),
  size: text.nullable(),
  hash: text.nullable(),
  created_ts: time,
  channels_blacklist: z.array(uuid).min(1).nullable(),
  application_id: uuid,
  flatcar_action: flatcarAction.nullable(),
  arch,
  extra_files: z.array(extraFile).min(1).nullable(),
  is_floor: z.literal(true).optional(),
  floor_reason: text.nullable(),
});
const channel = z.object({
  id: uuid,
  name: text,
  color: text,
  created_ts: time,
  application_id: uuid,
  package_id: uuid.nullable(),
  package: pack.nullable(),
  arch,
});
const group = z.object({
  id: uuid,
  name: text,
  description: text,
  created_ts: time,
  rollout_in_progress: z.boolean(),
  application_id: uuid,
  channel_id: uuid.nullable(),
  policy_updates_enabled: z.boolean(),
  policy_safe_mode: z.boolean(),
  policy_office_hours: z.boolean(),
  policy_timezone: text.nullable(),
  policy_period_interval: text,
  policy_max_updates_per_period: z.int(),
  policy_update_timeout: text,
  channel: channel.optional(),
  track: text,
});
const application = z.object({
  id: uuid,
  product_id: text.nullable(),
  name: text,
  description: text,
  created_ts: time,
  groups: listOrNull(group),
  channels: listOrNull(channel),
  instances: z.object({ count: z.int() }),
});
const activity = z.object({
  id: uuid,
  app_id: uuid,
  group_id: uuid.nullable(),
  created_ts: time,
  class: z.int(),
  severity: z.int().min(1).max(4),
  version: text,
  application_name: text,
  group_name: text.nullable(),
  channel_name: text.nullable(),
  instance_id: text.nullable(),
});
const instance = z.object({
  id: text,
  ip: text,
  oem: text.optional(),
  aleph_version: text.optional(),
  created_ts: time,
  alias: text.optional(),
  application: z.object({
    instance_id: text.optional(),
    application_id: uuid,
    group_id: uuid.nullable(),
    version: text,
    created_ts: time,
    status: z.int().min(1).max(8).nullable(),
    last_check_for_updates: time,
    last_update_granted_ts: time.nullable(),
    last_update_version: text.nullable(),
    update_in_progress: z.boolean(),
  }),
});
const history = z
  .array(z.object({ status: z.int().min(1).max(8), version: text, created_ts: time, error_code: text.nullable() }))
  .min(1)
  .nullable();
const statistics = z.strictObject({
  total: z.int(),
  undefined: z.int(),
  update_granted: z.int(),
  error: z.int(),
  complete: z.int(),
  installed: z.int(),
  downloaded: z.int(),
  downloading: z.int(),
  onhold: z.int(),
});
const breakdown = z.array(z.strictObject({ version: text, instances: z.int(), percentage: z.number() }));
const byVersion = z.record(text, z.int());
const versionTimeline = z.record(time, byVersion);
const statusTimeline = z.record(time, z.record(z.string().regex(/^[1-8]$/), byVersion));
const floorChannels = z.object({
  channels: z.array(z.object({ channel, floor_reason: text.nullable() })),
  count: z.int(),
});
const floorSet = z.strictObject({ channel_id: uuid, package_id: uuid, status: z.literal("ok") });

/** The keys that each of its objects has. */
export const KEYS: Readonly<Record<string, readonly string[]>> = {
  Package: Object.keys(pack.shape),
  Channel: Object.keys(channel.shape),
  Group: Object.keys(group.shape),
  Application: Object.keys(application.shape),
  Activity: Object.keys(activity.shape),
  Instance: Object.keys(instance.shape),
  "Instance.application": Object.keys(instance.shape.application.shape),
};

export type Package = z.infer<typeof pack>;
export type Channel = z.infer<typeof channel>;
export type Group = z.infer<typeof group>;
export type Application = z.infer<typeof application>;

/** An empty list is null, as Go writes a slice that nothing was put into. */
function listOrNull<S extends z.ZodType>(item: S) {
  return z.array(item).min(1).nullable();
}

const pageOf = <S extends z.ZodType>(name: string, item: S) =>
  z
    .strictObject({ totalCount: z.int(), count: z.int(), [name]: listOrNull(item) })
    .transform((page): Page<z.infer<S>> => {
      const items = (page[name] ?? []) as z.infer<S>[]; // the schema of the line before
      if (items.length !== page.count) throw new Error(`count is ${page.count}, and there are ${items.length}`);
      return { total: Number(page.totalCount), items };
    });
export interface Page<T> {
  readonly total: number;
  readonly items: readonly T[];
}

/** What an answer other than success carries; nothing else of it is looked at. */
export class Refused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface ApplicationConfig {
  readonly name: string;
  readonly description?: string;
  readonly product_id?: string | null;
}
export interface GroupConfig {
  readonly name: string;
  readonly description?: string;
  /** Absent for none: null is not allowed there. */
  readonly channel_id?: string;
  readonly track?: string;
  readonly policy_updates_enabled: boolean;
  readonly policy_safe_mode: boolean;
  readonly policy_office_hours: boolean;
  readonly policy_timezone: string;
  readonly policy_period_interval: string;
  readonly policy_max_updates_per_period: number;
  readonly policy_update_timeout: string;
}
export interface ChannelConfig {
  readonly name: string;
  readonly color: string;
  readonly arch: number;
  readonly application_id: string;
  readonly package_id?: string;
}
export interface PackageConfig {
  readonly application_id: string;
  readonly arch: number;
  readonly type: number;
  readonly url: string;
  readonly filename: string;
  readonly description: string;
  readonly size: string;
  readonly hash: string;
  readonly version: string;
  readonly channels_blacklist: readonly string[];
  readonly flatcar_action?: { readonly id?: string; readonly sha256: string };
  readonly extra_files?: readonly {
    readonly id?: number;
    readonly name: string;
    readonly hash: string;
    readonly hash256: string;
    readonly size: string;
  }[];
}
type Query = Readonly<Record<string, string | number>>;

/** An object's paths: all of its kind, and one. */
class Resource<T, C> {
  readonly #client: NebraskaClient;
  readonly #path: string;
  readonly #plural: string;
  readonly #schema: z.ZodType<T>;

  constructor(client: NebraskaClient, path: string, plural: string, schema: z.ZodType<T>) {
    this.#client = client;
    this.#path = path;
    this.#plural = plural;
    this.#schema = schema;
  }

  list(query: Query = {}): Promise<Page<T>> {
    return this.#client.ask("GET", this.#path, { query, schema: pageOf(this.#plural, this.#schema) });
  }
  create(body: C, query: Query = {}): Promise<T> {
    return this.#client.ask("POST", this.#path, { query, body, schema: this.#schema });
  }
  read(id: string): Promise<T> {
    return this.#client.ask("GET", `${this.#path}/${id}`, { schema: this.#schema });
  }
  update(id: string, body: C): Promise<T> {
    return this.#client.ask("PUT", `${this.#path}/${id}`, { body, schema: this.#schema });
  }
  delete(id: string): Promise<null> {
    return this.#client.ask("DELETE", `${this.#path}/${id}`, { schema: z.null() });
  }
}

export class NebraskaClient {
  readonly #url: string;
  readonly apps: Resource<Application, ApplicationConfig>;

  constructor(url: string) {
    this.#url = url;
    this.apps = new Resource(this, "/api/apps", "applications", application);
  }

  groups = (app: string) => new Resource<Group, GroupConfig>(this, `/api/apps/${app}/groups`, "groups", group);
  channels = (app: string) =>
    new Resource<Channel, ChannelConfig>(this, `/api/apps/${app}/channels`, "channels", channel);
  packages = (app: string) => new Resource<Package, PackageConfig>(this, `/api/apps/${app}/packages`, "packages", pack);

  /** Unlike other lists, an empty one is a list. */
  async floors(channelId: string, query: Query = {}): Promise<readonly Package[]> {
    const floor = pack.required({ is_floor: true });
    const schema = z.strictObject({ totalCount: z.int(), count: z.int(), packages: z.array(floor) });
    return (await this.ask("GET", `/api/channels/${channelId}/floors`, { query, schema })).packages;
  }
  setFloor(channelId: string, packageId: string, reason?: string) {
    const body = reason === undefined ? {} : { body: { floor_reason: reason } };
    return this.ask("PUT", `/api/channels/${channelId}/floors/${packageId}`, { ...body, schema: floorSet });
  }
  deleteFloor(channelId: string, packageId: string) {
    return this.ask("DELETE", `/api/channels/${channelId}/floors/${packageId}`, { schema: z.null() });
  }
  floorChannels(app: string, packageId: string) {
    return this.ask("GET", `/api/apps/${app}/packages/${packageId}/floor-channels`, { schema: floorChannels });
  }
  activity(query: Query & { readonly start: string; readonly end: string }) {
    return this.ask("GET", "/api/activity", { query, schema: pageOf("activities", activity) });
  }

  /** A group's nodes, counted and one by one. */
  nodes(app: string, groupId: string) {
    const path = `/api/apps/${app}/groups/${groupId}`;
    const ask = <S extends z.ZodType>(rest: string, schema: S, query: Query = {}) =>
      this.ask("GET", `${path}/${rest}`, { schema, query });
    return {
      list: (query: Query & { readonly status: number; readonly duration: string }) =>
        ask("instances", z.object({ total: z.int(), instances: z.array(instance).nullable() }), query),
      count: (duration: string) => ask("instancescount", z.strictObject({ count: z.int() }), { duration }),
      statistics: (duration: string) => ask("instances_stats", statistics, { duration }),
      breakdown: () => ask("version_breakdown", breakdown),
      versionTimeline: (duration: string) => ask("version_timeline", versionTimeline, { duration }),
      statusTimeline: (duration: string) => ask("status_timeline", statusTimeline, { duration }),
      read: (id: string) => ask(`instances/${id}`, instance),
      history: (id: string, query: Query = {}) => ask(`instances/${id}/status_history`, history, query),
    };
  }
  rename(id: string, alias: string) {
    return this.ask("PUT", `/api/instances/${id}`, { body: { alias }, schema: instance });
  }

  /** @throws Refused, or an error that says what the answer lacks */
  async ask<S extends z.ZodType>(
    method: string,
    path: string,
    { query = {}, body, schema }: { query?: Query; body?: unknown; schema: S },
  ): Promise<z.infer<S>> {
    const search = new URLSearchParams(
      Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
    );
    const response = await fetch(`${this.#url}${path}${search.size > 0 ? `?${search}` : ""}`, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = await response.text();
    const what = `${method} ${path}: ${response.status} ${answer.slice(0, 1_000)}`;
    if (response.status >= 400) throw new Refused(response.status, messageOf(answer, what));
    if (response.status !== (method === "DELETE" ? 204 : 200)) throw new Error(what);
    const type = response.headers.get("content-type");
    if (type !== (method === "DELETE" ? null : "application/json")) throw new Error(`${what}: it is ${type}`);
    const parsed = schema.safeParse(method === "DELETE" && answer === "" ? null : JSON.parse(answer));
    if (!parsed.success) throw new Error(`${what}\n${z.prettifyError(parsed.error)}`);
    return parsed.data;
  }
}

/** `{"message": …}`, or nothing that could be read. */
function messageOf(answer: string, otherwise: string): string {
  try {
    const { message } = JSON.parse(answer);
    return typeof message === "string" ? message : otherwise;
  } catch {
    return otherwise;
  }
}
