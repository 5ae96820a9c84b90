import { describe, expect, it } from "vitest";
import { run, TOKEN, Tour } from "./tour.ts";
import { apiClient, FLATCAR, STABLE_GROUP } from "./turnout.ts";

describe("the README's tour", () => {
  it("runs as it stands, and takes a fleet of 1,000 from 4081.2.0 to 4230.2.1, every node complete", async () => {
    const document = new Tour("README.md", "tour");
    const url = await document.start();
    const tour = document.blocks();
    expect(tour.length).toBeGreaterThanOrEqual(7);
    const script = tour
      .join("\n")
      .replaceAll("http://127.0.0.1:8000", url)
      .replace("fleet-sim ", `fleet-sim --server ${url}/v1/update/ `);
    const { code, output } = await run(`set -euo pipefail\n${script}`);
    expect(code, output).toBe(0);
    expect(output).toContain('status="noupdate"');
    const api = apiClient(url, TOKEN);
    const stats = await api("GET", `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances_stats?duration=1d`);
    expect(stats).toMatchObject({ total: 1001, complete: 1000 });
    const { instances } = await api<{ instances: { application: { version: string; state: string } }[] }>(
      "GET",
      `/apps/${FLATCAR}/groups/${STABLE_GROUP}/instances?status=4&duration=1d&perpage=1000`,
    );
    expect(instances).toHaveLength(1000);
    expect(new Set(instances.map(({ application }) => `${application.version} ${application.state}`))).toEqual(
      new Set(["4230.2.1 complete"]),
    );

    expect((await fetch(`${url}/api/apps`)).status).toBe(401);
    expect((await fetch(`${url}/api/apps`, { headers: { Authorization: "Bearer wrong" } })).status).toBe(401);
  });
});
