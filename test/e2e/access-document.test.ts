/** docs/access.md: its commands run as they stand, and its settings are taken. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { readSettings } from "../../src/settings.ts";
import { aProcess } from "./turnout.ts";

const text = readFileSync(resolve(import.meta.dirname, "../../docs/access.md"), "utf8");

/** The code of all blocks fenced with these words. */
function blocks(fence: string): string {
  return [...text.matchAll(new RegExp(`^\`\`\`${fence}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))]
    .map(([, code = ""]) => code)
    .join("\n");
}

it("the page on access makes a token, sees it, and revokes it", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "turnout-access-"));
  const token = "a-token-of-the-tests-0001";
  const server = await aProcess(dataDir, { TURNOUT_AUTH: "token", TURNOUT_ADMIN_TOKEN: token });
  const script = blocks("sh access").replaceAll("http://127.0.0.1:8000", server.url);
  const { status, stdout, stderr } = spawnSync("bash", ["-euc", script], {
    env: { PATH: process.env.PATH, TURNOUT_ADMIN_TOKEN: token },
    encoding: "utf8",
  });
  server.child.kill("SIGTERM");
  expect(await server.ended).toBe(0);
  rmSync(dataDir, { recursive: true, force: true });
  expect(status, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/"name":"release pipeline","role":"operator".*"token":"turnout_/);
  expect(stdout).toContain('"totalCount":2');
  expect(stdout).toContain('{"kind":"token","name":"admin"');
});

it.each(["keycloak", "dex"])("the page on access has settings for %s that Turnout takes", (name) => {
  const lines = blocks(`ini ${name}`).trim().split("\n");
  const settings = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  expect(readSettings(settings).oidc?.clientId).toBe("turnout");
});
