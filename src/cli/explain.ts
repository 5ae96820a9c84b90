/** `turnout explain NODE`: why a node does or does not get an update. */
import { Command } from "commander";
import { Api, type AppOptions, acting, appOption, jsonOption, serverOption } from "./api.ts";
import { appPath, findNode } from "./naming.ts";
import { printable, printJson, say, shortTime, table } from "./terminal.ts";

interface Explanation {
  readonly instance_id: string;
  readonly version: string;
  readonly state: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly held: { readonly since: string; readonly by: string; readonly reason: string } | null;
  readonly own_group_id: string | null;
  readonly reason: string;
  readonly text: string;
  readonly not_before: string | null;
  readonly steps: readonly { readonly rule: string; readonly verdict: string; readonly text: string }[];
}

export function explainCommand(): Command {
  return new Command("explain")
    .description("the decision that a node would get now, rule by rule, and when it could change")
    .argument("<node>", "its machine id or alias")
    .addOption(appOption())
    .addOption(serverOption())
    .addOption(jsonOption())
    .action(acting(explain));
}

async function explain(node: string, options: AppOptions): Promise<void> {
  const api = new Api(options.server);
  const { path } = await findNode(api, await appPath(api, options.app), node);
  const explanation = await api.call<Explanation>("GET", `${path}/explain`);
  if (options.json) return printJson(explanation);
  const { instance_id: id, version, state, text, reason, not_before: notBefore, steps } = explanation;
  const rows = steps.map((step) => [SIGN[step.verdict] ?? step.verdict, step.rule, step.text]);
  say(`node ${id}, running ${version} (${state})`);
  process.stdout.write(`${care(explanation)}\n${table(["", "RULE", "WHY"], rows)}\n`);
  say(`${reason}: ${text}`);
  if (notBefore !== null) say(`this can change by itself from ${shortTime(notBefore)} on`);
}

/** What people have set of it, a line each. */
function care({ labels, held, own_group_id: ownGroup }: Explanation): string {
  const written = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return [
    ...(written.length > 0 ? [`labels: ${written.join(", ")}`] : []),
    ...(held === null ? [] : [`held by ${held.by} since ${shortTime(held.since)}: ${held.reason}`]),
    ...(ownGroup === null ? [] : ["put into its group by hand, whatever its track"]),
  ]
    .map((line) => `${printable(line)}\n`)
    .join("");
}

const SIGN: Readonly<Record<string, string>> = { pass: "yes", stop: "NO", skip: "-" };
