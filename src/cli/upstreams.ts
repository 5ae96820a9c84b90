/** `turnout upstreams`: where the releases of a channel come from by themselves. */
import { Command, Option } from "commander";
import { KINDS } from "../sync/upstreams.ts";
import { Api, ApiError, type AppOptions, acting, nothingToChange, ofApp, type Seen, thereIsNo } from "./api.ts";
import { confirm, yesOption } from "./confirm.ts";
import {
  bodyOf,
  type Field,
  type Given,
  list as listField,
  onOffField,
  text,
  textOrNone,
  withFields,
} from "./fields.ts";
import { appPath, archOption, channelName, findChannel } from "./naming.ts";
import type { ChannelView } from "./objects.ts";
import { facts, onOff, printJson, printJsonList, say, shortTime, table } from "./terminal.ts";

const POLICY: Field = {
  option: new Option("--policy <policy>", "follow: move the channel, too; import-only: a person moves it").choices([
    "follow",
    "import-only",
    "off",
  ]),
  field: "policy",
};
const KIND: Field = {
  option: new Option(
    "--kind <kind>",
    "omaha: a server (if left out); mirror: a directory of turnout mirror; plain: one in Flatcar's layout, unsigned",
  ).choices(KINDS),
  field: "kind",
};
const URL_OF = text(
  "--url <url>",
  "url",
  "the server, e.g. https://public.update.flatcar-linux.net/v1/update/; of a mirror its directory, also file:///srv/flatcar",
);
const FIELDS: readonly Field[] = [
  KIND,
  text("--track <track>", "track", "what the upstream calls the channel"),
  POLICY,
  text("--interval <time>", "interval", "how often to ask, e.g. 1h"),
  textOrNone(
    "--min-age <time>",
    "min_age",
    "how long a release is left to ripen before the channel is moved, e.g. 3d; none",
  ),
  listField("--version <version>", "versions", "only this version; may be repeated; none: any", (version) => version),
  textOrNone("--up-to <version>", "up_to", "no version above it; none: any"),
  onOffField("--download", "download", "whether the files are kept on this server"),
  onOffField("--private-addresses", "private_addresses", "whether it may be in this server's own network"),
];

export interface UpstreamView {
  readonly id: string;
  readonly kind: string;
  readonly url: string;
  readonly track: string;
  readonly channel_id: string;
  readonly policy: string;
  readonly interval: string;
  readonly min_age: string | null;
  readonly versions: readonly string[];
  readonly up_to: string | null;
  readonly download: boolean;
  readonly private_addresses: boolean;
  readonly state: {
    readonly checking: boolean;
    readonly last_check_ts: string | null;
    readonly last_success_ts: string | null;
    readonly next_check_ts: string | null;
    readonly last_error: string | null;
    readonly consecutive_failures: number;
    readonly found: {
      readonly target: string | null;
      readonly floors: readonly string[];
      readonly incomplete: readonly { readonly version: string; readonly why: string }[];
    } | null;
    readonly held_back: string | null;
    readonly downloading: {
      readonly version: string;
      readonly file: string;
      readonly received: number;
      readonly total: number;
    } | null;
  };
}

type Options = AppOptions & Given & { readonly arch?: number };

export function upstreamsCommand(): Command {
  const command = new Command("upstreams").description("where the releases of a channel come from by themselves");
  const sub = (name: string, description: string) => ofApp(command.command(name).description(description));
  const one = (name: string, description: string) =>
    sub(name, description)
      .argument("<channel>", "the name or id of the channel that it is for")
      .addOption(archOption("the channel's architecture, where several have the name"));
  sub("list", "the application's upstreams, and how it goes").action(acting(list));
  one("show", "one upstream: what it found, what is held back and why").action(acting(show));
  const add = one("add", "let a channel's releases come from a server");
  add.requiredOption("--url <url>", URL_OF.option.description);
  withFields(add, FIELDS).action(acting(create));
  withFields(one("set", "change an upstream"), [URL_OF, ...FIELDS]).action(acting(set));
  one("remove", "nothing comes from there any more; what came stays").addOption(yesOption()).action(acting(remove));
  one("check", "ask it now").action(acting(check));
  return command;
}

async function list(options: AppOptions): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const upstreams = await api.all<UpstreamView>(`${app}/upstreams`, "upstreams");
  if (options.json) return printJsonList("upstreams", upstreams);
  if (upstreams.length === 0) return say("no upstreams");
  const channels = await api.all<ChannelView>(`${app}/channels`, "channels");
  const rows = upstreams.map((one) => {
    const channel = channels.find(({ id }) => id === one.channel_id);
    return [channel === undefined ? one.channel_id : channelName(channel), one.policy, lastCheck(one), standing(one)];
  });
  process.stdout.write(table(["CHANNEL", "POLICY", "LAST CHECK", "STATE"], rows));
}

async function show(name: string, options: Options): Promise<void> {
  const { channel, seen } = await found(name, options);
  print(seen.value, channel, options);
}

/** A channel that is called the same there need not be named twice. */
async function create(name: string, options: Options): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const channel = await findChannel(api, app, name, options.arch ?? null);
  const given = bodyOf([URL_OF, ...FIELDS], options);
  const body = { track: channel.name, policy: "follow", ...given, channel_id: channel.id };
  print(await api.call<UpstreamView>("POST", `${app}/upstreams`, body), channel, options);
}

async function set(name: string, options: Options): Promise<void> {
  const { api, path, channel, seen } = await found(name, options);
  const changes = bodyOf([URL_OF, ...FIELDS], options);
  if (Object.keys(changes).length === 0) throw nothingToChange();
  print(await api.change(path, seen, changes), channel, options);
}

async function remove(name: string, options: Options & { readonly yes?: true }): Promise<void> {
  const { api, path, channel, seen } = await found(name, options);
  if (options.yes !== true) await confirm(`Remove the upstream of channel ${channelName(channel)}?`);
  await api.remove(path, seen);
  if (options.json) printJson(seen.value);
  else say(`removed the upstream of channel ${channelName(channel)}`);
}

async function check(name: string, options: Options): Promise<void> {
  const { api, path, channel } = await found(name, options);
  const asked = await api.call<UpstreamView>("POST", `${path}/check`);
  if (options.json) printJson(asked);
  else say(`it is being asked; turnout upstreams show ${channel.name} tells what comes of it`);
}

interface FoundUpstream {
  readonly api: Api;
  readonly path: string;
  readonly channel: ChannelView;
  readonly seen: Seen<UpstreamView>;
}

/** @throws ApiError that names the channels that have one */
async function found(name: string, options: Options): Promise<FoundUpstream> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const channel = await findChannel(api, app, name, options.arch ?? null);
  const upstreams = await api.all<UpstreamView>(`${app}/upstreams`, "upstreams");
  const upstream = upstreams.find((one) => one.channel_id === channel.id);
  if (upstream === undefined) {
    const channels = await api.all<ChannelView>(`${app}/channels`, "channels");
    const having = channels.filter(({ id }) => upstreams.some((one) => one.channel_id === id));
    throw new ApiError(thereIsNo(`upstream of channel ${channelName(channel)}`, having.map(channelName)));
  }
  const path = `${app}/upstreams/${upstream.id}`;
  return { api, path, channel, seen: await api.seen<UpstreamView>(path) };
}

function print(upstream: UpstreamView, channel: ChannelView, { json }: AppOptions): void {
  if (json) printJson(upstream);
  else process.stdout.write(described(upstream, channel));
}

function described(upstream: UpstreamView, channel: ChannelView): string {
  const { state } = upstream;
  const time = (iso: string | null) => (iso === null ? null : shortTime(iso));
  return facts([
    ["channel", channelName(channel)],
    ["kind", upstream.kind],
    ["url", upstream.url],
    ["track", upstream.track],
    ["policy", upstream.policy],
    ["interval", upstream.interval],
    ["min-age", upstream.min_age],
    ["versions", upstream.versions.join(", ") || "any"],
    ["up-to", upstream.up_to],
    ["download", onOff(upstream.download)],
    ["private-addresses", onOff(upstream.private_addresses)],
    ["last check", lastCheck(upstream)],
    ["last success", time(state.last_success_ts)],
    ["next check", time(state.next_check_ts)],
    ["found", foundIn(state.found)],
    ["held back", state.held_back],
    ["last error", state.last_error],
    ["state", standing(upstream)],
  ]);
}

function lastCheck({ state }: UpstreamView): string | null {
  return state.last_check_ts === null ? null : shortTime(state.last_check_ts);
}

function foundIn(here: UpstreamView["state"]["found"]): string | null {
  if (here === null) return null;
  const [lacking] = here.incomplete;
  if (here.target === null && lacking !== undefined) return `${lacking.version}, incomplete: ${lacking.why}`;
  if (here.target === null) return "nothing newer";
  return here.floors.length === 0 ? here.target : `${here.target}, with the floors ${here.floors.join(", ")}`;
}

function standing({ state, policy }: UpstreamView): string {
  if (state.downloading !== null) {
    const { version, file, received, total } = state.downloading;
    const share = total === 0 ? "" : ` (${Math.floor((received / total) * 100)} %)`;
    return `downloading ${file} of ${version}${share}`;
  }
  if (state.checking) return "being asked";
  if (state.last_error !== null) {
    const { consecutive_failures: failures } = state;
    return `failed ${failures === 1 ? "once" : `${failures} times`}: ${state.last_error}`;
  }
  if (state.held_back !== null) return `held back: ${state.held_back}`;
  if (policy === "off") return "off";
  return state.last_success_ts === null ? "not asked yet" : "up to date";
}
