/** Where this server's configuration comes from, if from elsewhere. */
import { z } from "zod";
import { archSchema } from "../fleet/document.ts";
import { type Db, timestamp } from "./context.ts";
import { type Operation, operation } from "./operation.ts";
import { instanceId } from "./site-documents.ts";

/** A channel that does not point yet to what it points to at the central server. */
export const heldChannel = z.object({
  application: z.uuid(),
  channel: z.string(),
  arch: archSchema,
  /** That it points to there. */
  version: z.string(),
  /** That it points to here meanwhile; null: to none. */
  stays: z.string().nullable(),
  /** Whose files are awaited: its target's, or a floor's. */
  waits_for: z.string(),
});
export type HeldChannel = z.output<typeof heldChannel>;

const centralObject = z
  .object({
    instance: z.uuid(),
    /**
     * `none`: there is no central server. `new`: nothing has come from it yet. `synced`: what was applied is what it has.
     * `held`: but some channels wait for files. `failing`: the last try failed, and what was applied before goes on.
     */
    state: z.enum(["none", "new", "synced", "held", "failing"]),
    url: z.string().nullable(),
    site: z.string().nullable(),
    /** Instance ids that the configuration comes through, the topmost first. */
    path: z.array(z.uuid()),
    /** Applications that come from there: their configuration is changed there. */
    applications: z.array(z.object({ id: z.uuid(), name: z.string() })),
    held: z.array(heldChannel),
    /** When it last answered with the configuration, changed or not. */
    fetched_ts: z.iso.datetime().nullable(),
    applied_ts: z.iso.datetime().nullable(),
    reported_ts: z.iso.datetime().nullable(),
    next_ts: z.iso.datetime().nullable(),
    error: z.string().nullable(),
    /** Tries that failed since the last that went well. */
    failures: z.int(),
  })
  .meta({ id: "Central" });

const getCentral = operation({
  id: "getCentral",
  method: "get",
  path: "/central",
  tag: "sites",
  summary: "The server that this one gets its configuration from, and how that goes",
  role: "viewer",
  confined: "everywhere",
  answer: centralObject,
  async handle({ read }) {
    const instance = await instanceId(read);
    const row = await read.selectFrom("central").selectAll().executeTakeFirst();
    const time = (at: number | null | undefined) => (at == null ? null : timestamp(at));
    // Texts of the table were checked when they came in.
    const held = JSON.parse(row?.held ?? "[]") as HeldChannel[];
    const ids = JSON.parse(row?.applications ?? "[]") as string[];
    return {
      instance,
      state:
        row === undefined
          ? ("none" as const)
          : row.error !== null
            ? ("failing" as const)
            : row.applied_at === null
              ? ("new" as const)
              : held.length > 0
                ? ("held" as const)
                : ("synced" as const),
      url: row?.url ?? null,
      site: row?.site ?? null,
      path: JSON.parse(row?.path ?? "[]") as string[],
      applications: await namesOf(read, ids),
      held,
      fetched_ts: time(row?.fetched_at),
      applied_ts: time(row?.applied_at),
      reported_ts: time(row?.reported_at),
      next_ts: time(row?.next_at),
      error: row?.error ?? null,
      failures: row?.failures ?? 0,
    };
  },
});

export const centralOperations: readonly Operation[] = [getCentral];

async function namesOf(db: Db, ids: readonly string[]) {
  const rows = await db.selectFrom("applications").select(["id", "name"]).orderBy("no").execute();
  return rows.filter(({ id }) => ids.includes(id));
}
