/** `turnout nodes bulk`: the same for all nodes that a filter picks out. */
import { Command, Option } from "commander";
import { Api, type AppOptions, acting, ofApp } from "./api.ts";
import { type Given, withFields } from "./fields.ts";
import { appPath } from "./naming.ts";
import { holdBody, labelsArgument, type Reasoned, reasonOption, type Target, targeted, targetOf } from "./node-care.ts";
import { FILTER, filterOf } from "./node-filter.ts";
import type { LabelChanges } from "./node-labels.ts";
import { printJson, say, several } from "./terminal.ts";

/** Ids that are printed; --json has a hundred. */
const SHOWN = 10;

type BulkOptions = AppOptions & Given & { readonly yes?: true };

interface Answer {
  readonly dry_run: boolean;
  readonly matched: number;
  readonly changed: number;
  /** The first hundred. */
  readonly instances: readonly string[];
}

/** What is done, in the API's word and in two forms for sentences. */
interface Action {
  readonly action: string;
  readonly does: string;
  readonly done: string;
}
const HOLD: Action = { action: "hold", does: "holds", done: "held" };
const RELEASE: Action = { action: "release", does: "releases", done: "released" };
const LABEL: Action = { action: "label", does: "labels", done: "labelled" };
const MOVE: Action = { action: "move", does: "moves", done: "moved" };
const DELETE: Action = { action: "delete", does: "deletes", done: "deleted" };

export function bulkCommand(): Command {
  const command = new Command("bulk").description("the same for many nodes; without --yes it is only said which");
  const sub = (name: string, description: string) =>
    withFields(ofApp(command.command(name).description(description)), FILTER)
      .addOption(new Option("-y, --yes", "do it; without, it is only said which nodes it would be"))
      .addHelpText("after", HELP);
  sub("hold", "give nodes no update until they are released")
    .addOption(reasonOption())
    .action(acting((options: BulkOptions & Reasoned) => run(HOLD, options, async () => holdBody(options))));
  sub("release", "let nodes that are held have updates again").action(
    acting((options: BulkOptions) => run(RELEASE, options)),
  );
  sub("label", "write labels on nodes, or take them away; all others stay")
    .addArgument(labelsArgument())
    .action(acting((labels: LabelChanges, options: BulkOptions) => run(LABEL, options, async () => ({ labels }))));
  targeted(sub("move", "put nodes into another group, whatever their track")).action(
    acting((options: BulkOptions & Target) =>
      run(MOVE, options, async (api, app) => ({ group_id: (await targetOf(api, app, options))?.id ?? null })),
    ),
  );
  sub("delete", "delete nodes with their history").action(acting((options: BulkOptions) => run(DELETE, options)));
  return command;
}

const HELP = `
All --where-… must hold, and there must be one. For example:

  turnout nodes bulk hold --where-alias "rack7-*" --reason "rack 7 moves"
  turnout nodes bulk label old=yes env- --where-version "<4100.0.0" --yes
  turnout nodes bulk delete --where-not-seen-for 90d --yes
`;

/** @param more what the action wants to know besides. */
async function run(
  { action, does, done }: Action,
  options: BulkOptions,
  more: (api: Api, app: string) => Promise<object> = async () => ({}),
): Promise<void> {
  const api = new Api(options.server);
  const app = await appPath(api, options.app);
  const filter = await filterOf(api, app, options);
  const body = { action, ...(await more(api, app)), filter, dry_run: options.yes !== true };
  const answer = await api.call<Answer>("POST", `${app}/instances/bulk`, body);
  if (options.json) return printJson(answer);
  const { dry_run: dry, matched, changed, instances } = answer;
  if (matched === 0) {
    say("there are no such nodes");
    return;
  }
  say(`${several(matched, "node")}:`);
  for (const id of instances.slice(0, SHOWN)) say(`  ${id}`);
  if (matched > SHOWN) say(`  and ${matched - SHOWN} more`);
  if (dry) say(`nothing was changed; --yes ${does} ${matched === 1 ? "it" : "them"}`);
  else say(`${done} ${changed} of ${matched}${changed < matched ? "; the rest stays as it was" : ""}`);
}
