/** `turnout channels floor`: versions that no node may skip on its way to the channel's own. */
import { Command } from "commander";
import { Api, type AppOptions, acting, ofApp } from "./api.ts";
import { appPath, archOption, channelName, findChannel, findPackage } from "./naming.ts";
import type { ChannelView, PackageView } from "./objects.ts";
import { printJson, printJsonList, say, table } from "./terminal.ts";

type FloorOptions = AppOptions & { readonly arch?: number; readonly reason?: string };

export function floorCommand(): Command {
  const command = new Command("floor").description("versions that no node may skip on its way to the channel's own");
  const sub = (name: string, description: string) =>
    ofApp(command.command(name).description(description))
      .argument("<channel>", "its name or id")
      .addOption(archOption("its architecture, where several have the name"));
  sub("list", "the channel's floors, the lowest first").action(acting(list));
  sub("add", "make a package a floor of the channel, or say anew why it is one")
    .argument("<package>", "its version or id")
    .option("--reason <text>", "why nobody may skip it")
    .action(acting(add));
  sub("remove", "the package may be skipped again").argument("<package>", "its version or id").action(acting(remove));
  return command;
}

interface Floor {
  readonly channel: ChannelView;
  readonly floor: PackageView;
  readonly path: string;
}

async function list(name: string, options: FloorOptions): Promise<void> {
  const api = new Api(options.server);
  const channel = await findChannel(api, await appPath(api, options.app), name, options.arch ?? null);
  const floors = await api.all<PackageView>(`/channels/${channel.id}/floors`, "packages");
  if (options.json) return printJsonList("packages", floors);
  if (floors.length === 0) {
    say(`channel ${channelName(channel)} has no floors`);
    return;
  }
  const rows = floors.map(({ version, id, floor_reason: reason }) => [version, id, reason ?? null]);
  process.stdout.write(table(["VERSION", "PACKAGE", "REASON"], rows));
}

async function add(name: string, version: string, options: FloorOptions): Promise<void> {
  const api = new Api(options.server);
  const { channel, floor, path } = await find(api, name, version, options);
  const answer = await api.call<object>("PUT", path, { floor_reason: options.reason ?? null });
  if (options.json) printJson(answer);
  else say(`${floor.version} is a floor of channel ${channelName(channel)}`);
}

async function remove(name: string, version: string, options: FloorOptions): Promise<void> {
  const api = new Api(options.server);
  const { channel, floor, path } = await find(api, name, version, options);
  await api.call("DELETE", path);
  if (options.json) printJson(floor);
  else say(`${floor.version} is a floor of channel ${channelName(channel)} no longer`);
}

async function find(api: Api, name: string, version: string, { app, arch }: FloorOptions): Promise<Floor> {
  const path = await appPath(api, app);
  const channel = await findChannel(api, path, name, arch ?? null);
  const floor = await findPackage(api, path, version, channel.arch);
  return { channel, floor, path: `/channels/${channel.id}/floors/${floor.id}` };
}
