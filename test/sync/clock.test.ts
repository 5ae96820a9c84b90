/** What was written while the clock was wrong keeps nothing waiting for years. */
import { describe, expect, it } from "vitest";
import { aFollower, aVersion, handmade } from "./world.ts";

const first = aVersion("4152.2.0");
const second = aVersion("4230.2.1");

describe("a clock that was ten years ahead, and is right again,", () => {
  const years = { days: 3_652 };
  const right = { days: -3_652 };

  it("keeps no upstream waiting longer than one that was always right", async () => {
    const upstream = await handmade();
    upstream.offer(first);
    const site = await aFollower(upstream.omaha);
    const { clock, turnout } = site.server;
    clock.move(years);
    await site.sync();
    clock.move(right);
    upstream.offer(second);
    expect(await site.sync()).toMatchObject({ moved_to: "4230.2.1" });
    const asked = upstream.asked.length;
    await site.sync();
    expect(upstream.asked).toHaveLength(asked);

    // A process that died then.
    const ahead = { lease: "x", lease_until: clock.now() + 3_652 * 86_400_000, next_check_at: clock.now() };
    await turnout.store.write((tx) => tx.updateTable("upstreams").set(ahead).execute());
    await site.sync();
    expect(upstream.asked).toHaveLength(asked + 1);
  });

  it("takes nobody's lease who is at work, though their clock is a little ahead", async () => {
    const upstream = await handmade();
    upstream.offer(first);
    const site = await aFollower(upstream.omaha);
    const others = { lease: "x", lease_until: site.server.clock.now() + 300_000 + 60_000 };
    await site.server.turnout.store.write((tx) => tx.updateTable("upstreams").set(others).execute());
    await site.check();
    expect(upstream.asked).toEqual([]);
  });

  it("makes no release too young for as long", async () => {
    const upstream = await handmade();
    upstream.offer(first);
    const site = await aFollower(upstream.omaha, { min_age: "3d" });
    const { clock } = site.server;
    clock.move(years);
    await site.sync();
    clock.move(right);
    expect((await site.sync()).held_back).toMatch(/^4152\.2\.0 is too young; .* 2026-03-07T/);
    clock.move({ days: 3 });
    expect(await site.sync()).toMatchObject({ moved_to: "4152.2.0" });
  });
});
