/** What is known of a node, for people to read. */
import type { ServerOptions } from "./api.ts";
import type { GroupView, NodeView } from "./objects.ts";
import { facts, printJson, shortTime } from "./terminal.ts";

export function printNode(node: NodeView, group: GroupView, { json }: ServerOptions): void {
  if (json) printJson(node);
  else process.stdout.write(nodeFacts(node, group));
}

export function nodeFacts(node: NodeView, group: GroupView): string {
  const { id, ip, oem, alias, created_ts: created, labels, held, application } = node;
  const { last_update_version: update, last_update_granted_ts: granted } = application;
  const labelled = Object.entries(labels).map(([label, value]) => `${label}=${value}`);
  return facts([
    ["node", id],
    ["alias", alias || null],
    ["labels", labelled.join(", ") || null],
    ["held", held === null ? null : `by ${held.by} since ${shortTime(held.since)}: ${held.reason}`],
    ...sharedFacts(node),
    ["group", `${group.name}${node.own_group_id === null ? "" : ", by hand"}`],
    ["version", application.version],
    ["status", statusText(application)],
    ["last update", update === null ? null : `${update}${granted === null ? "" : `, offered ${shortTime(granted)}`}`],
    ["last seen", shortTime(application.last_check_for_updates)],
    ["first seen", shortTime(created)],
    ["address", ip],
    ["oem", oem || null],
  ]);
}

function sharedFacts({ shared_machine_id: shared }: NodeView): (readonly [string, string])[] {
  if (shared === null) return [];
  const others = shared.others.map(
    ({ version, ip, heard_until_ts: until }) => `${version} at ${ip} (until ${shortTime(until)})`,
  );
  const heard = others.length === 0 ? "" : `; besides this one: ${others.join(", ")}`;
  return [["shared id", `by two machines or more since ${shortTime(shared.since)}: none is updated${heard}`]];
}

export function statusText({ state, error_code: code }: NodeView["application"]): string {
  return state === "failed" && code !== null ? `failed (${code})` : state;
}
