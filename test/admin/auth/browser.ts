/** A browser as far as a login needs one: it keeps cookies, follows redirects, and finds servers by name. */
interface Cookie {
  readonly value: string;
  readonly secure: boolean;
  readonly path: string;
  readonly attributes: string;
}

export interface Visited {
  readonly response: Response;
  readonly text: string;
  /** Every URL on the way, the last one included. */
  readonly way: readonly string[];
}

export class Browser {
  /** By origin, then by name. */
  readonly cookies = new Map<string, Map<string, Cookie>>();
  readonly #servers: ReadonlyMap<string, string>;

  /** @param servers which origins are really where. */
  constructor(servers: Readonly<Record<string, string>> = {}) {
    this.#servers = new Map(Object.entries(servers));
  }

  /** One request, no redirect followed. */
  async request(url: string | URL, init: RequestInit = {}): Promise<Response> {
    const { origin, pathname, search } = new URL(url);
    const response = await fetch(`${this.#servers.get(origin) ?? origin}${pathname}${search}`, {
      ...init,
      redirect: "manual",
      headers: { ...Object.fromEntries(new Headers(init.headers)), cookie: this.#sent(new URL(url)) },
    });
    for (const line of response.headers.getSetCookie()) this.#keep(origin, line);
    return response;
  }

  /** @param until stops before this is asked for. */
  async visit(url: string | URL, until?: (next: URL) => boolean): Promise<Visited> {
    const way: string[] = [];
    let next = new URL(url);
    for (let hops = 0; hops < 20; hops += 1) {
      way.push(next.href);
      const response = await this.request(next);
      const location = response.headers.get("location");
      const text = await response.text();
      if (location === null) return { response, text, way };
      next = new URL(location, next);
      if (until?.(next)) return { response, text, way: [...way, next.href] };
    }
    throw new Error(`it goes round and round:\n${way.join("\n")}`);
  }

  cookie(origin: string, name: string): Cookie | undefined {
    return this.cookies.get(origin)?.get(name);
  }

  /** With the same cookies, from here on apart. */
  copy(): Browser {
    const copy = new Browser(Object.fromEntries(this.#servers));
    for (const [origin, cookies] of this.cookies) copy.cookies.set(origin, new Map(cookies));
    return copy;
  }

  #sent({ origin, protocol, pathname }: URL): string {
    const cookies = [...(this.cookies.get(origin) ?? [])];
    return cookies
      .filter(([, { secure, path }]) => (!secure || protocol === "https:") && pathname.startsWith(path))
      .map(([name, { value }]) => `${name}=${value}`)
      .join("; ");
  }

  #keep(origin: string, line: string): void {
    const [pair = "", ...rest] = line.split("; ");
    const name = pair.slice(0, pair.indexOf("="));
    const attributes = new Map(
      rest.map((one): [string, string] => [one.split("=")[0]?.toLowerCase() ?? "", one.slice(one.indexOf("=") + 1)]),
    );
    const secure = attributes.has("secure");
    const path = attributes.get("path") ?? "/";
    if (secure && !origin.startsWith("https:")) return;
    if (name.startsWith("__Host-") && (!secure || path !== "/" || attributes.has("domain"))) return;
    const jar = this.cookies.get(origin) ?? new Map<string, Cookie>();
    this.cookies.set(origin, jar);
    const expires = attributes.get("expires");
    if (expires !== undefined && Date.parse(expires) <= Date.now()) jar.delete(name);
    else jar.set(name, { value: pair.slice(name.length + 1), secure, path, attributes: rest.join("; ") });
  }
}
