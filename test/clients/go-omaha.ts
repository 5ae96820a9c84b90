/** go-omaha's client (and Nebraska's updater and syncer with it) as a reader of answers. Source: CLIENTS.md §3. */
import { childrenNamed, readXml, type XmlElement } from "./xml.ts";

export interface GoOmahaAsked {
  readonly appId: string;
  readonly ping: boolean;
  readonly updateCheck: boolean;
  readonly events: number;
}

export interface GoOmahaApp {
  readonly appId: string;
  readonly status: string;
  /** Null: there is none. */
  readonly updateCheck: string | null;
}

export type GoOmahaReading =
  | { readonly kind: "ok"; readonly apps: readonly GoOmahaApp[] }
  | { readonly kind: "error"; readonly why: string };

const LIMIT_BYTES = 1024 * 1024;
/** What encoding/xml takes for a bool or an unsigned integer; an empty value is the zero value. */
const GO_BOOL = /^(|1|t|T|true|TRUE|True|0|f|F|false|FALSE|False)$/;
const GO_UINT = /^\d*$/;
const TYPED: Readonly<Record<string, Readonly<Record<string, RegExp>>>> = {
  daystart: { elapsed_seconds: GO_UINT, elapsed_days: GO_UINT },
  manifest: { is_floor: GO_BOOL, is_target: GO_BOOL },
  package: { size: GO_UINT, required: GO_BOOL },
  action: {
    needsadmin: GO_BOOL,
    IsDeltaPayload: GO_BOOL,
    DisablePayloadBackoff: GO_BOOL,
    MaxFailureCountPerUrl: GO_UINT,
  },
};

class Refusal extends Error {}

export function readAsGoOmaha(
  asked: readonly GoOmahaAsked[],
  answer: { readonly status: number; readonly contentType: string | null; readonly body: string },
): GoOmahaReading {
  try {
    return { kind: "ok", apps: readAnswer(asked, answer) };
  } catch (error) {
    if (error instanceof Refusal) return { kind: "error", why: error.message };
    throw error;
  }
}

function readAnswer(
  asked: readonly GoOmahaAsked[],
  { status, contentType, body }: { status: number; contentType: string | null; body: string },
): GoOmahaApp[] {
  if (status !== 200) throw new Refusal(`HTTP status ${status}`);
  checkContentType(contentType);
  if (Buffer.byteLength(body) > LIMIT_BYTES) throw new Refusal("the body is larger than 1 MiB");
  const root = readXml(body);
  if (root?.name !== "response") throw new Refusal("the body is no response document");
  if (root.attributes.get("protocol") !== "3.0") throw new Refusal("protocol is not 3.0");
  checkTypes(root);
  const apps = childrenNamed(root, "app");
  if (apps.length !== asked.length) throw new Refusal(`${asked.length} apps asked, ${apps.length} answered`);
  return apps.map((app, index) => readApp(app, asked[index]));
}

function checkContentType(contentType: string | null): void {
  const [type = "", ...parameters] = (contentType ?? "").split(";").map((part) => part.trim().toLowerCase());
  if (!["", "text/xml", "application/xml"].includes(type)) throw new Refusal(`content type ${contentType}`);
  const charset = parameters.find((parameter) => parameter.startsWith("charset="));
  if (charset !== undefined && charset !== "charset=utf-8") throw new Refusal(`content type ${contentType}`);
}

function readApp(app: XmlElement, asked: GoOmahaAsked | undefined): GoOmahaApp {
  const appId = app.attributes.get("appid") ?? "";
  if (appId !== asked?.appId) throw new Refusal(`app "${asked?.appId}" is answered as "${appId}"`);
  const status = app.attributes.get("status") ?? "";
  if (status === "") throw new Refusal(`app ${appId} has no status`);
  const [updateCheck, ...more] = childrenNamed(app, "updatecheck");
  if (more.length > 0) throw new Refusal(`app ${appId} has more than one updatecheck`);
  if (asked.updateCheck !== (updateCheck !== undefined)) throw new Refusal(`app ${appId}: updatecheck asked or not?`);
  acknowledged(app, "ping", asked.ping ? 1 : 0);
  acknowledged(app, "event", asked.events);
  return { appId, status, updateCheck: updateCheck?.attributes.get("status") ?? null };
}

function acknowledged(app: XmlElement, name: string, count: number): void {
  const found = childrenNamed(app, name).filter((one) => one.attributes.get("status") === "ok").length;
  if (found !== count) throw new Refusal(`${count} ${name} sent, ${found} answered ok`);
}

function checkTypes(element: XmlElement): void {
  for (const [name, type] of Object.entries(TYPED[element.name] ?? {})) {
    const value = element.attributes.get(name);
    if (value !== undefined && !type.test(value)) throw new Refusal(`${element.name} ${name}="${value}"`);
  }
  for (const child of element.children) checkTypes(child);
}
