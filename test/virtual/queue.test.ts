import fc from "fast-check";
import { expect, it } from "vitest";
import { DueQueue } from "../../src/virtual/queue.ts";

it("gives back what is due in the order of time, also when more comes in between", () => {
  const command = fc.oneof(fc.integer({ min: 0, max: 1000 }), fc.constant("pop" as const));
  fc.assert(
    fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
      const queue = new DueQueue();
      const model: { at: number; item: number }[] = [];
      for (const [item, at] of commands.entries()) {
        if (at !== "pop") {
          queue.push(at, item);
          model.push({ at, item });
          continue;
        }
        const first = Math.min(...model.map((entry) => entry.at));
        expect(queue.firstAt).toBe(first);
        const popped = queue.pop();
        const place = model.findIndex((entry) => entry.item === popped);
        expect(popped === undefined ? model.length : model[place]?.at).toBe(popped === undefined ? 0 : first);
        if (place !== -1) model.splice(place, 1);
      }
      expect(queue.size).toBe(model.length);
    }),
  );
});
