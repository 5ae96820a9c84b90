/** What `turnout status` tells of a server's links: to its central server, its upstreams, its sites, and those that mirror it. */
import { archName } from "../fleet/document.ts";
import type { Api } from "./api.ts";
import { channelName } from "./naming.ts";
import type { ApplicationView, ChannelView } from "./objects.ts";
import { several, shortTime, table } from "./terminal.ts";
import type { UpstreamView } from "./upstreams.ts";

interface Central {
  readonly state: "none" | "new" | "synced" | "held" | "failing";
  readonly url: string | null;
  readonly fetched_ts: string | null;
  readonly error: string | null;
  readonly failures: number;
}

interface Site {
  readonly name: string;
  readonly last_contact_ts: string;
  readonly up_to_date: boolean;
  readonly total_nodes: number;
  readonly halted: number;
  readonly stopped: number;
  readonly error: string | null;
}

interface Upstream {
  /** e.g. stable (amd64) */
  readonly channel: string;
  readonly failures: number;
  readonly error: string | null;
}

interface MirroringServer {
  readonly address: string;
  readonly track: string;
  readonly arch: number;
  readonly refused: boolean;
  readonly reason: string;
  readonly left_out: readonly { readonly version: string; readonly what: "release" | "extra-files" }[];
  readonly last_ts: string;
}

export interface Links {
  /** Null: there is none. */
  readonly central: Central | null;
  /** Those whose last check failed. */
  readonly failing_upstreams: readonly Upstream[];
  readonly sites: readonly Site[];
  /** The one that asked last first. */
  readonly mirroring_servers: readonly MirroringServer[];
}

/** A link fails now and then; from here on a person is told, as webhooks are of upstreams. */
const FAILURES_TOLD = 3;

/** @param isConfined whether who asks may see some applications or groups only, and so nothing of the server's own */
export async function askLinks(api: Api, apps: readonly ApplicationView[], isConfined: boolean): Promise<Links> {
  const upstreams = await Promise.all(apps.map(({ id }) => askUpstreams(api, `/apps/${id}`)));
  const central = isConfined ? null : await api.call<Central>("GET", "/central");
  return {
    central: central?.state === "none" ? null : central,
    failing_upstreams: upstreams.flat(),
    sites: isConfined ? [] : await api.all<Site>("/sites", "sites"),
    mirroring_servers: isConfined ? [] : await api.all<MirroringServer>("/mirroring-servers", "servers"),
  };
}

async function askUpstreams(api: Api, app: string): Promise<Upstream[]> {
  const upstreams = await api.all<UpstreamView>(`${app}/upstreams`, "upstreams");
  const failing = upstreams.filter(({ state }) => state.last_error !== null);
  const channels = failing.length === 0 ? [] : await api.all<ChannelView>(`${app}/channels`, "channels");
  return failing.map(({ channel_id: id, state }) => {
    const channel = channels.find((one) => one.id === id);
    const name = channel === undefined ? id : channelName(channel);
    return { channel: name, failures: state.consecutive_failures, error: state.last_error };
  });
}

/** What a person has to look at. */
export function needsOfLinks({ central, failing_upstreams: upstreams, sites }: Links): string[] {
  return [
    ...(central !== null && central.failures >= FAILURES_TOLD ? [`central server: ${central.error}`] : []),
    ...upstreams
      .filter(({ failures }) => failures >= FAILURES_TOLD)
      .map(({ channel, error }) => `the upstream of ${channel}: ${error}`),
    ...sites.flatMap(({ name, halted, stopped, error }) => [
      ...(error === null ? [] : [`site ${name}: ${error}`]),
      ...(halted === 0 ? [] : [`site ${name}: ${several(halted, "rollout")} halted`]),
      ...(stopped === 0 ? [] : [`site ${name}: safe mode has stopped the updates of ${several(stopped, "group")}`]),
    ]),
  ];
}

export function centralFact({ state, url, fetched_ts: fetched }: Central): string {
  return `${url}, ${state}, ${fetched === null ? "never asked" : `last answered ${shortTime(fetched)}`}`;
}

export function siteTable(sites: readonly Site[]): string {
  const rows = sites.map(({ name, last_contact_ts: heard, total_nodes: nodes, up_to_date: isUpToDate }) => [
    name,
    nodes,
    shortTime(heard),
    isUpToDate ? "up to date" : "behind",
  ]);
  return table(["SITE", "NODES", "LAST HEARD", "CONFIGURATION"], rows);
}

/** So many addresses are shown: any may ask. */
const MIRRORS_SHOWN = 20;

/** By address: a mirror asks once for each channel. */
export function mirrorTable(servers: readonly MirroringServer[]): string {
  const byAddress = Map.groupBy(servers, ({ address }) => address);
  const rows = [...byAddress]
    .slice(0, MIRRORS_SHOWN)
    .map(([address, asked]) => [
      address,
      listed(asked.map(({ track, arch }) => `${track} (${archName(arch)})`)),
      shortTime(asked[0]?.last_ts ?? ""),
      listed(asked.map(answerOf)),
    ]);
  const more = byAddress.size > MIRRORS_SHOWN ? `and ${byAddress.size - MIRRORS_SHOWN} more\n` : "";
  return table(["MIRROR", "ASKS FOR", "LAST ASKED", "ANSWER"], rows) + more;
}

function listed(texts: readonly string[]): string {
  return [...new Set(texts)].sort().join(", ");
}

function answerOf({ refused, reason, left_out: leftOut }: MirroringServer): string {
  if (refused) return "refused";
  const served = reason === "mirror" || reason === "up-to-date" ? "served" : reason;
  if (leftOut.length === 0) return served;
  return `${served} without ${leftOut.map(({ version, what }) => (what === "release" ? version : `extra files of ${version}`)).join(" and ")}`;
}
