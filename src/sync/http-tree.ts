/** Files on a web server. What is in a folder is known from the page that the server makes of it, if it makes one. */

import type { FileTree } from "./file-tree.ts";
import { fileAt, type Http, hangUp, textOf } from "./http.ts";
import { lengthAt, probe } from "./probe.ts";
import { SourceFailed } from "./release.ts";

/** A line has some 200 bytes. */
const MAX_PAGE_BYTES = 4 * 2 ** 20;
/** Some say that what is not there is forbidden, so that nobody learns which names there are. */
const ABSENT: ReadonlySet<number> = new Set([403, 404, 410]);

export interface HttpTreeOptions {
  /** Of its root. */
  readonly url: string;
  readonly privateAddresses: boolean;
  readonly http: Http;
}

export function httpTree({ url, privateAddresses, http }: HttpTreeOptions): FileTree {
  const base = url.replace(/\/*$/, "/");
  // A "+" is a space to some servers, where it stands as it is.
  const addressOf = (path: string) => base + path.split("/").map(encodeURIComponent).join("/");

  async function read(address: string, accept: string, maxBytes: number, signal: AbortSignal) {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(http.answerMs)]);
    const answer = await http.ask(address, { headers: { Accept: accept }, privateAddresses, signal: limit });
    const { status, headers } = answer;
    if (status === 200) return { text: await textOf(address, answer, maxBytes, limit), type: headers["content-type"] };
    hangUp(answer);
    if (ABSENT.has(status)) return null;
    throw new SourceFailed(`${address} answers ${status}`);
  }

  return {
    place: addressOf,
    async text(path, maxBytes, signal) {
      return (await read(addressOf(path), "*/*", maxBytes, signal))?.text ?? null;
    },
    async names(folder, signal) {
      const address = `${addressOf(folder)}/`;
      const page = await read(address, "text/html", MAX_PAGE_BYTES, signal);
      return page !== null && /^text\/html\b/i.test(page.type ?? "") ? namesIn(page.text, new URL(address)) : null;
    },
    async sizeOf(path, signal) {
      const address = addressOf(path);
      const { status, bytes } = await lengthAt(http, { url: address, privateAddresses }, null, signal);
      if (ABSENT.has(status)) return null;
      if (status === 416) return 0; // it has not the one byte that was asked for
      if (status !== 200 && status !== 206) throw new SourceFailed(`${address} answers ${status}`);
      if (bytes === null) throw new SourceFailed(`${address} does not say how many bytes it has (Content-Length)`);
      return bytes;
    },
    open: (path, from, sizeBytes, signal) =>
      fileAt(http, addressOf(path), from, sizeBytes, { privateAddresses, signal }),
    urlOf: (folder) => `${addressOf(folder)}/`,
    probe: (file, place, signal) => probe(http, { url: place.url, privateAddresses }, file, signal),
  };
}

/** Where the page links to, as far as that is in the very folder: its files, and folders without their slash. */
function namesIn(page: string, folder: URL): readonly string[] {
  const names = new Set<string>();
  for (const [, double, single, bare] of page.matchAll(/\bhref=(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))/gi)) {
    const name = nameOf(double ?? single ?? bare ?? "", folder);
    if (name !== null) names.add(name);
  }
  return [...names];
}

function nameOf(link: string, folder: URL): string | null {
  const target = URL.canParse(link, folder.href) ? new URL(link, folder) : null;
  if (target?.origin !== folder.origin || !target.pathname.startsWith(folder.pathname)) return null;
  const segment = target.pathname.slice(folder.pathname.length).replace(/\/$/, "");
  if (segment === "" || segment.includes("/")) return null;
  try {
    return decodeURIComponent(segment);
  } catch {
    return null; // no UTF-8: none of ours
  }
}
