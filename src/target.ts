/**
 * Where requests of ours may go. What is private, of this machine or of its own network is refused, unless that was allowed:
 * whoever says where this server asks must not reach through it what they can't reach themselves.
 */
import { type LookupAddress, promises } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";

/** Source: the special-purpose address registries of IANA, RFC 6890. */
const IPV4 = [
  ["0.0.0.0", 8], // "this network": Linux takes it for loopback
  ["10.0.0.0", 8],
  ["100.64.0.0", 10], // shared, behind a provider's NAT
  ["127.0.0.0", 8],
  ["169.254.0.0", 16], // link-local, with the metadata services of clouds
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15], // benchmarks
  ["224.0.0.0", 4], // multicast
  ["240.0.0.0", 4], // reserved, and broadcast
] as const;
const IPV6 = [
  ["::", 96], // unspecified, loopback, and IPv4 in an old notation
  ["::ffff:0:0:0", 96], // IPv4 in another one
  ["64:ff9b:1::", 48], // NAT64 of one's own
  ["100::", 64], // discarded
  ["2001::", 32], // Teredo: an IPv4 address within
  ["2002::", 16], // 6to4: an IPv4 address within
  ["fc00::", 7], // unique local
  ["fe80::", 10], // link-local
  ["fec0::", 10], // site-local, as it once was
  ["ff00::", 8], // multicast
] as const;

const refused = new BlockList();
for (const [address, prefix] of IPV4) {
  refused.addSubnet(address, prefix, "ipv4");
  refused.addSubnet(`::ffff:${address}`, 96 + prefix, "ipv6"); // IPv4-mapped
  refused.addSubnet(`64:ff9b::${address}`, 96 + prefix, "ipv6"); // NAT64
}
for (const [address, prefix] of IPV6) refused.addSubnet(address, prefix, "ipv6");

/** @param address an IPv4 or IPv6 address; anything else is taken for private. */
export function isPrivate(address: string): boolean {
  const family = isIP(address);
  return family === 0 || refused.check(address, family === 4 ? "ipv4" : "ipv6");
}

/** All addresses of a name, as the system knows them. */
export type Resolve = (name: string) => Promise<readonly LookupAddress[]>;
export const systemResolve: Resolve = (name) => promises.lookup(name, { all: true });

export interface TargetRule {
  readonly privateTargets: boolean;
  /** What would allow them, as people write it. */
  readonly allowedBy: string;
}

/** What is wrong with a target as far as it can be told from the URL itself; null: nothing. */
export function refusalOf(url: URL, rule: TargetRule): string | null {
  if (rule.privateTargets) return null;
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const isOwn = /^(.+\.)?localhost\.?$/.test(host);
  return isOwn || (isIP(host) !== 0 && isPrivate(host)) ? refusal(host, rule) : null;
}

function refusal(target: string, { allowedBy }: TargetRule): string {
  return `${target} is no target: private, loopback and link-local addresses need ${allowedBy}`;
}

/**
 * For a socket's `lookup`: what it hands back has been checked, and is what gets connected to. So a name that answers
 * differently the next time leads nowhere else. It is not asked about hosts that are addresses: see `refusalOf`.
 */
export function checkedLookup(resolve: Resolve, rule: TargetRule): LookupFunction {
  return (name, options, done) => {
    const failed = (error: Error) => done(error, "", 0);
    resolve(name).then((addresses) => {
      const wrong = rule.privateTargets ? undefined : addresses.find(({ address }) => isPrivate(address));
      const [first] = addresses;
      if (first === undefined) failed(new Error(`${name} has no address`));
      else if (wrong !== undefined) failed(new Error(refusal(`${name} (${wrong.address})`, rule)));
      else if (options.all) done(null, [...addresses]);
      else done(null, first.address, first.family);
    }, failed);
  };
}
