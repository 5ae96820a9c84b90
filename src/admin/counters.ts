/** The kept counters against the nodes themselves: they should never differ. */
import { z } from "zod";
import { recount } from "../store/recount.ts";
import { type Operation, operation } from "./operation.ts";

const recountCounters = operation({
  id: "recountCounters",
  method: "post",
  path: "/counters/recount",
  tag: "server",
  summary: "Count the nodes of all present rollouts again; check-ins wait meanwhile",
  role: "admin",
  confined: "everywhere",
  body: z.strictObject({ repair: z.boolean().default(false) }),
  bodyOptional: true,
  answer: z.object({
    differences: z.array(z.object({ id: z.uuid(), what: z.string(), kept: z.int(), counted: z.int() })),
    repaired: z.boolean(),
  }),
  async handle(call) {
    const { repair } = call.body;
    // In one transaction between two batches, also when nothing is written: nodes and counters must be of one moment.
    const differences = await call.change(async (tx, _now, audit) => {
      const found = await recount(tx, repair);
      if (repair && found.length > 0) {
        await audit({ subject: "counters", id: "all", before: { differences: found }, after: { differences: [] } });
      }
      return found;
    });
    return { differences, repaired: repair && differences.length > 0 };
  },
});

export const counterOperations: readonly Operation[] = [recountCounters];
