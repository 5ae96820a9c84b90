/** `turnout explain NODE`: why a node does or does not get an update. */
import { Command } from "commander";
import {
  Api,
  ApiError,
  acting,
  appOption,
  jsonOption,
  printJson,
  type ServerOptions,
  serverOption,
  shortTime,
  table,
} from "./api.ts";

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
    .argument("<node>", "the machine id")
    .addOption(appOption())
    .addOption(serverOption())
    .addOption(jsonOption())
    .action(acting(explain));
}

async function explain(node: string, options: ServerOptions): Promise<void> {
  const api = new Api(options.server);
  const explanation = await find(api, options.app, node);
  if (options.json) return printJson(explanation);
  const { instance_id: id, version, state, text, reason, not_before: notBefore, steps } = explanation;
  const rows = steps.map((step) => [SIGN[step.verdict] ?? step.verdict, step.rule, step.text]);
  process.stdout.write(`node ${id}, running ${version} (${state})\n${care(explanation)}\n`);
  process.stdout.write(`${table(["", "RULE", "WHY"], rows)}\n`);
  process.stdout.write(`${reason}: ${text}\n`);
  if (notBefore !== null) process.stdout.write(`this can change by itself from ${shortTime(notBefore)} on\n`);
}

/** What people have set of it, a line each. */
function care({ labels, held, own_group_id: ownGroup }: Explanation): string {
  const written = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return [
    ...(written.length > 0 ? [`labels: ${written.join(", ")}`] : []),
    ...(held === null ? [] : [`held by ${held.by} since ${shortTime(held.since)}: ${held.reason}`]),
    ...(ownGroup === null ? [] : ["put into its group by hand, whatever its track"]),
  ]
    .map((line) => `${line}\n`)
    .join("");
}

const SIGN: Readonly<Record<string, string>> = { pass: "yes", stop: "NO", skip: "-" };

/** A node is asked for in one group after another: it does not say which one it is in. */
async function find(api: Api, app: string, node: string): Promise<Explanation> {
  const groups = await api.groups(app);
  for (const { id } of groups) {
    const path = `/apps/${encodeURIComponent(app)}/groups/${id}/instances/${encodeURIComponent(node)}/explain`;
    try {
      return await api.call<Explanation>("GET", path);
    } catch (error) {
      if (!(error instanceof ApiError) || !error.message.startsWith("instance not found")) throw error;
    }
  }
  throw new ApiError(
    `there is no node "${node}" in any of the ${groups.length} groups; it is found by its whole machine id`,
  );
}
