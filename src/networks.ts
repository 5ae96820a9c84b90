/** Networks, as settings name them. */
import { BlockList, isIP } from "node:net";
import { plainAddress } from "./address.ts";

export interface Network {
  readonly address: string;
  readonly prefix: number;
}

/** Who may mirror this server. Plain data: it is handed to the writer's thread. */
export type MirrorRule = "everyone" | "nobody" | readonly Network[];

/** From what people write; `wrong` says which part of it is none, and what would be right. */
export function readMirrorRule(text: string): MirrorRule | { readonly wrong: string } {
  if (text === "everyone" || text === "nobody") return text;
  const networks: Network[] = [];
  for (const part of text.split(",").map((one) => one.trim())) {
    const network = readNetwork(part);
    if (network === null) {
      const wrong = part === "" ? text : part;
      return { wrong: `"${wrong}" is no network; write "everyone", "nobody", or e.g. "10.0.0.0/8, 192.0.2.7"` };
    }
    networks.push(network);
  }
  return networks;
}

/** `10.0.0.0/8`, `2001:db8::/32`, or a single address. */
function readNetwork(text: string): Network | null {
  const [, address = "", prefix] = /^([\da-f.:]+)(?:\/(\d{1,3}))?$/i.exec(text) ?? [];
  const bits = isIP(address) === 4 ? 32 : 128;
  if (isIP(address) === 0 || Number(prefix ?? 0) > bits) return null;
  return { address, prefix: Number(prefix ?? bits) };
}

/** Whether an address may; one that is not known may not, unless everyone may. */
export function allowing(rule: MirrorRule): (address: string) => boolean {
  if (rule === "everyone") return () => true;
  if (rule === "nobody") return () => false;
  const allowed = new BlockList();
  for (const { address, prefix } of rule) allowed.addSubnet(address, prefix, familyOf(address));
  return (address) => plainAddress(address) !== null && allowed.check(address, familyOf(address));
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 4 ? "ipv4" : "ipv6";
}
