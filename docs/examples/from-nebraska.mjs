#!/usr/bin/env node
/**
 * Reads applications, packages, channels, floors and groups from a Nebraska server, and writes them as a fleet's file for
 * `turnout apply`. Needs nothing but Node 18 or newer.
 *
 *     node docs/examples/from-nebraska.mjs https://nebraska.example.org > fleet.json
 *
 * A bearer token, where the server wants one, comes from NEBRASKA_TOKEN. With --used-only, packages are left out that no
 * channel points to or has for a floor. Groups get no strategy, and so the server's default (guarded); with --strategy they get
 * that preset, and with "--strategy none" one that goes to all nodes at once, as Nebraska does.
 */
import { parseArgs } from "node:util";

const ARCHES = ["all", "amd64", "aarch64", "x86"];
const TYPES = ["flatcar", "docker", "rkt", "other"];
const PER_PAGE = 100;

const STRATEGIES = ["guarded", "careful", "normal", "fast", "hotfix", "none"];

const { usedOnly, strategy, server } = readArguments();
if (strategy !== undefined && !STRATEGIES.includes(strategy)) {
  complain(`--strategy ${strategy}: there is no such preset; write one of ${STRATEGIES.join(", ")}`);
}

const applications = [];
for (const app of await list("/api/apps", "applications")) applications.push(await toApplication(app));
process.stdout.write(`${JSON.stringify({ applications }, null, 2)}\n`);

function readArguments() {
  const options = { "used-only": { type: "boolean", default: false }, strategy: { type: "string" } };
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (positionals.length === 1) {
      return { usedOnly: values["used-only"], strategy: values.strategy, server: positionals[0] };
    }
  } catch (error) {
    complain(error.message);
  }
  complain("usage: from-nebraska.mjs URL [--used-only] [--strategy PRESET]");
}

function complain(why) {
  process.stderr.write(`${why}\n`);
  process.exit(1);
}

async function toApplication({ id, name, description, product_id }) {
  const packages = await list(`/api/apps/${id}/packages`, "packages");
  const channels = await list(`/api/apps/${id}/channels`, "channels");
  const groups = await list(`/api/apps/${id}/groups`, "groups");
  const floors = new Map();
  for (const channel of channels) floors.set(channel.id, await list(`/api/channels/${channel.id}/floors`, "packages"));

  const named = new Map(channels.map((channel) => [channel.id, channel]));
  const used = new Set([...floors.values()].flat().map((floor) => floor.id));
  for (const { package_id } of channels) used.add(package_id);
  return {
    id,
    name,
    description,
    product_id,
    packages: packages.filter((one) => !usedOnly || used.has(one.id)).map((one) => toPackage(one, named)),
    channels: channels.map((channel) => toChannel(channel, floors.get(channel.id))),
    groups: groups.map((group) => toGroup(group, named)),
  };
}

function toPackage(one, channels) {
  const { id: _, created_ts: __, ...action } = one.flatcar_action ?? {};
  return {
    version: one.version,
    arch: ARCHES[one.arch],
    type: TYPES[one.type - 1] ?? "other",
    url: one.url,
    filename: one.filename,
    description: one.description ?? "",
    size: one.size,
    hash: one.hash,
    ...(one.flatcar_action && { flatcar_action: action }),
    extra_files: (one.extra_files ?? []).map(({ name, size, hash, hash256 }) => ({ name, size, hash, hash256 })),
    channels_blacklist: (one.channels_blacklist ?? []).map((id) => channels.get(id).name),
  };
}

function toChannel({ id, name, arch, color, package: target }, floors) {
  return {
    id,
    name,
    arch: ARCHES[arch],
    color,
    package: target?.version ?? null,
    floors: floors.map(({ version, floor_reason }) => ({ version, reason: floor_reason })),
  };
}

function toGroup(group, channels) {
  const channel = channels.get(group.channel_id);
  return {
    id: group.id,
    name: group.name,
    description: group.description,
    // Without a track of its own, a group has its id for one.
    track: group.track === group.id ? null : group.track,
    channel: channel === undefined ? null : { name: channel.name, arch: ARCHES[channel.arch] },
    policy: {
      updates_enabled: group.policy_updates_enabled,
      safe_mode: group.policy_safe_mode,
      office_hours: group.policy_office_hours,
      timezone: group.policy_timezone ?? "",
      period_interval: group.policy_period_interval,
      max_updates_per_period: group.policy_max_updates_per_period,
      update_timeout: group.policy_update_timeout,
    },
    ...(strategy !== undefined && { strategy: strategy === "none" ? {} : { preset: strategy } }),
  };
}

/** All pages of a list; there, an empty one is null. */
async function list(path, plural) {
  const items = [];
  for (let page = 1; ; page += 1) {
    const answer = await read(`${path}?page=${page}&perpage=${PER_PAGE}`);
    items.push(...(answer[plural] ?? []));
    if (items.length >= answer.totalCount || answer.count === 0) return items;
  }
}

async function read(path) {
  const token = process.env.NEBRASKA_TOKEN;
  const response = await fetch(`${server.replace(/\/+$/, "")}${path}`, {
    headers: token ? { Authorization: `Bearer ${token}` } : {},
  });
  const text = await response.text();
  // Where it has nothing, that server answers 200 with a page for browsers.
  if (response.ok && response.headers.get("content-type")?.startsWith("application/json")) return JSON.parse(text);
  throw new Error(`GET ${path}: ${response.status} ${text.slice(0, 200)}`);
}
