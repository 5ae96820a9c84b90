import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { seedFleet } from "../../src/admin/fleet.ts";
import { fleetJsonSchema, readFleetFile } from "../../src/fleet/document.ts";
import { type Api, anApi, FLATCAR, GROUP, packageBody, STABLE } from "./api.ts";

const LTS = "ce12d83c-49df-46ad-a071-d50a531cbe3b";
const CONFIG = resolve(import.meta.dirname, "../../config");

let api: Api;
beforeEach(async () => {
  api = await anApi();
});
afterEach(() => api.close());

// biome-ignore lint/suspicious/noExplicitAny: what a test writes is checked by the server
type Fleet = { applications: any[] };

const exported = async (): Promise<Fleet> => (await api.get("/fleet").expect(200)).body;
const plan = async (fleet: unknown, prune = false) =>
  (await api.post("/fleet/plan", { fleet, prune }).expect(200)).body;
const apply = async (fleet: unknown, prune = false) =>
  (await api.post("/fleet/apply", { fleet, prune }).expect(200)).body;
const revision = async () =>
  (await api.world.store.read.selectFrom("meta").select("revision").executeTakeFirstOrThrow()).revision;

const aKey = () =>
  String(generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ type: "spki", format: "pem" }));

const WHOLE: Fleet = {
  applications: [
    {
      name: "Billing",
      product_id: "io.example.billing",
      packages: [
        { version: "1.0.0", arch: "amd64", type: "other", url: "https://example.org/1.0.0/", filename: "a.tgz" },
        {
          version: "1.1.0",
          arch: "amd64",
          type: "other",
          url: "https://example.org/1.1.0/",
          extra_files: [{ name: "b.img", size: 12 }],
        },
        {
          version: "2.0.0",
          arch: "amd64",
          type: "other",
          url: "https://example.org/2.0.0/",
          channels_blacklist: ["slow"],
        },
      ],
      channels: [
        { name: "fast", arch: "amd64", package: "2.0.0", floors: [{ version: "1.1.0", reason: "the schema" }] },
        { name: "slow", arch: "amd64", color: "#ff0000", package: "1.0.0" },
      ],
      groups: [
        // It waits for one that comes later in the list.
        {
          name: "Everybody",
          track: "all",
          channel: { name: "slow", arch: "amd64" },
          strategy: { preset: "careful", after: [{ group: "Canaries", bake: "1d" }] },
          maintenance_windows: [
            { days: ["sat"], from: "22:00", to: "04:00" },
            { from: "Fri 22:00", to: "Mon 06:00" },
            { from: "Thu 23:00", length: "1h30m" },
            { from: "20:00", to: "24:00" },
          ],
        },
        { name: "Canaries", track: null, channel: null, policy: { updates_enabled: false, max_updates_per_period: 5 } },
      ],
    },
  ],
};

describe("a fleet's document", () => {
  it("is made true, and applied again changes nothing", async () => {
    const { changes } = await apply(WHOLE);
    expect(
      changes.map(
        (one: { action: string; subject: string; name: string }) => `${one.action} ${one.subject} ${one.name}`,
      ),
    ).toEqual([
      "add application Billing",
      "add channel fast (amd64)",
      "add channel slow (amd64)",
      "add package 1.0.0 (amd64)",
      "add package 1.1.0 (amd64)",
      "add package 2.0.0 (amd64)",
      "add floor 1.1.0 of fast",
      "add group Everybody",
      "add group Canaries",
    ]);
    expect((await plan(WHOLE)).changes).toEqual([]);
    expect((await apply(WHOLE)).changes).toEqual([]);
    const { body: group } = await api.get("/apps/io.example.billing/groups").expect(200);
    const everybody = group.groups.find((one: { name: string }) => one.name === "Everybody");
    expect(everybody).toMatchObject({
      track: "all",
      strategy: { after: [{ group: "Canaries", bake: "1d" }] },
      channel: { name: "slow" },
    });
    expect(everybody.strategy.stages).toHaveLength(6);
  });

  it("is what is exported, and what is exported is the same on another server", async () => {
    await apply(WHOLE);
    await api.point(
      STABLE,
      await api.aPackage("4230.2.1", { extra_files: [{ name: "oem-azure.gz", size: "1", hash256: "ab".repeat(32) }] }),
    );
    const before = await exported();
    expect((await plan(before, true)).changes).toEqual([]);
    const other = await anApi();
    try {
      await other.post("/fleet/apply", { fleet: before, prune: true }).expect(200);
      expect((await other.get("/fleet").expect(200)).body).toEqual(before);
      expect((await other.get("/counters").expect(404)).body.status).toBe(404);
    } finally {
      other.close();
    }
  });

  it("has all that steers a fleet, and is the same text again from a server that had none of it", async () => {
    const key = aKey();
    await api.aPackage("4081.2.0");
    const far = "ab".repeat(32);
    await api.point(STABLE, await api.aPackage("4230.2.1", { hosting: "only", extra_files: [{ name: "oem-azure.gz", size: "1", hash256: far }] })); // biome-ignore format: one line
    await api.put(`/apps/${FLATCAR}/payload-key`, { public_key: key }).expect(200);
    const { body: channels } = await api.get(`/apps/${FLATCAR}/channels?perpage=50`).expect(200);
    const [, blacklisted] = channels.channels.filter(({ arch }: { arch: number }) => arch === 1);
    const odd = await api.aPackage("7.0.0", {
      type: 7,
      channels_blacklist: [blacklisted.id],
      flatcar_action: undefined,
    });
    await api.put(`/channels/${STABLE}/floors/${odd}`, { floor_reason: "the disk's layout" }).expect(200);
    const { body: group } = await api.get(`/apps/${FLATCAR}/groups/${GROUP}`).expect(200);
    const strategy = {
      stages: [{ match: { labels: { rack: "7" }, alias: "lab-*" }, bake: "1h", approval: "manual" }, { percent: 100 }],
      health: { max_lost: 1, on_breach: "pause", slices: ["oem"] },
      after: [{ group: "beta", bake: "1d" }],
      max_in_flight: 5,
    };
    const [windows, freezes] = [[{ days: ["sat"], from: "22:00", to: "04:00" }], [{ from: "2026-12-20", to: "2027-01-06", reason: "holidays" }]]; // biome-ignore format: one line
    await api.put(`/apps/${FLATCAR}/groups/${GROUP}`, { ...group, strategy, maintenance_windows: windows, freezes, policy_safe_mode: true }).expect(200); // biome-ignore format: one line
    const { body: copy } = await api.post(`/apps?clone_from=${FLATCAR}`, { name: "Copy" }).expect(200);
    expect((await api.get(`/apps/${copy.id}/payload-key`).expect(200)).body).toEqual({ public_key: key });
    const cloned = copy.groups.find(({ name }: { name: string }) => name === group.name);
    expect(cloned).toMatchObject({ strategy: { ...strategy, after: [{ group: "beta" }] }, maintenance_windows: windows, freezes, policy_safe_mode: true }); // biome-ignore format: one line

    const before = await exported();
    expect(JSON.stringify(before)).toContain("BEGIN PUBLIC KEY");
    expect((await plan(before, true)).changes).toEqual([]);
    const empty = await anApi();
    try {
      await empty.del(`/apps/${FLATCAR}`).expect(204);
      const { body } = await empty.post("/fleet/apply", { fleet: before }).expect(200);
      expect(body.changes).toContainEqual(
        expect.objectContaining({ action: "add", subject: "payload key", name: "Flatcar Container Linux" }),
      );
      const after = (await empty.get("/fleet").expect(200)).body;
      expect(JSON.stringify(after)).toBe(JSON.stringify(before));
    } finally {
      empty.close();
    }
    const other = aKey();
    before.applications[0].payload_key = other;
    expect((await apply(before)).changes).toMatchObject([
      { action: "change", subject: "payload key", fields: [{ field: "public_key", before: key, after: other }] },
    ]);
    before.applications[0].payload_key = null;
    expect((await apply(before)).changes).toMatchObject([{ action: "remove", subject: "payload key" }]);
    before.applications[0].payload_key = "mine";
    const { body: refused } = await api.post("/fleet/apply", { fleet: before }).expect(400);
    expect(refused.errors[0].path).toBe("applications.0.payload_key");
  });

  it("tells what was set by hand since it was exported, also where nothing was set before", async () => {
    await api.aPackage("4230.2.1");
    const fleet = await exported();
    const [floor] = (await api.get(`/apps/${FLATCAR}/packages`).expect(200)).body.packages;
    await api.put(`/channels/${STABLE}/floors/${floor.id}`, {}).expect(200);
    const { body: group } = await api.get(`/apps/${FLATCAR}/groups/${GROUP}`).expect(200);
    const freezes = [{ from: "2026-12-20", to: "2027-01-06" }];
    await api.put(`/apps/${FLATCAR}/groups/${GROUP}`, { ...group, strategy: { preset: "fast" }, freezes }).expect(200);
    await api.put(`/apps/${FLATCAR}/packages/${floor.id}`, { ...floor, hosting: "only", extra_files: [{ name: "a.gz" }] }).expect(200); // biome-ignore format: one line
    await api.put(`/apps/${FLATCAR}/payload-key`, { public_key: aKey() }).expect(200);
    const { changes } = await apply(fleet, true);
    expect(
      changes.map((one: { action: string; subject: string; fields: { field: string }[] }) => [
        `${one.action} ${one.subject}`,
        ...new Set(one.fields.map(({ field }) => field.split(".")[0])),
      ]),
    ).toEqual([
      ["remove payload key", "public_key"],
      ["change package", "hosting", "extra_files"],
      ["change group", "strategy", "freezes"],
      ["remove floor", "version", "channel"],
    ]);
    expect(await exported()).toEqual(fleet);
  });

  it("says what would change, field by field, and changes nothing by that", async () => {
    await api.aPackage("4230.2.1");
    const fleet = await exported();
    const [flatcar] = fleet.applications;
    flatcar.channels[0].package = "4230.2.1";
    flatcar.groups[0].policy.timezone = "Asia/Kolkata";
    flatcar.groups[0].strategy = { stages: [{ percent: 10 }, { percent: 100 }], health: { max_lost: 3 } };
    const [before, at] = [await exported(), await revision()];
    const { changes } = await plan(fleet);
    expect(changes).toEqual([
      {
        action: "change",
        subject: "channel",
        name: "stable (amd64)",
        application: "Flatcar Container Linux",
        fields: [{ field: "version", before: null, after: "4230.2.1" }],
      },
      {
        action: "change",
        subject: "group",
        name: "Stable (AMD64)",
        application: "Flatcar Container Linux",
        fields: expect.arrayContaining([
          { field: "policy_timezone", before: "Europe/Berlin", after: "Asia/Kolkata" },
          { field: "strategy.health.max_lost", before: null, after: 3 },
        ]),
      },
    ]);
    expect(await exported()).toEqual(before);
    expect(await revision()).toBe(at);
    const audited = await api.get("/audit?action=planFleet").expect(200);
    expect(audited.body.totalCount).toBe(0);
  });

  it("leaves alone what it does not name, objects and fields, unless it is to prune", async () => {
    await apply(WHOLE);
    await apply({ applications: [{ name: "Billing", groups: [{ name: "Canaries", description: "first" }] }] });
    const { body } = await api.get("/apps/io.example.billing").expect(200);
    expect(body.groups).toHaveLength(2);
    expect(body.groups.find((one: { name: string }) => one.name === "Canaries")).toMatchObject({
      description: "first",
      policy_updates_enabled: false,
      policy_max_updates_per_period: 5,
    });
    const pruned = await apply({ applications: [{ name: "Billing", groups: [{ name: "Canaries" }] }] }, true);
    // Its channels and packages are not listed at all, so they are not pruned; the other application is not named.
    expect(pruned.changes.map((one: { action: string; name: string }) => `${one.action} ${one.name}`)).toEqual([
      "remove Everybody",
      "remove Flatcar Container Linux",
    ]);
    const { body: after } = await api.get("/apps/io.example.billing").expect(200);
    expect(after.channels).toHaveLength(2);
    const bare = {
      applications: [
        {
          name: "Billing",
          packages: [{ version: "1.0.0", arch: "amd64" }],
          channels: [{ name: "slow", arch: "amd64" }],
        },
      ],
    };
    await apply(bare, true);
    const { applications } = await exported();
    expect(applications[0].packages.map((one: { version: string }) => one.version)).toEqual(["1.0.0"]);
    expect(applications[0].channels).toMatchObject([{ name: "slow", package: "1.0.0" }]);
  });

  it("renames by id, moves a channel and blacklists what it came from, at once", async () => {
    await apply(WHOLE);
    const fleet = await exported();
    const billing = fleet.applications.find(({ name }) => name === "Billing");
    billing.channels[1].name = "steady";
    billing.channels[1].package = "1.1.0";
    billing.packages[0].channels_blacklist = ["steady"];
    billing.packages[2].channels_blacklist = ["steady"];
    billing.groups[0].channel.name = "steady";
    const { changes } = await apply(fleet);
    expect(changes.map((one: { action: string }) => one.action)).not.toContain("add");
    expect((await plan(fleet)).changes).toEqual([]);
  });

  describe("with ids of its own for names and tracks that are taken", () => {
    const lts = { name: "lts", arch: "amd64" };
    const [channelId, groupId] = ["0a2deb70-37be-4026-853f-bfdd6b347bbe", "1a2deb70-37be-4026-853f-bfdd6b347bbe"];
    const theirs = (name: string) => ({
      applications: [
        {
          id: FLATCAR,
          name: "Flatcar Container Linux",
          channels: [{ id: channelId, ...lts }],
          groups: [{ id: groupId, name, track: "lts", channel: lts }],
        },
      ],
    });

    it.each(["LTS (AMD64)", "Ours"])(
      "takes the place of what a new server starts with, when pruning: %s",
      async (name) => {
        for (const verb of ["plan", "apply"]) await api.post(`/fleet/${verb}`, { fleet: theirs(name) }).expect(409);
        await apply(theirs(name), true);
        const [flatcar] = (await exported()).applications;
        expect(flatcar.channels).toMatchObject([{ id: channelId, ...lts }]);
        expect(flatcar.groups).toMatchObject([{ id: groupId, name, track: "lts", channel: lts }]);
        expect((await plan(theirs(name), true)).changes).toEqual([]);
      },
    );

    it("does not put an end to rollouts by that", async () => {
      await api.point(LTS, await api.aPackage("3510.3.6"));
      const fleet = theirs("LTS (AMD64)");
      const { body } = await api.post("/fleet/apply", { fleet, prune: true }).expect(409);
      expect(body.errors[0].path).toBe("applications.0.groups.0.id");
    });

    it("gives a group the name of one that is pruned", async () => {
      const [flatcar] = (await exported()).applications;
      const [stable, beta] = flatcar.groups;
      const renamed = { ...flatcar, groups: [{ ...stable, name: beta.name }] };
      await apply({ applications: [renamed] }, true);
      expect((await exported()).applications[0].groups).toMatchObject([{ id: stable.id, name: beta.name }]);
    });
  });

  it.each([
    ["an unknown field", (one: Fleet) => (one.applications[0].grups = []), "fleet.applications.0.grups", 400],
    [
      "a wrong time zone",
      (one: Fleet) => (one.applications[0].groups[1].policy.timezone = "Mars/North"),
      "applications.0.groups.1.policy_timezone",
      400,
    ],
    [
      "a channel that points to nothing known",
      (one: Fleet) => (one.applications[0].channels[1].package = "9.9.9"),
      "applications.0.channels.1.package",
      400,
    ],
    [
      "a group of no channel",
      (one: Fleet) => (one.applications[0].groups[0].channel.name = "nightly"),
      "applications.0.groups.0.channel",
      400,
    ],
    [
      "a floor that is no package",
      (one: Fleet) => (one.applications[0].channels[0].floors[0].version = "1.9.0"),
      "applications.0.channels.0.floors.0.version",
      400,
    ],
    [
      "a strategy that can't be",
      (one: Fleet) => (one.applications[0].groups[0].strategy = { stages: [{ percent: 50 }, { percent: 10 }] }),
      "fleet.applications.0.groups.0.strategy.stages.1.percent",
      400,
    ],
    [
      "a version that is none",
      (one: Fleet) => (one.applications[0].packages[0].version = "one"),
      "applications.0.packages.0.version",
      400,
    ],
    [
      "the id of another application's group",
      (one: Fleet) => (one.applications[0].groups[0].id = GROUP),
      "applications.0.groups.0.id",
      409,
    ],
    [
      "the same track twice",
      (one: Fleet) =>
        one.applications[0].groups.push({ name: "More", track: "all", channel: { name: "slow", arch: "amd64" } }),
      "applications.0.groups.2.track",
      409,
    ],
    [
      "the same package twice",
      (one: Fleet) =>
        one.applications[0].packages.push({ ...one.applications[0].packages[0], url: "https://b.example/" }),
      "applications.0.packages.3.version",
      400,
    ],
    [
      "the same application twice",
      (one: Fleet) => one.applications.push(structuredClone(one.applications[0])),
      "applications.1.name",
      400,
    ],
  ])("with %s is refused with its place, and nothing is changed", async (_, spoil, path, status) => {
    const fleet = structuredClone(WHOLE);
    spoil(fleet);
    const before = await exported();
    for (const verb of ["plan", "apply"]) {
      const { body } = await api.post(`/fleet/${verb}`, { fleet }).expect(status);
      expect(body.errors.map((one: { path: string }) => one.path)).toContain(path);
    }
    expect(await exported()).toEqual(before);
  });

  it("keeps packages that lack something, and says what, where it would point a channel to one or make it a floor", async () => {
    const billing = (changes: object) => ({ applications: [{ name: "Billing", ...changes }] });
    const lacking = { version: "3.0.0", arch: "amd64", url: "https://example.org/3.0.0/", filename: "a.gz" };
    await apply(WHOLE);
    await apply(billing({ packages: [lacking] }));
    expect((await plan(await exported(), true)).changes).toEqual([]);
    for (const [channel, path] of [
      [{ package: "3.0.0" }, "applications.0.channels.0.package"],
      [{ floors: [{ version: "3.0.0" }] }, "applications.0.channels.0.floors.0.package"],
    ] as const) {
      const fleet = billing({ channels: [{ name: "fast", arch: "amd64", ...channel }] });
      const { body } = await api.post("/fleet/apply", { fleet }).expect(409);
      expect(body.errors).toMatchObject([{ path }]);
      expect(body.detail).toContain("package 3.0.0 is incomplete: it lacks size and flatcar_action.sha256");
    }
    // A channel that nobody follows may have been pointed to one by its path: what is exported can be applied.
    const { body: apps } = await api.get("/apps").expect(200);
    const app = apps.applications.find(({ name }: { name: string }) => name === "Billing");
    const { body: packages } = await api.get(`/apps/${app.id}/packages?searchVersion=3.0.0`).expect(200);
    const channel = { name: "new", arch: 1, package_id: packages.packages[0].id };
    await api.post(`/apps/${app.id}/channels`, channel).expect(200);
    expect((await plan(await exported(), true)).changes).toEqual([]);
    const whole = { ...lacking, size: 12, flatcar_action: { sha256: "LIkAKVZY2EJFiwTmltiJZLFLA5xT/FodbjVgqkyF/y8=" } };
    await apply(billing({ packages: [whole], channels: [{ name: "fast", arch: "amd64", package: "3.0.0" }] }));
  });

  it("is not applied when what it would change is not what was planned", async () => {
    const { plan: seen } = await plan(WHOLE);
    await api.post(`/apps/${FLATCAR}/packages`, packageBody("1.0.0")).expect(200);
    await api.post("/fleet/apply", { fleet: WHOLE, plan: seen }).expect(200);
    await api.post("/fleet/apply", { fleet: WHOLE, plan: seen }).expect(412);
  });

  it("is what a new server starts with, and its schema is published beside it", async () => {
    const { applications } = readFleetFile(join(CONFIG, "flatcar.yaml"));
    const [flatcar] = applications;
    const all = ["stable", "beta", "alpha", "edge", "lts"].flatMap((name) =>
      ["amd64", "aarch64"].map((arch) => ({ name, arch })),
    );
    expect(flatcar?.channels?.map(({ name, arch }) => ({ name, arch }))).toEqual(expect.arrayContaining(all));
    expect(flatcar?.groups?.map(({ channel, track }) => [channel, track])).toEqual(
      expect.arrayContaining(all.map((channel) => [channel, channel.name])),
    );
    expect([flatcar?.channels, flatcar?.groups]).toMatchObject([{ length: 10 }, { length: 10 }]);
    expect(JSON.parse(readFileSync(join(CONFIG, "fleet.schema.json"), "utf8"))).toEqual(
      JSON.parse(JSON.stringify(fleetJsonSchema())),
    );
    expect(readFileSync(join(CONFIG, "flatcar.yaml"), "utf8")).toContain(
      "# yaml-language-server: $schema=fleet.schema.json",
    );
    expect((await plan(parse(readFileSync(join(CONFIG, "flatcar.yaml"), "utf8")), true)).changes).toEqual([]);
    expect(await seedFleet(api.world.store, join(CONFIG, "flatcar.yaml"), 0)).toBe(false);
  });
});
