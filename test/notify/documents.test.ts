/** The examples of docs/webhooks.md, run as they stand. */
import { execFile, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { EVENTS } from "../../src/notify/events.ts";
import { aFolder } from "../afterwards.ts";
import { type World, worlds } from "./world.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const TEXT = readFileSync(join(ROOT, "docs/webhooks.md"), "utf8");
const blocks = (fence: string): string[] =>
  [...TEXT.matchAll(new RegExp(`^\`\`\`${fence}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, code = ""]) => code);

let world: World;
worlds((made) => {
  world = made;
});

it("makes and tries a webhook, from the command line and over the API", async () => {
  await world.start();
  const { url } = world.server;
  const script = ["set -euo pipefail", `api=${url}/api`, 'auth="X-Nothing: yes"', ...blocks("sh hooks")];
  const PATH = `${ROOT}/bin:${dirname(process.execPath)}:${process.env.PATH}`;
  const { stdout } = await promisify(execFile)("bash", ["-c", script.join("\n")], {
    env: { ...process.env, PATH, TURNOUT_SERVER: url },
  });
  expect(stdout).toContain('"secret":"turnout_hook_');
  expect(await world.deliveries("", "chat")).toMatchObject([{ event: "test", state: "waiting" }]);
  const [{ id } = { id: "" }] = await world.deliveries("", "chat");
  expect(stdout).toMatch(/^webhook +pager\n/m);
  expect(stdout).toMatch(/^pager +https:\/\/hooks\.example\.org\/turnout +all +on +1$/m);
  expect(stdout).toContain('deleted webhook "pager"\n');
  expect(stdout).toContain(`delivery ${id} is sent again\n`);
});

it("verifies a signature in Node and in a shell, and nothing that was altered or is old", async () => {
  const folder = aFolder();
  await world.start();
  const { secret } = await world.aWebhook({ name: "Überwachung" });
  await world.test("%C3%9Cberwachung");
  await world.tell();
  const [received] = world.receiver.received;
  if (received === undefined) throw new Error("nothing was received");
  const { headers, text } = received;
  expect(text).toContain("Überwachung");

  const module = join(folder, "verify.mjs");
  writeFileSync(module, blocks("js verify").join(""));
  const { isFromTurnout } = await import(pathToFileURL(module).href);
  const now = world.server.clock.now();
  expect(isFromTurnout(headers, Buffer.from(text), secret, now)).toBe(true);
  expect(isFromTurnout(headers, Buffer.from(`${text} `), secret, now)).toBe(false);
  expect(isFromTurnout(headers, Buffer.from(text), "another-secret-0001", now)).toBe(false);
  expect(isFromTurnout(headers, Buffer.from(text), secret, now + 301_000)).toBe(false);
  expect(isFromTurnout({}, Buffer.from(text), secret, now)).toBe(false);

  const [check = ""] = blocks("sh verify");
  const [timestamp, signature] = [headers["turnout-timestamp"], headers["turnout-signature"]].map(String);
  const verify = (body: string) => {
    writeFileSync(join(folder, "body.json"), body);
    return spawnSync("bash", ["-c", check], {
      cwd: folder,
      env: { PATH: process.env.PATH, secret, timestamp, signature },
    }).status;
  };
  expect([verify(text), verify(`${text} `)]).toEqual([0, 1]);
});

it("lists every event", () => {
  for (const event of EVENTS) expect(TEXT).toContain(`| \`${event}\` |`);
});
