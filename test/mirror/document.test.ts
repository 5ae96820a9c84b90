import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { apiClient, aTurnout, FLATCAR, STABLE_CHANNEL } from "../e2e/turnout.ts";
import { aHosting } from "../payloads/hosting.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const TOKEN = "a-token-of-the-document";

it("every command of docs/air-gapped.md does what it says", async () => {
  const central = await aHosting({}, { hosting: "only" });
  await central.hostAll();
  const site = await aTurnout({ TURNOUT_AUTH: "token", TURNOUT_ADMIN_TOKEN: TOKEN, TURNOUT_DISK_RESERVE: "0" });
  const folder = mkdtempSync(join(tmpdir(), "turnout-document-"));
  mkdirSync(join(folder, "medium"));

  const text = readFileSync(join(ROOT, "docs/air-gapped.md"), "utf8");
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, code = ""]) => code);
  expect(blocks.length).toBeGreaterThan(6);
  const turnout = `turnout() { "${process.execPath}" "${ROOT}/bin/turnout" "$@"; }`;
  // "mirror.pub.pem at hand": it was brought to the site.
  const script = blocks.join("\n").replace(/^cp -a mirror/m, "cp keys/mirror.pub.pem .\n$&");
  const shell = spawn("sh", ["-c", `set -eu\n${turnout}\n${script}`], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      MEDIUM: join(folder, "medium"),
      TURNOUT_SERVER: site.url,
      TURNOUT_TOKEN: TOKEN,
      TURNOUT_MIRROR_FROM: `${central.server.url}/v1/update/`,
    },
  });
  let output = "";
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  const code = await new Promise((done) => shell.once("close", done));
  expect(code, output).toBe(0);
  expect(output).toContain("mirror is written and signed");
  expect(output).toContain("channel stable (amd64) points to 4230.2.1 now");
  expect(output).toContain("Signature Verified Successfully");
  expect(output).toMatch(/"mirrors":\[\{"id":"/);
  const api = apiClient(site.url, TOKEN);
  expect(await api("GET", `/apps/${FLATCAR}/channels/${STABLE_CHANNEL}`)).toMatchObject({
    package: { version: "4230.2.1", hosting: "only" },
  });
  await central.server.close();
  await site.close();
  rmSync(folder, { recursive: true, force: true });
});
