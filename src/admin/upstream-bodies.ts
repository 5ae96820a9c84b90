/** What a person says of an upstream, and what of it can't be. */
import { z } from "zod";
import { parseInterval } from "../rollout/interval.ts";
import { directoryRefusal } from "../sync/directory-tree.ts";
import { ruleOf } from "../sync/http.ts";
import { KINDS, POLICIES, type UpstreamRow } from "../sync/upstreams.ts";
import { refusalOf } from "../target.ts";
import { readOnly, type Tx } from "./context.ts";
import { type ApplicationRow, checkApplication } from "./lookups.ts";
import { invalid } from "./problem.ts";
import { checkVersion } from "./version-schemes.ts";

/** Public servers are not to be asked all the time. */
const SHORTEST_INTERVAL_MS = 300_000;
const LONGEST_MS = 366 * 86_400_000;
const DEFAULT_INTERVAL = "1h";

const span = (shortestMs: number, example: string) =>
  z
    .string()
    .max(50)
    .refine(
      (text) => {
        const ms = parseInterval(text);
        return ms !== null && ms >= shortestMs && ms <= LONGEST_MS;
      },
      `must be a length of time${shortestMs > 0 ? " of 5 minutes or more" : ""}, e.g. "${example}"`,
    );
const version = z.string().max(255);

export const upstreamBody = z.strictObject({
  kind: z.enum(KINDS).default("omaha"),
  url: z
    .url({
      protocol: /^(https?|file)$/,
      error:
        "must be a URL such as https://public.update.flatcar-linux.net/v1/update/, or file:///srv/flatcar for a directory of the server",
    })
    .max(2_000),
  track: z.string().min(1).max(255),
  channel_id: z.uuid(),
  arch: z.int().min(0).max(3).optional(),
  policy: z.enum(POLICIES),
  interval: span(SHORTEST_INTERVAL_MS, DEFAULT_INTERVAL).default(DEFAULT_INTERVAL),
  min_age: span(0, "3d").nullish(),
  versions: z.array(version).max(1_000).nullish(),
  up_to: version.nullish(),
  download: z.boolean().default(true),
  private_addresses: z.boolean().default(false),
  application_id: z.string().optional(),
  ...readOnly("id", "created_ts", "created_by", "state"),
});
export type UpstreamBody = z.output<typeof upstreamBody>;

/** @throws Problem that names the field */
export async function columnsOf(
  tx: Tx,
  application: ApplicationRow,
  body: UpstreamBody,
  before: UpstreamRow | null,
  syncDirs: readonly string[],
) {
  checkApplication(application, body.application_id);
  for (const [index, pin] of (body.versions ?? []).entries()) checkVersion(`versions.${index}`, pin, application);
  if (body.up_to != null) checkVersion("up_to", body.up_to, application);
  const url = new URL(body.url);
  checkUrl(url, body, syncDirs);
  const channel = await tx
    .selectFrom("channels")
    .select(["no", "name", "arch"])
    .where("id", "=", body.channel_id.toLowerCase())
    .where("application_no", "=", application.no)
    .executeTakeFirst();
  if (channel === undefined) throw invalid("channel_id", "there is no such channel in this application");
  if (body.arch !== undefined && body.arch !== channel.arch) {
    throw invalid("arch", `must be ${channel.arch}, the architecture of the channel ${channel.name}, or be left out`);
  }
  const twin = await tx
    .selectFrom("upstreams")
    .select("no")
    .where("channel_no", "=", channel.no)
    .where("no", "!=", before?.no ?? 0)
    .executeTakeFirst();
  if (twin !== undefined) throw invalid("channel_id", `the channel ${channel.name} has an upstream already`, 409);
  return {
    channel_no: channel.no,
    kind: body.kind,
    url: url.href,
    track: body.track,
    policy: body.policy,
    check_interval: body.interval,
    min_age: body.min_age ?? null,
    versions: JSON.stringify([...new Set(body.versions)]),
    up_to: body.up_to ?? null,
    download: Number(body.download),
    private_addresses: Number(body.private_addresses),
  };
}

/** @throws Problem */
function checkUrl(url: URL, { kind, private_addresses, download }: UpstreamBody, syncDirs: readonly string[]): void {
  if (url.username !== "" || url.password !== "") {
    throw invalid("url", "must hold no user and password: everybody who sees the upstream would see them");
  }
  // Names are put behind it.
  if (kind !== "omaha" && (url.search !== "" || url.hash !== "")) {
    throw invalid("url", `must end with its path: a ${kind} is a directory, and "?" and "#" lead to none`);
  }
  if (url.protocol !== "file:") {
    const refusal = refusalOf(url, ruleOf(private_addresses));
    if (refusal !== null) throw invalid("url", refusal);
    return;
  }
  if (kind === "omaha") throw invalid("url", 'must begin with https:// or http://, or the kind be "mirror" or "plain"');
  const refusal = directoryRefusal(url.href, syncDirs);
  if (refusal !== null) throw invalid("url", refusal);
  if (!download) throw invalid("download", "must be true: nodes can't get files from a directory of the server");
}
