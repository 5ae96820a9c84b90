/**
 * A request as update_engine writes it, byte for byte: attribute order, indentation, explicit end tags, every attribute there.
 * Source: CLIENTS.md §1.2 and samples 01 to 14.
 */

const CLIENT = "update_engine-0.4.10";

/** What a machine says of itself in every request. */
export interface Identity {
  /** Without braces. */
  readonly appId: string;
  readonly track: string;
  readonly oem: string;
  /** 32 hexadecimal digits. */
  readonly machineId: string;
  readonly machineAlias: string;
  /** `amd64-usr` or `arm64-usr`. */
  readonly board: string;
}

/** What changes with a reboot. */
export interface Boot {
  readonly version: string;
  /** A UUID without braces. */
  readonly bootId: string;
  /** The first version that the machine ever ran. */
  readonly alephVersion: string;
}

export interface OmahaEvent {
  readonly type: number;
  readonly result: number;
  /** With the flags; null: not written. */
  readonly errorCode: number | null;
}

export type Message =
  /** `previousVersion` null: it fell back, and says so with code 44 in place of the usual event. */
  | { readonly kind: "check"; readonly previousVersion: string | null }
  | { readonly kind: "ping" }
  | { readonly kind: "event"; readonly event: OmahaEvent };

export type InstallSource = "scheduler" | "ondemandupdate";

export const ROLLED_BACK = 44;

export function renderRequest(
  identity: Identity,
  boot: Boot,
  message: Message,
  installSource: InstallSource = "scheduler",
): string {
  const machine = identity.board.startsWith("arm64") ? "aarch64" : "x86_64";
  const request = attributes([
    ["protocol", "3.0"],
    ["version", CLIENT],
    ["updaterversion", CLIENT],
    ["installsource", installSource],
    ["ismachine", "1"],
  ]);
  const os = attributes([
    ["version", "Chateau"],
    ["platform", "CoreOS"],
    ["sp", `${boot.version}_${machine}`],
  ]);
  const app = attributes([
    ["appid", `{${identity.appId}}`],
    ["version", boot.version],
    ["track", identity.track],
    ["bootid", `{${boot.bootId}}`],
    ["oem", identity.oem],
    ["oemversion", identity.oem === "" ? "" : boot.version],
    ["alephversion", boot.alephVersion],
    ["machineid", identity.machineId],
    ["machinealias", identity.machineAlias],
    ["lang", "en-US"],
    ["board", identity.board],
    ["hardware_class", ""],
    ["delta_okay", "false"],
  ]);
  // The blank before the app's ">" is update_engine's own.
  return `<?xml version="1.0" encoding="UTF-8"?>
<request${request}>
    <os${os}></os>
    <app${app} >
${children(message)}    </app>
</request>
`;
}

function children(message: Message): string {
  const ping = '        <ping active="1"></ping>\n';
  switch (message.kind) {
    case "ping":
      return ping;
    case "check": {
      const event =
        message.previousVersion === null
          ? eventElement({ type: 3, result: 0, errorCode: ROLLED_BACK })
          : `        <event eventtype="3" eventresult="2"${attributes([["previousversion", message.previousVersion]])}></event>\n`;
      return `${ping}        <updatecheck></updatecheck>\n${event}`;
    }
    case "event":
      return eventElement(message.event);
  }
}

function eventElement({ type, result, errorCode }: OmahaEvent): string {
  const code = errorCode === null ? "" : ` errorcode="${errorCode}"`;
  return `        <event eventtype="${type}" eventresult="${result}"${code}></event>\n`;
}

function attributes(pairs: readonly (readonly [string, string])[]): string {
  return pairs.map(([name, value]) => ` ${name}="${encoded(value)}"`).join("");
}

const SPECIAL: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

/** Leaves quotes as they are, as update_engine's encoder does: that makes malformed documents, and servers must cope. */
function encoded(value: string): string {
  return value.replace(/[&<>]|[^\0-\x7f]/gu, (character) => {
    return SPECIAL[character] ?? `&#x${(character.codePointAt(0) ?? 0).toString(16).toUpperCase()};`;
  });
}
