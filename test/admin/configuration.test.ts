import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadFleet } from "../../src/store/fleet.ts";
import { type Api, anApi, FLATCAR, GROUP, groupBody, NOWHERE, packageBody, STABLE, STABLE_ARM } from "./api.ts";

let api: Api;
beforeEach(async () => {
  api = await anApi();
});
afterEach(() => {
  expect(api.faults).toEqual([]);
  api.close();
});

const A = `/apps/${FLATCAR}`;

describe("applications", () => {
  it("are listed with their groups and channels, page by page", async () => {
    for (const name of ["One", "Two", "Three"]) {
      api.clock.move({ minutes: 1 });
      await api.post("/apps", { name }).expect(200);
    }
    const { body } = await api.get("/apps?page=1&perpage=3").expect(200);
    expect(body).toMatchObject({ totalCount: 4, count: 3 });
    expect(body.applications.map(({ name }: { name: string }) => name)).toEqual(["Three", "Two", "One"]);
    const last = (await api.get("/apps?page=2&perpage=3").expect(200)).body;
    expect(last.applications[0]).toMatchObject({ id: FLATCAR, product_id: null, instances: { count: 0 } });
    expect(last.applications[0].groups).toHaveLength(10);
    expect(last.applications[0].channels).toHaveLength(10);
    expect((await api.get("/apps?page=9&perpage=10").expect(200)).body).toMatchObject({
      totalCount: 4,
      count: 0,
      applications: null,
    });
  });

  it("are found by product id in any case, changed, sent back whole, and deleted with all they have", async () => {
    const { body: made } = await api.post("/apps", { name: "Billing", product_id: "io.Example.billing" }).expect(200);
    expect((await api.get("/apps/IO.example.BILLING").expect(200)).body.id).toBe(made.id);
    const { body: changed } = await api.put(`/apps/${made.id}`, { ...made, name: "Bills" }).expect(200);
    expect(changed).toMatchObject({ name: "Bills", product_id: "io.Example.billing" });
    expect((await api.put(`/apps/${made.id}`, { name: "Bills" }).expect(200)).body.product_id).toBeNull();
    await api.del(`/apps/${made.id}`).expect(204);
    await api.get(`/apps/${made.id}`).expect(404);
    const gone = await api.del(A);
    expect(gone.status).toBe(204);
    expect((await api.get("/apps").expect(200)).body).toMatchObject({ totalCount: 0, applications: null });
  });

  it("are cloned: channels without packages, groups with their policies", async () => {
    await api.point(STABLE, await api.aPackage("4230.2.1"));
    const { body } = await api.post(`/apps?clone_from=${FLATCAR}`, { name: "Copy" }).expect(200);
    expect(body.channels).toHaveLength(10);
    expect(body.channels.every(({ package_id }: { package_id: null }) => package_id === null)).toBe(true);
    expect(body.groups).toHaveLength(10);
    expect(body.groups[0].application_id).toBe(body.id);
    expect(
      body.groups.every(({ channel }: { channel: { application_id: string } }) => channel.application_id === body.id),
    ).toBe(true);
  });

  const wrong: [Record<string, unknown>, number, string][] = [
    [{}, 400, "name"],
    [{ name: "" }, 400, "name"],
    [{ name: "x".repeat(51) }, 400, "name"],
    [{ name: 7 }, 400, "name"],
    [{ name: "x", product_id: "nodots" }, 400, "product_id"],
    [{ name: "x", product_id: "io.9x" }, 400, "product_id"],
    [{ name: "x", product_id: `io.${"a".repeat(160)}` }, 400, "product_id"],
    [{ name: "x", colour: "red" }, 400, "colour"],
    [{ name: "Flatcar Container Linux" }, 409, "name"],
  ];
  it.each(wrong)("refuse %j with %i, naming the field", async (body, status, path) => {
    const answer = await api.post("/apps", body).expect(status);
    expect(answer.headers["content-type"]).toContain("application/problem+json");
    expect(answer.body).toMatchObject({ type: "about:blank", status, errors: [{ path }] });
    expect(answer.body.message).toBe(answer.body.detail);
    expect((await api.get("/apps").expect(200)).body.totalCount).toBe(1);
  });
});

describe("packages", () => {
  it("are made with action and files, shown, listed newest version first, searched", async () => {
    const extra = {
      name: "oem-azure.gz",
      size: "41870233",
      hash: "CYnbrw65iX8tqFGOlFn+HAvFxhA=",
      hash256: "df".repeat(32),
    };
    const { body } = await api.post(`${A}/packages`, packageBody("4230.2.1", { extra_files: [extra] })).expect(200);
    expect(body).toMatchObject({
      version: "4230.2.1",
      size: "465881871",
      arch: 1,
      channels_blacklist: null,
      application_id: FLATCAR,
    });
    expect(body.flatcar_action).toMatchObject({ event: "postinstall", disable_payload_backoff: true, is_delta: false });
    expect(body.extra_files).toMatchObject([{ ...extra, package_id: body.id }]);
    await api.aPackage("10.0.0");
    await api.aPackage("9.0.0");
    const { body: list } = await api.get(`${A}/packages`).expect(200);
    expect(list.packages.map(({ version }: { version: string }) => version)).toEqual(["4230.2.1", "10.0.0", "9.0.0"]);
    expect((await api.get(`${A}/packages?searchVersion=0.0`).expect(200)).body.totalCount).toBe(2);
    expect((await api.get(`${A}/packages/${body.id}`).expect(200)).body).toEqual(body);
  });

  it("are changed in place: one action, files by their id", async () => {
    const id = await api.aPackage("4230.2.1", { extra_files: [{ name: "a.gz" }, { name: "b.gz" }] });
    const { body: before } = await api.get(`${A}/packages/${id}`).expect(200);
    const sha256 = "sGWSKGG6ThF1d1Q79UPTq1xN7mJyz870KaIUGrDJIDA=";
    const files = [{ ...before.extra_files[1], name: "c.gz" }, { name: "d.gz" }];
    const changes = { ...before, channels_blacklist: [], flatcar_action: { sha256 }, extra_files: files, arch: 2 };
    const { body: after } = await api.put(`${A}/packages/${id}`, changes).expect(200);
    expect(after.arch).toBe(1);
    expect(after.flatcar_action).toMatchObject({ id: before.flatcar_action.id, sha256 });
    expect(
      after.extra_files.map(({ id: no, name }: { id: number; name: string }) => [
        no === before.extra_files[1].id,
        name,
      ]),
    ).toEqual([
      [true, "c.gz"],
      [false, "d.gz"],
    ]);
    expect(api.world.db.prepare("SELECT count(*) AS n FROM flatcar_actions").get()).toEqual({ n: 1 });
  });

  const wrong: [Record<string, unknown>, number, string][] = [
    [{ version: "4230.2" }, 400, "version"],
    [{ version: "v4230.2.1" }, 400, "version"],
    [{ arch: 4 }, 400, "arch"],
    [{ type: 0 }, 400, "type"],
    [{ url: "ftp://x/" }, 400, "url"],
    [{ url: "nonsense" }, 400, "url"],
    [{ filename: "../../etc/passwd" }, 400, "filename"],
    [{ size: "-1" }, 400, "size"],
    [{ hash: "abc" }, 400, "hash"],
    [{ flatcar_action: { sha256: "ff".repeat(32) } }, 400, "flatcar_action.sha256"],
    [{ extra_files: [{ name: "a", hash256: "xyz" }] }, 400, "extra_files.0.hash256"],
    [{ extra_files: [{ id: 99, name: "a" }] }, 400, "extra_files.0.id"],
    [{ channels_blacklist: [NOWHERE] }, 400, "channels_blacklist.0"],
    [{ channels_blacklist: [STABLE_ARM] }, 400, "channels_blacklist.0"],
    [{ application_id: NOWHERE }, 400, "application_id"],
    [{ version: "4081.2.0" }, 409, "version"],
  ];
  it.each(wrong)("refuse %j with %i, naming the field, and make nothing", async (changes, status, path) => {
    await api.aPackage("4081.2.0");
    const { body } = await api.post(`${A}/packages`, packageBody("4230.2.1", changes)).expect(status);
    expect(body.errors.map((error: { path: string }) => error.path)).toContain(path);
    expect((await api.get(`${A}/packages`).expect(200)).body.totalCount).toBe(1);
  });

  it("are not deleted while they are a floor; a channel that points to one points to nothing then", async () => {
    const id = await api.aPackage("4230.2.1");
    await api.point(STABLE, id);
    await api.put(`/channels/${STABLE}/floors/${id}`, {}).expect(200);
    await api.del(`${A}/packages/${id}`).expect(409);
    await api.del(`/channels/${STABLE}/floors/${id}`).expect(204);
    await api.del(`${A}/packages/${id}`).expect(204);
    expect((await api.get(`${A}/channels/${STABLE}`).expect(200)).body).toMatchObject({
      package_id: null,
      package: null,
    });
    await api.del(`${A}/packages/${id}`).expect(404);
  });

  it("can't blacklist a channel that points to them, nor one whose floor they are", async () => {
    const target = await api.aPackage("4230.2.1");
    const floor = await api.aPackage("4100.0.0");
    await api.point(STABLE, target);
    await api.put(`/channels/${STABLE}/floors/${floor}`, undefined).expect(200);
    for (const [id, version] of [
      [target, "4230.2.1"],
      [floor, "4100.0.0"],
    ] as const) {
      await api.put(`${A}/packages/${id}`, packageBody(version, { channels_blacklist: [STABLE] })).expect(409);
    }
  });
});

describe("packages that lack something", () => {
  const LACKING: [string, Record<string, unknown>, string[]][] = [
    ["nothing but a name and an address", { filename: undefined, size: undefined, hash: undefined, flatcar_action: undefined }, ["filename", "size", "flatcar_action.sha256"]], // biome-ignore format: one line
    ["empty texts", { filename: "", size: "", hash: "", flatcar_action: { sha256: "" } }, ["filename", "size", "flatcar_action.sha256"]], // biome-ignore format: one line
    ["nulls", { filename: null, size: null, hash: null, flatcar_action: null }, ["filename", "size", "flatcar_action.sha256"]], // biome-ignore format: one line
    ["no bytes", { size: "0" }, ["size"]],
    ["an action without its hash", { flatcar_action: {} }, ["flatcar_action.sha256"]],
  ];
  it.each(LACKING)("are kept with %s, say what they lack, and are whole when it comes", async (_, changes, missing) => {
    const { body } = await api.post(`${A}/packages`, packageBody("4230.2.1", changes)).expect(200);
    expect(body.missing).toEqual(missing);
    const path = `${A}/packages/${body.id}`;
    expect((await api.put(path, body).expect(200)).body).toEqual(body);
    const refused = await api
      .put(`${A}/channels/${STABLE}`, { name: "stable", arch: 1, package_id: body.id })
      .expect(409);
    expect(refused.body.errors).toMatchObject([{ path: "package_id" }]);
    for (const field of missing) expect(refused.body.detail).toContain(field);
    expect((await api.put(`/channels/${STABLE}/floors/${body.id}`, {}).expect(409)).body.detail).toContain(missing[0]);
    expect((await api.get(`${A}/channels/${STABLE}`).expect(200)).body.package_id).toBeNull();
    const { body: whole } = await api.put(path, packageBody("4230.2.1")).expect(200);
    expect(whole).toMatchObject({ id: body.id, missing: [] });
    await api.put(`/channels/${STABLE}/floors/${body.id}`, {}).expect(200);
    await api.point(STABLE, body.id);
    const { body: rollouts } = await api.get(`${A}/groups/${GROUP}/rollouts`).expect(200);
    expect(rollouts.rollouts).toMatchObject([{ version: "4230.2.1" }]);
  });

  it("are whole with the SHA-256 alone: the SHA-1 is looked at by nobody who has it", async () => {
    const { body } = await api.post(`${A}/packages`, packageBody("4230.2.1", { hash: "" })).expect(200);
    expect(body.missing).toEqual([]);
    await api.point(STABLE, body.id);
  });

  it("are still refused what can't be right", async () => {
    for (const wrong of [
      { size: "1 MB" },
      { filename: "a/b" },
      { hash: "abc" },
      { flatcar_action: { sha256: "ab" } },
    ]) {
      await api.post(`${A}/packages`, packageBody("4230.2.1", { filename: "", size: "", ...wrong })).expect(400);
    }
  });

  it("can't be made of what is in use", async () => {
    const [floor, target] = [await api.aPackage("4100.0.0"), await api.aPackage("4230.2.1")];
    await api.put(`/channels/${STABLE}/floors/${floor}`, {}).expect(200);
    await api.point(STABLE, target);
    for (const [id, version, changes] of [
      [floor, "4100.0.0", { size: "" }],
      [target, "4230.2.1", { filename: "" }],
      [target, "4230.2.1", { flatcar_action: { sha256: "" } }],
    ] as const) {
      const { body } = await api.put(`${A}/packages/${id}`, packageBody(version, changes)).expect(409);
      expect(body.detail).toContain('channel "stable"');
      expect((await api.get(`${A}/packages/${id}`).expect(200)).body.missing).toEqual([]);
    }
  });

  it("may be where no group looks yet; a group can't be moved there, and a new one gets its rollout when they are whole", async () => {
    const { body: lacking } = await api.post(`${A}/packages`, packageBody("4230.2.1", { size: "" })).expect(200);
    const channel = (await api.post(`${A}/channels`, { name: "new", arch: 1, package_id: lacking.id }).expect(200))
      .body;
    expect(channel.package.missing).toEqual(["size"]);
    const { body: stable } = await api.get(`${A}/groups/${GROUP}`).expect(200);
    const moved = await api.put(`${A}/groups/${GROUP}`, { ...stable, channel_id: channel.id }).expect(409);
    expect(moved.body).toMatchObject({ errors: [{ path: "channel_id" }] });
    expect(moved.body.detail).toContain("size");
    const group = (await api.post(`${A}/groups`, groupBody({ channel_id: channel.id })).expect(200)).body;
    expect((await api.get(`${A}/groups/${group.id}/rollouts`).expect(200)).body.totalCount).toBe(0);
    const byHand = await api.post(`${A}/groups/${group.id}/rollouts`, {}).expect(409);
    expect(byHand.body.detail).toBe("package 4230.2.1 is incomplete: it lacks size");
    await api.put(`${A}/channels/${channel.id}`, { ...channel, color: "red" }).expect(200);
    const fleet = await loadFleet(api.world.store.read);
    expect(fleet.groups.find(({ id }) => id === group.id)?.channel?.package?.missing).toEqual(["size"]);
    await api.put(`${A}/packages/${lacking.id}`, packageBody("4230.2.1")).expect(200);
    const { body: rollouts } = await api.get(`${A}/groups/${group.id}/rollouts`).expect(200);
    expect(rollouts.rollouts).toMatchObject([{ version: "4230.2.1", state: "running" }]);
  });
});

describe("channels", () => {
  it("are made, listed by name, changed and deleted", async () => {
    const { body } = await api.post(`${A}/channels`, { name: "lts-2026", color: "#123456", arch: 1 }).expect(200);
    expect(body).toMatchObject({ name: "lts-2026", package_id: null, package: null, application_id: FLATCAR });
    const { body: list } = await api.get(`${A}/channels?perpage=100`).expect(200);
    expect(list.totalCount).toBe(11);
    expect(list.channels[0].name).toBe("alpha");
    await api.put(`${A}/channels/${body.id}`, { ...body, color: "#654321", arch: 2 }).expect(200);
    expect((await api.get(`${A}/channels/${body.id}`).expect(200)).body).toMatchObject({ color: "#654321", arch: 1 });
    await api.del(`${A}/channels/${body.id}`).expect(204);
    await api.del(`${A}/channels/${body.id}`).expect(404);
    await api.post(`${A}/channels`, { name: "stable", color: "#1", arch: 1 }).expect(409);
    await api.put(`${A}/channels/${STABLE}`, { name: "beta", color: "#1", arch: 1 }).expect(409);
  });

  it("need neither a color nor the application once more: left out or empty, they are as they are", async () => {
    const made = (await api.post(`${A}/channels`, { name: "one", arch: 1 }).expect(200)).body;
    expect(made.color).toMatch(/^#[\da-f]{6}$/);
    const empty = { name: "two", arch: 1, color: "", application_id: "", package_id: "" };
    expect((await api.post(`${A}/channels`, empty).expect(200)).body).toMatchObject({
      color: made.color,
      application_id: FLATCAR,
      package_id: null,
    });
    const path = `${A}/channels/${made.id}`;
    await api.put(path, { name: "one", arch: 1, color: "red" }).expect(200);
    for (const color of ["", undefined]) {
      expect((await api.put(path, { ...empty, name: "one", color }).expect(200)).body.color).toBe("red");
    }
    await api.put(path, { name: "one", arch: 1, color: "x".repeat(26) }).expect(400);
    const body = packageBody("4230.2.1", { application_id: "" });
    expect((await api.post(`${A}/packages`, body).expect(200)).body.application_id).toBe(FLATCAR);
  });

  it("leave their groups without one when they go", async () => {
    await api.del(`${A}/channels/${STABLE}`).expect(204);
    const { body } = await api.get(`${A}/groups/${GROUP}`).expect(200);
    expect(body.channel_id).toBeNull();
    expect(body).not.toHaveProperty("channel");
  });

  it("take only a package of their application and architecture that does not blacklist them", async () => {
    const arm = await api.aPackage("4230.2.1", { arch: 2 });
    const listed = await api.aPackage("4230.2.1", { channels_blacklist: [STABLE] });
    const body = { name: "stable", color: "#1", arch: 1 };
    for (const [id, status] of [
      [arm, 400],
      [listed, 409],
      [NOWHERE, 400],
    ] as const) {
      const answer = await api.put(`${A}/channels/${STABLE}`, { ...body, package_id: id }).expect(status);
      expect(answer.body.errors).toMatchObject([{ path: "package_id" }]);
    }
    await api.put(`/channels/${STABLE}/floors/${arm}`, {}).expect(400);
    await api.put(`/channels/${STABLE}/floors/${listed}`, {}).expect(409);
  });

  it("write a move into the activity, and make the rollout", async () => {
    await api.point(STABLE, await api.aPackage("4230.2.1"));
    await api.point(STABLE, await api.aPackage("4593.2.5"));
    await api.point(STABLE, null);
    const { body } = await api.get(`/activity?channelID=${STABLE}`).expect(200);
    expect(body.activities).toMatchObject([
      {
        class: 6,
        severity: 2,
        version: "4593.2.5",
        channel_name: "stable",
        application_name: "Flatcar Container Linux",
      },
      { class: 6, version: "4230.2.1" },
    ]);
    const { body: rollouts } = await api.get(`${A}/groups/${GROUP}/rollouts`).expect(200);
    expect(rollouts.rollouts.map(({ version, state }: Record<string, string>) => [version, state])).toEqual([
      ["4593.2.5", "superseded"],
      ["4230.2.1", "superseded"],
    ]);
    const { body: one } = await api.get(`${A}/groups/${GROUP}/rollouts/${rollouts.rollouts[0].id}`).expect(200);
    expect(one.stages).toMatchObject([{ percent: 100, number: 1 }]);
    expect(one.history).toMatchObject([
      { from_state: null, to_state: "running", actor: "anonymous" },
      { from_state: "running", to_state: "superseded" },
    ]);
    await api.get(`${A}/groups/${GROUP}/rollouts/${NOWHERE}`).expect(404);
  });
});

describe("floors", () => {
  it("are set, listed ascending with their reasons, found from the package, taken away", async () => {
    const [high, low] = [await api.aPackage("4230.2.1"), await api.aPackage("4100.0.0")];
    await api.put(`/channels/${STABLE}/floors/${high}`, { floor_reason: "cgroups" }).expect(200);
    const { body: answer } = await api.put(`/channels/${STABLE}/floors/${low}`, undefined).expect(200);
    expect(answer).toEqual({ channel_id: STABLE, package_id: low, status: "ok" });
    await api.put(`/channels/${STABLE}/floors/${low}`, { floor_reason: "btrfs" }).expect(200);
    const { body } = await api.get(`/channels/${STABLE}/floors`).expect(200);
    expect(body.packages).toMatchObject([
      { version: "4100.0.0", is_floor: true, floor_reason: "btrfs" },
      { version: "4230.2.1", is_floor: true, floor_reason: "cgroups" },
    ]);
    const { body: channels } = await api.get(`${A}/packages/${low}/floor-channels`).expect(200);
    expect(channels).toMatchObject({ count: 1, channels: [{ channel: { id: STABLE }, floor_reason: "btrfs" }] });
    await api.del(`/channels/${STABLE}/floors/${low}`).expect(204);
    await api.del(`/channels/${STABLE}/floors/${low}`).expect(404);
    await api.get(`/channels/${NOWHERE}/floors`).expect(404);
  });
});

describe("groups", () => {
  it("are made with what must be given; the rest has a default", async () => {
    const { body } = await api.post(`${A}/groups`, groupBody()).expect(200);
    expect(body).toMatchObject({
      track: body.id,
      channel_id: null,
      policy_updates_enabled: true,
      policy_safe_mode: false,
      policy_office_hours: false,
      policy_period_interval: "15 minutes",
      rollout_in_progress: false,
    });
    expect((await api.get(`${A}/groups?perpage=100`).expect(200)).body.totalCount).toBe(11);
    await api.del(`${A}/groups/${body.id}`).expect(204);
    await api.get(`${A}/groups/${body.id}`).expect(404);
  });

  it("keep the switches that a change leaves out, and take whole objects back", async () => {
    const { body } = await api.get(`${A}/groups/${GROUP}`).expect(200);
    await api
      .put(`${A}/groups/${GROUP}`, { ...body, policy_safe_mode: true, policy_updates_enabled: false })
      .expect(200);
    const { policy_safe_mode: _s, policy_updates_enabled: _u, policy_office_hours: _o, ...rest } = body;
    const { body: after } = await api.put(`${A}/groups/${GROUP}`, rest).expect(200);
    expect(after).toMatchObject({ policy_safe_mode: true, policy_updates_enabled: false, track: "stable" });
  });

  const wrong: [Record<string, unknown>, number, string][] = [
    [{ name: undefined }, 400, "name"],
    [{ policy_period_interval: "15 minuts" }, 400, "policy_period_interval"],
    [{ policy_update_timeout: "" }, 400, "policy_update_timeout"],
    [{ policy_timezone: "Mars/Olympus" }, 400, "policy_timezone"],
    [{ policy_max_updates_per_period: 0 }, 400, "policy_max_updates_per_period"],
    [{ policy_max_updates_per_period: "10" }, 400, "policy_max_updates_per_period"],
    [{ channel_id: NOWHERE }, 400, "channel_id"],
    [{ name: "Stable (AMD64)" }, 409, "name"],
    [{ track: "stable", channel_id: STABLE }, 409, "track"],
  ];
  it.each(wrong)("refuse %j with %i, naming the field", async (changes, status, path) => {
    const { body } = await api.post(`${A}/groups`, groupBody(changes)).expect(status);
    expect(body.errors).toMatchObject([{ path }]);
  });

  it("refuse a freeze that is none in their time zone, also one that the zone comes to after", async () => {
    const freezes = [{ from: "2027-03-28T02:00", to: "2027-03-28T03:00" }];
    const berlin = groupBody({ freezes, policy_timezone: "Europe/Berlin" });
    const { body } = await api.post(`${A}/groups`, berlin).expect(400);
    expect(body.errors).toMatchObject([{ path: "freezes.0" }]);
    const { body: made } = await api.post(`${A}/groups`, { ...berlin, policy_timezone: "Asia/Kolkata" }).expect(200);
    const { freezes: _, ...moved } = { ...made, policy_timezone: "Europe/Berlin" };
    await api.put(`${A}/groups/${made.id}`, moved).expect(400);
  });

  it("say what would be right", async () => {
    const { body } = await api.post(`${A}/groups`, groupBody({ policy_period_interval: "15 minuts" })).expect(400);
    expect(body.detail).toBe('policy_period_interval: "15 minuts" is not an interval; write e.g. "15 minutes"');
  });
});

describe("ids of another application", () => {
  it("are not found, whatever is asked of them", async () => {
    const { body: other } = await api.post("/apps", { name: "Other" }).expect(200);
    const id = await api.aPackage("4230.2.1");
    const O = `/apps/${other.id}`;
    for (const path of [`${O}/groups/${GROUP}`, `${O}/channels/${STABLE}`, `${O}/packages/${id}`]) {
      await api.get(path).expect(404);
      await api.del(path).expect(404);
    }
    await api.put(`${O}/groups/${GROUP}`, groupBody()).expect(404);
    await api.put(`${O}/channels/${STABLE}`, { name: "x", color: "#1", arch: 1 }).expect(404);
    await api.put(`${O}/packages/${id}`, { ...packageBody("4230.2.1"), application_id: other.id }).expect(404);
    const { body } = await api.post(`${O}/channels`, { name: "x", color: "#1", arch: 1, package_id: id }).expect(400);
    expect(body.errors).toMatchObject([{ path: "package_id" }]);
    expect((await api.get(`/apps/${NOWHERE}/groups`).expect(404)).body.message).toBe(`App not found for :${NOWHERE}`);
  });
});
