/** Channels after an import: their floors, and where they point. */
import type { VersionOrder } from "../rollout/model/configuration.ts";
import { compareVersions } from "../rollout/version.ts";
import { type Api, ApiError } from "./api.ts";
import { ARCHES } from "./bring.ts";
import { confirm } from "./confirm.ts";
import { versionOrderOf } from "./naming.ts";

export interface ChannelPlan {
  readonly name: string;
  readonly arch: string;
  readonly version: string;
  readonly floors: readonly { readonly version: string; readonly reason: string | null }[];
}

export interface Moved {
  readonly name: string;
  readonly arch: string;
  /** Version; null: it pointed to nothing. */
  readonly from: string | null;
  readonly to: string;
  /** `left`: nobody wanted it moved. `newer`: it points to a newer release. `unknown`: the server has no such channel. */
  readonly state: "moved" | "there" | "left" | "newer" | "unknown";
  readonly warnings?: readonly string[];
}

interface Channel {
  readonly id: string;
  readonly name: string;
  readonly arch: number;
  readonly package: { readonly version: string } | null;
  /** Of a change. */
  readonly warnings?: readonly string[];
}

interface Package {
  readonly id: string;
  readonly version: string;
  readonly arch: string;
}

interface MoveOptions {
  readonly move?: true;
  readonly allowOlder?: true;
  readonly json?: true;
}

/** Floors first: no node may pass them on its way. @param app its path */
export async function moveChannels(
  api: Api,
  app: string,
  packages: readonly Package[],
  plans: readonly ChannelPlan[],
  options: MoveOptions,
): Promise<readonly Moved[]> {
  if (plans.length === 0) return [];
  const path = `${app}/channels`;
  const channels = await api.all<Channel>(path, "channels");
  const order = await versionOrderOf(api, app);
  const moved: Moved[] = [];
  for (const plan of plans) {
    const { name, arch, version: to } = plan;
    const channel = channels.find((one) => one.name === name && one.arch === ARCHES[arch]);
    if (channel === undefined) {
      moved.push({ name, arch, from: null, to, state: "unknown" });
      continue;
    }
    const idOf = (version: string) => packages.find((one) => one.arch === arch && one.version === version)?.id ?? "";
    await setFloors(api, channel, plan, idOf);
    moved.push(await moveChannel(api, `${path}/${channel.id}`, plan, idOf(to), order, options));
  }
  return moved;
}

async function moveChannel(
  api: Api,
  path: string,
  plan: ChannelPlan,
  packageId: string,
  order: VersionOrder,
  options: MoveOptions,
): Promise<Moved> {
  const { name, arch, version: to } = plan;
  for (;;) {
    const seen = await api.seen<Channel>(path);
    const from = seen.value.package?.version ?? null;
    const state = await stateOf(plan, from, order, options);
    try {
      if (state !== "moved") return { name, arch, from, to, state };
      const { warnings } = await api.change(path, seen, { package_id: packageId });
      return { name, arch, from, to, state, ...(warnings && { warnings }) };
    } catch (error) {
      // Somebody else has changed it meanwhile, maybe another import of the same: it is looked at again.
      if (!(error instanceof ApiError && error.status === 412)) throw error;
    }
  }
}

async function stateOf(
  { name, arch, version }: ChannelPlan,
  from: string | null,
  order: VersionOrder,
  options: MoveOptions,
) {
  if (from === version) return "there" as const;
  if (from !== null && compareVersions(version, from, order) < 0 && !options.allowOlder) return "newer" as const;
  if (options.move) return "moved" as const;
  const canAsk = process.stdin.isTTY && process.stdout.isTTY && !options.json;
  if (!canAsk) return "left" as const;
  const question = `Move channel ${name} (${arch}) from ${from ?? "nothing"} to ${version}?`;
  return confirm(question).then(
    () => "moved" as const,
    () => "left" as const,
  );
}

/** Those that are there stay as they are, also their reasons: somebody may have written better ones. */
async function setFloors(
  api: Api,
  channel: Channel,
  { floors }: ChannelPlan,
  idOf: (version: string) => string,
): Promise<void> {
  if (floors.length === 0) return;
  const path = `/channels/${channel.id}/floors`;
  const present = await api.all<{ id: string }>(path, "packages");
  for (const { version, reason } of floors) {
    const id = idOf(version);
    if (present.some((one) => one.id === id)) continue;
    await api.call("PUT", `${path}/${id}`, { floor_reason: reason });
  }
}
