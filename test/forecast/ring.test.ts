import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Ring } from "../../src/forecast/ring.ts";

const INTERVAL = 60_000;

describe("a ring of waiting nodes", () => {
  it("knows who asks next, as looking at all of them does", () => {
    const phases = fc.uniqueArray(fc.integer({ min: 0, max: INTERVAL - 1 }), { minLength: 1, maxLength: 30 });
    const steps = fc.array(
      fc.record({ add: fc.boolean(), node: fc.nat(29), at: fc.integer({ min: 0, max: 10 * INTERVAL }) }),
    );
    fc.assert(
      fc.property(phases, steps, (of, what) => {
        const ring = new Ring(INTERVAL, Float64Array.from(of));
        const waiting = new Set<number>();
        for (const { add, node, at } of what) {
          if (node < of.length && add !== waiting.has(node)) {
            if (add) ring.add(node);
            else ring.remove(node);
            if (add) waiting.add(node);
            else waiting.delete(node);
          }
          const times = [...waiting].map((one) => {
            const phase = of[one] ?? 0;
            return { node: one, at: Math.ceil((at - phase) / INTERVAL) * INTERVAL + phase };
          });
          times.sort((a, b) => a.at - b.at);
          expect(ring.next(at)).toEqual(times[0] ?? null);
        }
      }),
    );
  });
});
