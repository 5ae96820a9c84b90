/** What people ask of rollouts: the addresses, and what each field may be. */
import { z } from "zod";
import { strategyFields, strategySchema } from "../fleet/strategy.ts";

export const PATH = "/apps/:app/groups/:group/rollouts";
export const TAG = "rollouts";
const reason = z.string().min(1).max(1_000);
/** The revision that the caller has seen: if the rollout has moved since, nothing is done. `If-Match` is as good. */
const revision = z.number().int().min(1);

export const createBody = z.strictObject({
  package_id: z.string().optional(),
  strategy: strategySchema.optional(),
  start_at: z.iso
    .datetime({ offset: true, error: "must be a time such as 2026-03-04T22:00:00Z" })
    .transform((text) => Date.parse(text))
    .optional(),
  reason: reason.optional(),
});

export const actionBody = z.strictObject({ reason: reason.optional(), revision: revision.optional() });
export const abortBody = actionBody.extend({
  rollback: z.boolean().default(false),
  to: z.string().max(255).optional(),
});
export const changeBody = z.strictObject({ ...strategyFields, reason: reason.optional(), revision });
