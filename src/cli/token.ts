/** `turnout token`: who may use the API. */
import { Command, Option } from "commander";
import { Api, ApiError, acting, jsonOption, type ServerOptions, serverOption, thereIsNo } from "./api.ts";
import { moment } from "./moments.ts";
import { groupArchOption } from "./naming.ts";
import { type Scoped, scopeFrom } from "./scope.ts";
import { note, printJson, printJsonList, say, several, shortTime, table } from "./terminal.ts";

interface TokenView {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly applications: readonly string[] | null;
  readonly groups: readonly string[] | null;
  /** Not null when its role is `site`. */
  readonly site: string | null;
  readonly state: string;
  readonly created_by: string;
  readonly expires_ts: string | null;
  readonly last_used_ts: string | null;
}

interface CreateOptions extends ServerOptions, Scoped {
  readonly role: string;
  readonly site?: string;
  readonly expires?: string;
}

export function tokenCommand(): Command {
  const command = new Command("token").description("tokens: who may use the API");
  const sub = (name: string, description: string) =>
    command.command(name).description(description).addOption(serverOption()).addOption(jsonOption());
  sub("list", "the tokens, the newest first").action(acting(list));
  sub("create", "make a token; it is printed this once, alone on the standard output")
    .argument("<name>", "shown in the audit log")
    .addOption(
      new Option(
        "--role <role>",
        "viewer reads, operator also steers rollouts and nodes, admin also changes all else; site is for an edge site's server",
      )
        .choices(["viewer", "operator", "admin", "site"])
        .makeOptionMandatory(),
    )
    .option("--app <app...>", "only for these applications: id, product id or name")
    .option("--group <group...>", "changes only these groups: id, name or track")
    .addOption(groupArchOption())
    .option("--site <name>", "with the role site: which one")
    .addOption(
      new Option("--expires <when>", "e.g. 90d, or 2027-03-04T12:00:00Z; never when left out").argParser(
        moment("from now"),
      ),
    )
    .addHelpText("after", CREATE_HELP)
    .action(acting(create));
  sub("revoke", "from now on the token is nobody's").argument("<token>", "its name or id").action(acting(revoke));
  return command;
}

const CREATE_HELP = `
For example, for a pipeline that may steer the rollouts of one group for 90 days:

  TOKEN=$(turnout token create ci --role operator --group canary --expires 90d)

For the server of an edge site:

  turnout token create "site berlin" --role site --site berlin --app "Flatcar Container Linux"
`;

async function list(options: ServerOptions): Promise<void> {
  const tokens = await new Api(options.server).all<TokenView>("/tokens", "tokens");
  if (options.json) return printJsonList("tokens", tokens);
  const time = (iso: string | null) => (iso === null ? null : shortTime(iso));
  const rows = tokens.map((one) => [
    one.name,
    one.role,
    scopeOf(one),
    one.state,
    time(one.expires_ts),
    time(one.last_used_ts),
  ]);
  process.stdout.write(table(["TOKEN", "ROLE", "FOR", "STATE", "EXPIRES", "LAST USED"], rows));
}

function scopeOf({ applications, groups, site }: TokenView): string {
  if (groups !== null) return several(groups.length, "group");
  const what = applications === null ? "everything" : several(applications.length, "application");
  return site === null ? what : `${site}, ${what}`;
}

async function create(name: string, options: CreateOptions): Promise<void> {
  const api = new Api(options.server);
  const { role, site, expires } = options;
  const body = {
    name,
    role,
    ...(site !== undefined && { site }),
    ...(await scopeFrom(api, options)),
    ...(expires !== undefined && { expires_ts: expires }),
  };
  const made = await api.call<TokenView & { readonly token: string }>("POST", "/tokens", body);
  if (options.json) return printJson(made);
  const until = made.expires_ts === null ? "" : ` until ${shortTime(made.expires_ts)}`;
  note(`token "${made.name}": ${made.role} for ${scopeOf(made)}${until}; it is not shown again`);
  say(made.token);
}

async function revoke(name: string, options: ServerOptions): Promise<void> {
  const api = new Api(options.server);
  const tokens = (await api.all<TokenView>("/tokens", "tokens")).filter(({ state }) => state !== "revoked");
  const found = tokens.find((one) => one.id === name.toLowerCase() || one.name === name);
  if (found === undefined)
    throw new ApiError(
      thereIsNo(
        `token "${name}"`,
        tokens.map((one) => `"${one.name}"`),
      ),
    );
  await api.call("DELETE", `/tokens/${found.id}`);
  if (options.json) printJson(await api.call<TokenView>("GET", `/tokens/${found.id}`));
  else say(`token "${found.name}" is revoked`);
}
