/** The lock of a mirror, between processes of their own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { alone, LOCK_FILE } from "../../src/mirror/lock.ts";

const LOCK = new URL("../../src/mirror/lock.ts", import.meta.url).href;
let folder: string;
let children: ChildProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "turnout-lock-"));
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** A process that has `alone` and `folder`. */
function aProcess(text: string): ChildProcess {
  const code = `import { openSync, closeSync, rmSync } from "node:fs";
    const { alone } = await import(${JSON.stringify(LOCK)});
    const folder = ${JSON.stringify(folder)};
    ${text}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  return child;
}

async function outputOf(child: ChildProcess): Promise<string> {
  let text = "";
  for await (const chunk of child.stdout ?? []) text += chunk;
  return text;
}

it("is had by one process at a time, however many come and go at once", async () => {
  const inside = join(folder, "inside");
  const outputs = [1, 2, 3, 4].map(() =>
    outputOf(
      aProcess(`let entered = 0;
        const faults = new Set();
        const enter = async () => {
          closeSync(openSync(${JSON.stringify(inside)}, "wx")); // fails when somebody else is inside
          entered += 1;
          rmSync(${JSON.stringify(inside)});
        };
        // However often it is turned away: on a busy machine, another one may be put aside while it is inside.
        while (entered < 100 && faults.size === 0)
          await alone(folder, enter).catch((error) => error.message.includes("another turnout mirror") || faults.add(error.message));
        console.log(entered, ...faults);`),
    ),
  );
  expect(await Promise.all(outputs)).toEqual(outputs.map(() => "100\n"));
});

it("is let go by a process that is killed, at once and whatever is its number", async () => {
  const child = aProcess(
    `await alone(folder, () => new Promise(() => { console.log("in"); setInterval(() => {}, 1000); }));`,
  );
  await once(child.stdout ?? child, "data");
  const enter = () => alone(folder, async () => "in");
  await expect(enter()).rejects.toThrow(`another turnout mirror is writing into ${folder}`);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(await enter()).toBe("in");
});

it("is not had where its file is something else, or can't be made", async () => {
  writeFileSync(join(folder, LOCK_FILE), "4194304\n");
  await expect(alone(folder, async () => {})).rejects.toThrow("is no lock; if no turnout mirror runs, remove it");
  await expect(alone(join(folder, "none"), async () => {})).rejects.toThrow("nothing can be written there: ENOENT");
});

/** Whether any user comes as far as this folder: root's own, such as /root, are closed to all others. */
function isOpenToAll(path: string): boolean {
  const isOpen = (statSync(path).mode & 0o001) !== 0;
  return isOpen && (path === dirname(path) || isOpenToAll(dirname(path)));
}

it("is not had by who may only read its file: others could read it at once", async ({ skip }) => {
  await alone(folder, async () => {});
  chmodSync(folder, 0o777);
  chmodSync(join(folder, LOCK_FILE), 0o444);
  const isRoot = process.getuid?.() === 0;
  skip(
    isRoot && !isOpenToAll(folder),
    "root may write everywhere, and another user can't come to the temporary folder",
  );
  const another = join(folder, "another");
  mkdirSync(another);
  const child = aProcess(
    // By then it has all that it needs of a clone to which the other user may not come.
    `await alone(${JSON.stringify(another)}, async () => {});
    if (process.getuid() === 0) process.setuid(65534);
    await alone(folder, async () => console.log("in")).catch((error) => console.log(error.message));`,
  );
  expect(await outputOf(child)).toMatch(/^nothing can be written there: EACCES: .*\.turnout-mirror\.lock'\n$/);
});
