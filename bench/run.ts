/**
 * `npm run bench [-- --quick] [-- NAME…]`: measures, prints, and writes bench/results.json and bench/results.md.
 * Ratios are of medians taken turn by turn in this one run. It never fails on a figure.
 */
import { writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { payloads } from "./payloads.ts";
import { canPin } from "./processes.ts";
import { adminReads } from "./reads.ts";
import { forecasts, gate, silence } from "./rollouts.ts";
import {
  againstExpress,
  type Figure,
  fillDatabases,
  manyAgainstFew,
  type Plan,
  planFor,
  slowDisk,
  startUp,
  whileReading,
} from "./scenarios.ts";

type Scenario = (plan: Plan) => Promise<Figure[]>;

/** These ask databases that are full of nodes. */
const WITH_NODES: Readonly<Record<string, Scenario>> = {
  express: againstExpress,
  nodes: manyAgainstFew,
  start: startUp,
  reading: whileReading,
  admin: adminReads,
};
const SCENARIOS: Readonly<Record<string, Scenario>> = {
  ...WITH_NODES,
  disk: slowDisk,
  payloads,
  gate,
  silence,
  forecasts,
};

const { values, positionals } = parseArgs({
  options: { quick: { type: "boolean", default: false }, only: { type: "string" } },
  allowPositionals: true,
});
const named = [...positionals, ...(values.only?.split(",") ?? [])];
const chosen = named.length === 0 ? Object.keys(SCENARIOS) : named;
const unknown = chosen.filter((name) => !Object.hasOwn(SCENARIOS, name));
if (unknown.length > 0) {
  process.stderr.write(`bench: there is no ${unknown.join(", ")}; there are ${Object.keys(SCENARIOS).join(", ")}\n`);
  process.exit(1);
}

const plan = planFor(values.quick);
if (chosen.some((name) => Object.hasOwn(WITH_NODES, name))) {
  process.stdout.write("filling the databases …\n");
  await fillDatabases(plan);
}
const figures: Figure[] = [];
for (const name of chosen) {
  process.stdout.write(`${name} …\n`);
  for (const figure of (await SCENARIOS[name]?.(plan)) ?? []) {
    figures.push(figure);
    process.stdout.write(`  ${mark(figure)} ${figure.name}: ${figure.value}, wanted ${figure.target}\n`);
  }
}

const machine = {
  cpu: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  memoryGb: Math.round(totalmem() / 2 ** 30),
  node: process.version,
  pinned: canPin ? "server on one core, load on the other, where a figure says so" : "not possible here",
};
if (named.length === 0) {
  writeFileSync(
    join(import.meta.dirname, "results.json"),
    `${JSON.stringify({ measured: new Date().toISOString(), quick: values.quick, machine, figures }, null, 2)}\n`,
  );
  writeFileSync(join(import.meta.dirname, "results.md"), markdown());
}
process.exit(0);

function mark({ met }: Figure): string {
  return met === null ? "–" : met ? "met" : "MISSED";
}

function markdown(): string {
  const rows = figures.map((figure) => `| ${figure.name} | ${figure.target} | ${figure.value} | ${mark(figure)} |`);
  return `# What was measured

${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GiB, Node ${machine.node}; ${new Date().toISOString().slice(0, 10)}${values.quick ? ", quick run" : ""}. Pinning: ${machine.pinned}.
Ratios are of medians, taken turn by turn in one run of \`npm run bench\` on a shared machine; the samples are in results.json.

| figure | wanted | measured | |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
}
