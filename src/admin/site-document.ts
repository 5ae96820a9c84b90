/** What a site gets from its central server: the fleet, which files it can have, and what is stopped there. */
import { z } from "zod";
import { archSchema, fleetObject } from "../fleet/document.ts";
import type { Db } from "./context.ts";

/** Servers below one another. */
const MAX_DEPTH = 16;
const pathObject = z.array(z.uuid()).min(1).max(MAX_DEPTH);

const packageName = { application: z.uuid(), version: z.string().max(255), arch: archSchema };

export const siteDocument = z
  .object({
    /** Instance ids: the servers that this comes through, the topmost first, the one that answers last. */
    path: pathObject,
    payloads: z.object({
      /** Below the server's own address. */
      path: z.string().regex(/^\/payloads(\/[\w.~-]{1,1000})?$/),
      /** That downloads are to be asked for with; null: nothing. */
      authorization: z
        .string()
        .regex(/^Basic [\w+/=]{1,2000}$/)
        .nullable(),
    }),
    /** Packages whose files can be had there. */
    hosted: z.array(z.object(packageName)).max(100_000),
    /** Rollouts that were halted or aborted there. */
    stopped: z
      .array(
        z.object({
          ...packageName,
          group: z.uuid(),
          state: z.enum(["halted", "aborted"]),
          reason: z.string().max(10_000),
        }),
      )
      .max(10_000),
    fleet: fleetObject,
  })
  .meta({ id: "SiteDocument" });
export type SiteDocument = z.input<typeof siteDocument>;

/** What was applied here last; null: nothing, or this is no site. */
export async function appliedDocument(db: Db): Promise<SiteDocument | null> {
  const row = await db.selectFrom("central").select("document").executeTakeFirst();
  return row?.document == null ? null : (JSON.parse(row.document) as SiteDocument); // checked when it came in
}
