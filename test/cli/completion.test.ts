import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { caught } from "./caught.ts";

const folder = mkdtempSync(join(tmpdir(), "turnout-completion-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const has = (shell: string): boolean => spawnSync(shell, ["-c", "true"]).status === 0;

async function scriptFor(shell: string): Promise<string> {
  const { code, out } = await caught(["completion", shell]);
  expect(code).toBe(0);
  const file = join(folder, `turnout.${shell}`);
  writeFileSync(file, out);
  writeFileSync(join(folder, "a strategy.yaml"), "");
  return file;
}

/** What each shell offers after these words, the last of which is being written. */
const SHELLS: Readonly<Record<string, (script: string, words: readonly string[]) => string>> = {
  bash: (script, words) => `
    source ${script}; cd ${folder}
    COMP_WORDS=(${words.map((word) => `"${word}"`).join(" ")}); COMP_CWORD=${words.length - 1}
    _turnout; printf '%s\\n' "\${COMPREPLY[@]}"`,
  // Its own functions are given to it: they need a terminal.
  zsh: (script, words) => `
    _describe() { local list=\${@[-1]}; print -l -- \${\${(P)list}%%:*} }
    compadd() { print -l -- \${(P)2} }
    _files() { print -l -- * }
    source ${script}; cd ${folder}
    words=(${words.map((word) => `"${word}"`).join(" ")}); CURRENT=${words.length}; PREFIX="${words.at(-1)}"
    _turnout | grep -e "^$PREFIX"`,
  fish: (script, words) => `source ${script}; cd ${folder}; complete -C "${words.join(" ")}"`,
};

for (const [shell, code] of Object.entries(SHELLS)) {
  describe.skipIf(!has(shell))(`completion in ${shell}`, () => {
    let script = "";
    beforeAll(async () => {
      script = await scriptFor(shell);
    });
    const offered = (...words: string[]): string[] => {
      const { stdout, stderr } = spawnSync(shell, ["-c", code(script, words)], { encoding: "utf8", env: { PATH: process.env.PATH, HOME: folder } }); // biome-ignore format: one line
      expect(stderr).toBe("");
      const lines = stdout.split("\n").filter((line) => line !== "");
      return lines.map((line) => (line.split("\t")[0] ?? "").replace(/^'|'$/g, "")).sort();
    };

    it("knows commands, those below them, options and what these can be", () => {
      expect(offered("turnout", "st")).toEqual(["status"]);
      expect(offered("turnout", "")).toEqual(expect.arrayContaining(["apps", "completion", "db", "rollouts", "serve"]));
      expect(offered("turnout", "groups", "se")).toEqual(["set"]);
      expect(offered("turnout", "channels", "floor", "")).toEqual(["add", "help", "list", "remove"]);
      expect(offered("turnout", "groups", "set", "Canary", "--saf")).toEqual(["--safe-mode"]);
      expect(offered("turnout", "groups", "set", "Canary", "--safe-mode", "")).toEqual(["off", "on"]);
      expect(offered("turnout", "completion", "")).toEqual(["bash", "fish", "zsh"]);
    });

    it("does not take an option's value for a command", () => {
      expect(offered("turnout", "rollouts", "list", "--group", "pause", "--js")).toEqual(["--json"]);
      expect(offered("turnout", "rollouts", "list", "--group", "pause", "--rollb")).toEqual([]);
      expect(offered("turnout", "rollouts", "abort", "--group", "list", "--rollb")).toEqual(["--rollback"]);
    });

    it("offers files where a file is wanted", () => {
      const files = ["a strategy.yaml"];
      expect(offered("turnout", "simulate", "--strategy", "a")).toEqual(files);
      expect(offered("turnout", "db", "restore", "a")).toEqual(files);
    });
  });
}

it("there is no completion for other shells", async () => {
  const { code, err } = await caught(["completion", "cmd"]);
  expect([code, err]).toEqual([2, expect.stringContaining("Allowed choices are bash, zsh, fish.")]);
});
