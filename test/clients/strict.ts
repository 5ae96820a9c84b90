/** Every answer that the server makes in any test is read here by the strict models of the clients in the field. */
import { type GoOmahaAsked, readAsGoOmaha } from "./go-omaha.ts";
import { readAsUeRs } from "./ue-rs.ts";
import { readAsUpdateEngine } from "./update-engine.ts";
import { childrenNamed, readXml, type XmlElement } from "./xml.ts";

const FLATCAR = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";
const UUID = /^\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?$/i;
const SYNCER = "CoreOSUpdateEngine-0.1.0.0";

/** @throws Error when a client that would have sent such a request would refuse the answer. */
export function readStrictly(
  request: { readonly body: string },
  answer: { readonly status: number; readonly contentType: string | null; readonly body: string },
): void {
  const root = readXml(request.body) ?? readXml(withoutStrayQuotes(request.body));
  if (root === null) throw new Error("the request itself is not well-formed: no client's model applies");
  const asked = childrenNamed(root, "app").map(askedBy);

  const go = readAsGoOmaha(asked, answer);
  if (go.kind === "error") throw refused("go-omaha", go.why, answer.body);

  const [first] = asked;
  if (first === undefined) return;
  if (first.appId.toLowerCase().replace(/[{}]/g, "") === FLATCAR) {
    const kind = first.updateCheck ? "check" : first.ping ? "ping" : "event";
    const reading = readAsUpdateEngine(kind, answer);
    if (reading.kind === "error") throw refused("update_engine", `${reading.why} (${reading.code})`, answer.body);
  }
  // Only update_engine's own answers reach ue-rs; what a mirror gets, with its several manifests, never does.
  const single = asked.length === 1 && go.apps[0]?.updateCheck === "ok" && UUID.test(first.appId);
  if (single && root.attributes.get("version") !== SYNCER) {
    const reading = readAsUeRs(answer.body);
    if (reading.kind === "error") throw refused("ue-rs", reading.why, answer.body);
  }
}

function refused(client: string, why: string, body: string): Error {
  return new Error(`${client} would refuse this answer: ${why}\n${body}`);
}

function askedBy(app: XmlElement): GoOmahaAsked {
  return {
    appId: app.attributes.get("appid") ?? "",
    ping: childrenNamed(app, "ping").length > 0,
    updateCheck: childrenNamed(app, "updatecheck").length > 0,
    events: childrenNamed(app, "event").length,
  };
}

/** Old update_engines send quotes as they are; which ones does not matter here. */
function withoutStrayQuotes(body: string): string {
  return body.replace(
    / (track|machinealias)="(.*?)" (?=bootid="|lang=")/g,
    (_whole, name: string, value: string) => ` ${name}="${value.replaceAll('"', "")}" `,
  );
}
