/** Whom a request comes from. The one place that reads what proxies say of it. */
import { isIP, SocketAddress } from "node:net";
import type { Express, Request } from "express";

/** An IPv4 address with a port, or an IPv6 address in brackets, with or without one: Azure's Application Gateway sends ports. */
const WITH_PORT = /^(?:(\d[\d.]*):\d{1,5}|\[([\da-f:.%]+)\](?::\d{1,5})?)$/i;
const IPV4_MAPPED = /^::ffff:(\d[\d.]+)$/;

/** The address alone, in its one spelling (`2001:db8::7`; an IPv4-mapped one as IPv4); null when the text is none. */
export function plainAddress(text: string): string | null {
  const family = isIP(text);
  if (family === 4) return text;
  if (family === 0) {
    const [, ipv4, ipv6] = WITH_PORT.exec(text) ?? [];
    if (ipv4 !== undefined) return isIP(ipv4) === 4 ? ipv4 : null;
    return ipv6 !== undefined && isIP(ipv6) === 6 ? plainAddress(ipv6) : null;
  }
  const { address } = new SocketAddress({ address: text, family: "ipv6" });
  return IPV4_MAPPED.exec(address)?.[1] ?? address;
}

/** Whose `X-Forwarded-For` to believe, in Express's words. A proxy that is named with its port is known by its address, too. */
export function trustProxies(app: Express, trusted: string | number): void {
  app.set("trust proxy", trusted);
  // What Express has made of it: the documented form in which an application decides itself.
  const isTrusted: (address: string, hop: number) => boolean = app.get("trust proxy fn");
  app.set("trust proxy", (address: string, hop: number) => isTrusted(plainAddress(address) ?? address, hop));
}

/**
 * The client's address. Where a proxy names none that can be read (`unknown`), it is the proxy's own: all whom it hides count as
 * one. "" when the connection is gone.
 */
export function clientAddress(request: Request): string {
  for (const text of request.ips) {
    const address = plainAddress(text);
    if (address !== null) return address;
  }
  return plainAddress(request.socket.remoteAddress ?? "") ?? "";
}
