import { describe, expect, it } from "vitest";
import { caught } from "../cli/caught.ts";
import { aTurnout, checks, FLATCAR, release } from "../e2e/turnout.ts";
import { aPayload, described } from "../payloads/build.ts";
import { ADMIN, answerOf, bring, channel, round, siteOf, siteToken, type World, worlds } from "./world.ts";

let world: World;
worlds((one) => {
  world = one;
});

const payload = aPayload("main", 64);
const portOf = (url: string) => new URL(url).port;

describe("when the link is down", () => {
  it("the site goes on with what it has, and says since when; when it is back, both sides hear of each other", async () => {
    const folder = world.folder();
    const central = await world.central({}, folder);
    await release(central.api, "4230.2.1");
    const site = await world.site(central);
    await round(site);
    const lastHeard = () => central.api("GET", "/sites/berlin");
    const before = await lastHeard();
    await world.stop(central.turnout);

    const down = await round(site);
    expect(down).toMatchObject({ state: "failing", failures: 1 });
    expect(down.error).toMatch(/^the central server can't be reached: .*ECONNREFUSED/);
    expect(await site.omaha(checks())).toContain('<updatecheck status="ok"');
    expect(await channel(site.api)).toBe("4230.2.1");
    const refused = { body: { name: "mine", color: "#ffcc00", arch: 1 } };
    expect((await answerOf(site.url, "POST", `/apps/${FLATCAR}/channels`, refused))[0]).toBe(409);
    expect((await round(site, 20)).failures).toBe(2);
    const status = () => caught(["status", "--server", site.url]);
    expect((await status()).out).toMatch(
      /^central +http:\/\/127\.0\.0\.1:\d+, failing, last answered \d{4}-\d\d-\d\d \d\d:\d\d UTC$/m,
    );
    expect((await status()).code, "a link fails now and then").toBe(0);
    await round(site, 20);
    expect(await status()).toMatchObject({
      code: 3,
      out: expect.stringContaining("\n! central server: the central server can't be reached: "),
    });

    const back = await world.central({ TURNOUT_PORT: portOf(central.url) }, folder);
    await release(back.api, "4230.2.2");
    expect(await round(site, 20)).toMatchObject({ state: "synced", failures: 0, error: null });
    expect(await channel(site.api)).toBe("4230.2.2");
    expect(await lastHeard()).toMatchObject({ instance: before.instance, total_nodes: 1, up_to_date: true });
    expect((await status()).code).toBe(0);
    const atCentral = await caught(["status"], { environment: { TURNOUT_SERVER: back.url, TURNOUT_TOKEN: ADMIN } });
    expect([atCentral.code, atCentral.out]).toEqual([
      0,
      expect.stringMatching(/^berlin +1 +\S+ \S+ UTC +up to date$/m),
    ]);
  });

  it("the site asks less and less often, but every quarter of an hour", async () => {
    const site = await world.start(siteOf("http://127.0.0.1:9", "turnout_x"), { central: { random: () => 0.5 } });
    const waits: number[] = [];
    for (let failure = 0; failure < 7; failure += 1) {
      const { next_ts: next } = await round(site, 20);
      waits.push((Date.parse(String(next)) - site.clock.now()) / 60_000);
    }
    expect(waits).toEqual([1, 2, 4, 8, 15, 15, 15]);
    await round(site, 14);
    expect((await site.api<{ failures: number }>("GET", "/central")).failures).toBe(7);
  });

  it("a site that is restarted meanwhile is as it was", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    const dataDir = world.folder();
    const settings = siteOf(central.url, await siteToken(central.api, "berlin"));
    const site = await world.start(settings, { dataDir });
    await round(site);
    await world.stop(site);
    await world.stop(central.turnout);
    const again = await world.start(settings, { dataDir, clock: site.clock });
    expect(await again.api("GET", "/central")).toMatchObject({ state: "synced", applications: [{ id: FLATCAR }] });
    expect(await again.omaha(checks())).toContain('<updatecheck status="ok"');
    expect(await round(again)).toMatchObject({ state: "failing" });
  });

  it("files that somebody brings by hand move the channel that waited for them", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1", { ...described(payload), hosting: "only" });
    const dataDir = world.folder();
    const settings = siteOf(central.url, await siteToken(central.api, "berlin"));
    const site = await world.start(settings, { dataDir });
    expect(await round(site)).toMatchObject({ state: "held" });
    await world.stop(central.turnout);
    await world.stop(site);
    // A restart forgets nothing of it.
    const again = await world.start({ ...settings, TURNOUT_DISK_RESERVE: "0" }, { dataDir, clock: site.clock });
    const { packages } = await again.api<{ packages: { id: string }[] }>("GET", `/apps/${FLATCAR}/packages`);
    await bring(again.url, packages[0]?.id ?? "", payload);
    expect(await round(again)).toMatchObject({ state: "failing", held: [] });
    expect(await channel(again.api)).toBe("4230.2.1");
  });

  it.each([
    ["the next round", { next_at: Date.UTC(2036, 0, 1) }],
    ["a lease", { lease_until: Date.UTC(2036, 0, 1) }],
  ])("a clock that was ten years ahead keeps %s waiting no longer than one that was right", async (_, ahead) => {
    const central = await world.central();
    const site = await world.site(central);
    await site.turnout.store.write((tx) => tx.updateTable("central").set(ahead).execute());
    expect(await round(site)).toMatchObject({ state: "synced" });
  });

  it("a process that died in the middle of a round keeps the next one waiting two minutes, not for ever", async () => {
    const central = await world.central();
    const site = await world.site(central);
    await site.turnout.store.write((tx) =>
      tx
        .updateTable("central")
        .set({ lease_until: site.clock.now() + 120_000 })
        .execute(),
    );
    await site.turnout.edge?.run();
    expect(await site.api("GET", "/central")).toMatchObject({ state: "new" });
    expect(await round(site)).toMatchObject({ state: "synced" });
  });

  it("and not at all the one after it: it was this site's only one", async () => {
    const central = await world.central();
    const dataDir = world.folder();
    const settings = siteOf(central.url, await siteToken(central.api, "berlin"));
    const site = await world.start(settings, { dataDir });
    const { clock } = site;
    await site.turnout.store.write((tx) =>
      tx
        .updateTable("central")
        .set({ lease_until: clock.now() + 120_000 })
        .execute(),
    );
    await world.stop(site);
    const again = await world.start(settings, { dataDir, clock });
    await again.turnout.edge?.run();
    expect(await again.api("GET", "/central")).toMatchObject({ state: "synced" });
  });
});

describe("a token that is good no more", () => {
  it("stops the news and nothing else, and is said on both sides", async () => {
    const central = await world.central();
    await release(central.api, "4230.2.1");
    const site = await world.site(central);
    await round(site);
    const { tokens } = await central.api<{ tokens: { id: string; role: string }[] }>("GET", "/tokens");
    await central.api("DELETE", `/tokens/${tokens.find(({ role }) => role === "site")?.id}`);
    const state = await round(site);
    expect(state).toMatchObject({ state: "failing", applications: [{ id: FLATCAR }] });
    expect(state.error).toContain("it answered 401: a valid token is needed");
    expect(await site.omaha(checks())).toContain('<updatecheck status="ok"');
  });

  it("of another site is refused", async () => {
    const central = await world.central();
    const token = await siteToken(central.api, "paris");
    const site = await world.start(siteOf(central.url, token, "berlin"));
    const { error } = await round(site);
    expect(error).toContain('is of site "paris", not "berlin"');
  });
});

describe("the settings", () => {
  it.each([
    [{ TURNOUT_CENTRAL_URL: "https://c.example.org" }, "set all three, or none"],
    [siteOf("http://c.example.org", "turnout_x"), "must begin with https://"],
    [
      { ...siteOf("https://c.example.org", "t"), TURNOUT_CENTRAL_INTERVAL: "1 seconds" },
      "between 10 seconds and 1 day",
    ],
    [siteOf("https://c.example.org", "t", "a/b"), "TURNOUT_SITE"],
  ])("%j are refused", async (settings, why) => {
    await expect(aTurnout(settings)).rejects.toThrow(why);
  });
});
