/** The kept counters against the nodes themselves: they should never differ. */
import type { Router } from "express";
import { z } from "zod";
import { recount } from "../store/recount.ts";
import type { AdminContext } from "./context.ts";
import { onlyMethods, validated } from "./problem.ts";

export function counterRoutes(router: Router, { store }: AdminContext): void {
  router
    .route("/counters/recount")
    .post(async (request, response) => {
      const { repair } = validated(z.strictObject({ repair: z.boolean().default(false) }), request.body ?? {});
      // In one transaction between two batches, also when nothing is written: nodes and counters must be of one moment.
      const differences = await store.write((tx) => recount(tx, repair));
      response.json({ differences, repaired: repair && differences.length > 0 });
    })
    .all(onlyMethods("POST"));
}
