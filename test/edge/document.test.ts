import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { ADMIN, type World, worlds } from "./world.ts";

let world: World;
worlds((one) => {
  world = one;
});

const text = readFileSync(new URL("../../docs/edge-sites.md", import.meta.url), "utf8");

async function run(code: string, url: string): Promise<string> {
  const shell = spawn("bash", ["-c", `set -euo pipefail\n${code}`], {
    env: { PATH: process.env.PATH, TURNOUT_SERVER: url, TURNOUT_TOKEN: ADMIN },
  });
  let output = "";
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  const exit = await new Promise((done) => shell.once("exit", done));
  expect(exit, `${code}\n${output}`).toBe(0);
  return output;
}

it("every command and setting of docs/edge-sites.md does what it says", async () => {
  const blocks = [...text.matchAll(/^```(sh|ini) (central|site)\n([\s\S]*?)^```$/gm)];
  const central = await world.central();
  let site: Awaited<ReturnType<World["start"]>> | null = null;
  let token = "";
  const outputs: string[] = [];
  for (const [, kind, where, code = ""] of blocks) {
    if (kind === "ini") {
      const lines = code.trim().split("\n");
      const settings = Object.fromEntries(lines.map((line) => line.split("=") as [string, string]));
      site = await world.start({
        TURNOUT_AUTH: "token",
        TURNOUT_ADMIN_TOKEN: ADMIN,
        ...settings,
        TURNOUT_CENTRAL_URL: central.url,
        TURNOUT_CENTRAL_TOKEN: token,
      });
      site.clock.move({ minutes: 2 });
      await site.turnout.edge?.run();
      continue;
    }
    const output = await run(code, where === "central" ? central.url : (site?.url ?? ""));
    outputs.push(output);
    token = /"token":"([^"]+)"/.exec(output)?.[1] ?? token;
  }
  expect(outputs.length).toBe(4);
  expect(outputs[1]).toContain('"state":"synced"');
  expect(outputs[2]).toContain('"up_to_date":true');
});
