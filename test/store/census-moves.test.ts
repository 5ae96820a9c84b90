import fc from "fast-check";
import { expect, it } from "vitest";
import { censusOf, takeCensus, type Within } from "../../src/store/census.ts";
import { deleteNodes, moveNodes } from "../../src/store/node-care.ts";
import { withSeen } from "../../src/store/node-list.ts";
import { aFilledNode, fill, someStatus } from "./fleets.ts";
import { aDatabase, NOW } from "./in-process.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const WITHIN = ["1h", "1d", "7d", "30d"] satisfies Within[];

const node = fc.record({
  groupNo: fc.constantFrom(1, 2),
  version: fc.constantFrom("4081.2.0", "4230.2.1"),
  status: fc.nat(3).map(someStatus),
  seenAt: fc.constantFrom(HOUR / 2, 3 * HOUR, 2 * DAY, 20 * DAY, 90 * DAY).map((ago) => NOW - ago),
  mirror: fc.constantFrom(false, false, false, true),
});
const step = fc.record({
  to: fc.constantFrom(null, 1, 2),
  nos: fc.uniqueArray(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
});

it("a census is right about nodes that people move or delete, however long ago they were seen", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(node, { minLength: 20, maxLength: 20 }), fc.array(step), async (nodes, steps) => {
      const world = await aDatabase();
      try {
        const ids = nodes.map((_, index) => `{b7d94e2c-61f8-4a0f-9d33-${String(index).padStart(12, "0")}}`);
        fill(world, nodes.map(({ mirror, ...one }, index) => aFilledNode(index + 1, mirror ? { ...one, id: ids[index] ?? "" } : one))); // biome-ignore format: one line
        await takeCensus(world.store, NOW);
        for (const { to, nos } of steps) {
          await world.store.write(async (tx) => {
            const some = await withSeen(tx).selectAll("nodes").select("seen.at").where("nodes.no", "in", nos).execute();
            await (to === null ? deleteNodes(tx, some, NOW) : moveNodes(tx, some, { no: to, id: `group-${to}` }));
          });
          for (const within of WITHIN) {
            const counted = async (countedAtOnce: number) => {
              const census = await censusOf(world.store.read, [1, 2], within, NOW, countedAtOnce);
              return [1, 2].map((group) => (census.get(group) ?? []).map(({ version, status, nodes }) => `${version} ${status} ${nodes}`).sort()); // biome-ignore format: one line
            };
            expect(await counted(0)).toEqual(await counted(1_000));
          }
        }
      } finally {
        world.close();
      }
    }),
    { numRuns: 20 },
  );
});
