import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, anApi, FLATCAR, GROUP, groupBody, STABLE } from "./api.ts";

let api: Api;
beforeEach(async () => {
  api = await anApi();
});
afterEach(() => api.close());

/** Some of everything that is listed. */
async function something(): Promise<void> {
  for (const name of ["one", "two", "three"]) {
    await api.post("/apps", { name }).expect(200);
    await api.post(`/apps/${FLATCAR}/groups`, groupBody({ name, track: name })).expect(200);
    await api.post("/tokens", { name, role: "viewer" }).expect(201);
    await api.post("/webhooks", { name, url: `https://hooks.example.org/${name}` }).expect(201);
  }
  for (const version of ["4081.2.0", "4152.2.0", "4230.2.1"]) {
    const id = await api.aPackage(version);
    if (version !== "4230.2.1") await api.put(`/channels/${STABLE}/floors/${id}`, {}).expect(200);
    await api.point(STABLE, id);
    api.clock.move({ minutes: 1 });
  }
}

const LISTS = {
  applications: "/apps",
  groups: `/apps/${FLATCAR}/groups`,
  channels: `/apps/${FLATCAR}/channels`,
  packages: `/apps/${FLATCAR}/packages`,
  "packages ": `/channels/${STABLE}/floors`,
  rollouts: `/apps/${FLATCAR}/groups/${GROUP}/rollouts`,
  tokens: "/tokens",
  webhooks: "/webhooks",
  activities: "/activity",
};

describe("every list", () => {
  it.each(Object.entries(LISTS))(
    "of %s goes on behind the one that is named, and is the same by pages",
    async (name, path) => {
      await something();
      const ids = async (query: string): Promise<string[]> => {
        const { body } = await api.get(`${path}?${query}`).expect(200);
        return (body[name.trim()] ?? []).map(({ id }: { id: string }) => id);
      };
      const all = await ids("perpage=1000");
      expect(all.length).toBeGreaterThan(1);
      const walked: string[] = [];
      for (let page = await ids("perpage=1"); page.length > 0; page = await ids(`perpage=1&after=${page.at(-1)}`)) {
        walked.push(...page);
      }
      expect(walked).toEqual(all);
      expect(await ids("perpage=2&page=2")).toEqual(all.slice(2, 4));
      const { body } = await api.get(`${path}?after=nobody`).expect(400);
      expect(body.errors).toMatchObject([{ path: "after" }]);
    },
  );

  it("answers what there is to whoever asks for more than it gives", async () => {
    await something();
    for (const path of Object.values(LISTS)) {
      const { body: most } = await api.get(`${path}?perpage=1000`).expect(200);
      for (const asked of ["1001", "100000", "9999999999999"]) {
        const { body } = await api.get(`${path}?page=1&perpage=${asked}`).expect(200);
        expect(body, `${path}: ${asked}`).toEqual(most);
      }
    }
    for (const wrong of ["0", "-5", "ten", "1e9", ""]) await api.get(`/apps?perpage=${wrong}`).expect(400);
  });

  it("gives a thousand at most, and goes on by pages of what it gives", async () => {
    const insert = api.world.db.prepare(
      "INSERT INTO packages (id, application_no, type, version, arch, url, created_at) VALUES (?, 1, 4, ?, 1, 'x', 0)",
    );
    for (let patch = 0; patch < 1_100; patch += 1) insert.run(`package-${patch}`, `1.0.${patch}`);
    const pageOf = async (page: number) =>
      (await api.get(`/apps/${FLATCAR}/packages?page=${page}&perpage=100000`).expect(200)).body;
    const [first, second] = [await pageOf(1), await pageOf(2)];
    expect([first.totalCount, first.count, second.count]).toEqual([1_100, 1_000, 100]);
    const versions = [...first.packages, ...second.packages].map(({ version }: { version: string }) => version);
    expect(new Set(versions).size).toBe(1_100);
  });
});
