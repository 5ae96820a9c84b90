/** `npm run pictures`: draws rollout-curve.svg from two simulated runs of docs/rollouts.md's own strategy. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scaleLinear } from "d3-scale";
import { area, curveStepAfter } from "d3-shape";
import { parse } from "yaml";
import { type ForecastDocument, forecastSchema, madeUpNodes, NO_LIMITS, planOf } from "../../src/forecast/document.ts";
import { makeUp } from "../../src/forecast/nodes.ts";
import type { Forecast, ForecastPoint } from "../../src/forecast/scenario.ts";
import { simulate } from "../../src/forecast/simulation.ts";

const HOUR = 3_600_000;
const WIDTH = 860;
const PANEL = { left: 70, width: 760, height: 200 } as const;
const COLORS = { complete: "#2f7d4f", inFlight: "#9ecbaa", bad: "#c2352b", line: "#5b6570", text: "#24292f" } as const;

function run(asked: ForecastDocument): Forecast {
  const strategy = parse(readFileSync(join(import.meta.dirname, "../examples/careful-steps.yaml"), "utf8"));
  const request = forecastSchema.parse({ nodes: 10_000, oems: ["azure", "gce", "qemu", "vmware"], strategy, ...asked });
  const defaults = { version: "4230.2.1", strategy: {}, policy: NO_LIMITS, now: Date.UTC(2026, 10, 24, 8) };
  const plan = planOf(request, defaults);
  return simulate({ ...plan, nodes: makeUp(madeUpNodes(request, plan), plan.seed) });
}

function panel(title: string, forecast: Forecast, top: number, everyHours: number): string {
  const { startsAt, endsAt, curve, stages, history } = forecast;
  const bottom = top + PANEL.height;
  const x = scaleLinear([startsAt, endsAt], [PANEL.left, PANEL.left + PANEL.width]);
  const y = scaleLinear([0, Math.max(...curve.map((point) => point.granted))], [bottom, top]).nice();
  const layer = (
    from: (point: ForecastPoint) => number,
    to: (point: ForecastPoint) => number,
    color: string,
  ): string => {
    const shape = area<ForecastPoint>()
      .x(({ at }) => x(at))
      .y0((point) => y(from(point)))
      .y1((point) => y(to(point)))
      .curve(curveStepAfter);
    return `<path d="${shape([...curve]) ?? ""}" fill="${color}"/>`;
  };
  const hours = Array.from(
    { length: Math.floor((endsAt - startsAt) / (everyHours * HOUR)) + 1 },
    (_, n) => n * everyHours,
  );
  const halted = history.find(({ state }) => state === "halted");
  return [
    text(PANEL.left, top - 34, title, { size: 15, weight: 600 }),
    ...y
      .ticks(4)
      .map(
        (count) =>
          `${rule(PANEL.left, y(count), PANEL.left + PANEL.width, y(count), "#e3e6e9")}${text(PANEL.left - 8, y(count) + 4, count.toLocaleString("en"), { anchor: "end" })}`,
      ),
    layer(
      () => 0,
      ({ complete }) => complete,
      COLORS.complete,
    ),
    layer(
      ({ complete }) => complete,
      ({ complete, inFlight }) => complete + inFlight,
      COLORS.inFlight,
    ),
    layer(
      ({ complete, inFlight }) => complete + inFlight,
      ({ complete, inFlight, bad }) => complete + inFlight + bad,
      COLORS.bad,
    ),
    ...stages.flatMap(({ openedAt, percent }, index) =>
      openedAt === null
        ? []
        : [
            rule(x(openedAt), top - 14, x(openedAt), bottom, COLORS.line, "3 3"),
            beside(x(openedAt), top - 6, `stage ${index + 1}: ${percent} %`),
          ],
    ),
    halted === undefined
      ? ""
      : `${rule(x(halted.at), top - 14, x(halted.at), bottom, COLORS.bad)}${beside(x(halted.at), top - 6, `halted: ${halted.reason}`, COLORS.bad)}`,
    ...hours.map(
      (hour) =>
        `${rule(x(startsAt + hour * HOUR), bottom, x(startsAt + hour * HOUR), bottom + 5, COLORS.line)}${text(x(startsAt + hour * HOUR), bottom + 19, `${hour} h`, { anchor: "middle" })}`,
    ),
    rule(PANEL.left, bottom, PANEL.left + PANEL.width, bottom, COLORS.line),
  ].join("\n");
}

/** On the right of `x`, or on its left where the picture ends. */
function beside(x: number, y: number, what: string, color: string = COLORS.text): string {
  const fits = x < PANEL.left + PANEL.width - 80;
  return text(fits ? x + 4 : x - 4, y, what, { anchor: fits ? "start" : "end", color });
}

function rule(x1: number, y1: number, x2: number, y2: number, color: string, dashes = "none"): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1));
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" stroke="${color}" stroke-dasharray="${dashes}"/>`;
}

function text(
  x: number,
  y: number,
  what: string,
  { anchor = "start", size = 12, weight = 400, color = COLORS.text as string } = {},
): string {
  const escaped = what.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" font-size="${size}" font-weight="${weight}" text-anchor="${anchor}" fill="${color}">${escaped}</text>`;
}

function legend(y: number): string {
  const entries = [
    ["complete", COLORS.complete],
    ["under way", COLORS.inFlight],
    ["failed, timed out, fallen back or lost", COLORS.bad],
  ] as const;
  return entries
    .map(
      ([name, color], index) =>
        `<rect x="${PANEL.left + index * 130}" y="${y - 11}" width="14" height="14" fill="${color}"/>${text(PANEL.left + 20 + index * 130, y, name)}`,
    )
    .join("\n");
}

const good = run({ fail: ["1%:9"] });
const killer = run({ die: ["100%"] });
writeFileSync(
  join(import.meta.dirname, "rollout-curve.svg"),
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} 640" font-family="system-ui, sans-serif" role="img">
<title>Two simulated rollouts to 10,000 nodes: a good release, and one that no node comes back from</title>
<rect width="${WIDTH}" height="640" fill="#ffffff"/>
${panel(`A good release (1 % of the nodes fail): ${good.complete.toLocaleString("en")} of ${good.nodes.toLocaleString("en")} nodes updated`, good, 60, 6)}
${panel(`A release that no node comes back from: it reaches ${killer.reached} of ${killer.nodes.toLocaleString("en")} nodes`, killer, 360, 0.25)}
${legend(615)}
</svg>
`,
);
