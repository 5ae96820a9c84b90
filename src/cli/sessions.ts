/** `turnout sessions`: who is logged in, and logging them out. */
import { Command } from "commander";
import { Api, ApiError, acting, jsonOption, type ServerOptions, serverOption, thereIsNo } from "./api.ts";
import { printJson, printJsonList, say, shortTime, table } from "./terminal.ts";

interface SessionView {
  readonly id: string;
  readonly name: string;
  readonly subject: string;
  readonly role: string;
  readonly address: string;
  readonly created_ts: string;
  readonly last_used_ts: string;
  readonly expires_ts: string;
}

export function sessionsCommand(): Command {
  const command = new Command("sessions").description(
    "sessions: who is logged in, where an identity provider lets people in",
  );
  const sub = (name: string, description: string) =>
    command.command(name).description(description).addOption(serverOption()).addOption(jsonOption());
  sub("list", "who is logged in, the newest login first").action(acting(list));
  sub("revoke", "log somebody out; they may log in again as long as the identity provider lets them")
    .argument("<session>", "its id, or the person's name if they have one only")
    .action(acting(revoke));
  return command;
}

function sessionsOf(api: Api): Promise<SessionView[]> {
  return api.all("/sessions", "sessions");
}

async function list(options: ServerOptions): Promise<void> {
  const sessions = await sessionsOf(new Api(options.server));
  if (options.json) return printJsonList("sessions", sessions);
  if (sessions.length === 0) {
    say("nobody is logged in");
    return;
  }
  const rows = sessions.map((one) => [
    one.name,
    one.role,
    one.address,
    shortTime(one.created_ts),
    shortTime(one.last_used_ts),
    shortTime(one.expires_ts),
    one.id,
  ]);
  process.stdout.write(table(["WHO", "ROLE", "FROM", "LOGIN", "LAST USED", "ENDS", "SESSION"], rows));
}

async function revoke(name: string, options: ServerOptions): Promise<void> {
  const api = new Api(options.server);
  const found = sessionAmong(await sessionsOf(api), name);
  await api.call("DELETE", `/sessions/${found.id}`);
  if (options.json) printJson(found);
  else say(`"${found.name}" is logged out`);
}

/** @throws ApiError */
function sessionAmong(sessions: readonly SessionView[], name: string): SessionView {
  const exact = sessions.find(({ id }) => id === name.toLowerCase());
  const [found, ...others] = exact === undefined ? sessions.filter((one) => one.name === name) : [exact];
  const shown = (of: readonly SessionView[]) => of.map((one) => `${one.id} ("${one.name}" from ${one.address})`);
  if (found === undefined) throw new ApiError(thereIsNo(`session "${name}"`, shown(sessions)));
  if (others.length === 0) return found;
  throw new ApiError(`"${name}" has several sessions: ${shown([found, ...others]).join(", ")}; say which`);
}
