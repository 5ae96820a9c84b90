import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { aTurnout } from "../e2e/turnout.ts";
import { aKey, aPayload } from "./build.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const TOKEN = "a-token-of-the-document";

it("every command of docs/payloads.md does what it says", async () => {
  const server = await aTurnout({ TURNOUT_AUTH: "token", TURNOUT_ADMIN_TOKEN: TOKEN, TURNOUT_DISK_RESERVE: "0" });
  const folder = mkdtempSync(join(tmpdir(), "turnout-document-"));
  const key = aKey();
  const release = join(folder, "amd64-usr", "4230.2.1");
  mkdirSync(release, { recursive: true });
  writeFileSync(join(release, "flatcar_production_update.gz"), aPayload("main", 16, { keys: [key] }));
  writeFileSync(join(release, "oem-azure.gz"), aPayload("oem", 4, { keys: [key] }));
  writeFileSync(join(folder, "update-payload-key.pub.pem"), key.pem);

  const text = readFileSync(join(ROOT, "docs/payloads.md"), "utf8");
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, code = ""]) => code);
  expect(blocks.length).toBeGreaterThan(4);
  const turnout = `turnout() { "${process.execPath}" "${ROOT}/bin/turnout" "$@"; }`;
  const shell = spawn("bash", ["-c", `set -euo pipefail\n${turnout}\n${blocks.join("\n")}`], {
    cwd: folder,
    env: { PATH: process.env.PATH, TURNOUT_SERVER: server.url, TURNOUT_TOKEN: TOKEN },
  });
  let output = "";
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  const code = await new Promise((done) => shell.once("exit", done));
  expect(code, output).toBe(0);
  expect(output).toContain("all of its files are here");
  expect(output).toContain('"hosted":true');
  expect(output).toContain("BEGIN PUBLIC KEY");
  expect(output).toMatch(/4230\.2\.1 +amd64 +2/);
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});
