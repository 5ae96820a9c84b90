/** A rollout's curve for the terminal: how many nodes have the version, are under way, or came to a bad end, over time. */
import type { ForecastView } from "../forecast/document.ts";
import { span } from "./span.ts";

const WIDTH = 70;
const HEIGHT = 12;
const EIGHTHS = ["", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

type Point = ForecastView["curve"][number];

export function curve({ nodes, starts_at, ends_at, curve: points }: ForecastView): string {
  const start = Date.parse(starts_at);
  const length = Math.max(1, Date.parse(ends_at) - start);
  const times = points.map(({ at }) => Date.parse(at));
  const columns = Array.from({ length: WIDTH }, (_, column) => {
    const until = start + (length * (column + 1)) / WIDTH;
    const index = times.findLastIndex((at) => at <= until);
    return columnOf(points[Math.max(0, index)], Math.max(1, ...points.map(totalOf)));
  });
  const top = Math.max(1, ...points.map(totalOf));
  const width = String(top).length;
  const lines = Array.from({ length: HEIGHT }, (_, line) => {
    const row = HEIGHT - 1 - line;
    const label = line === 0 ? String(top) : row === HEIGHT / 2 - 1 ? String(Math.round(top / 2)) : "";
    return `${label.padStart(width)} ┤${columns.map((cells) => cells[row] ?? " ").join("")}`.trimEnd();
  });
  const end = span(length);
  const middle = span(length / 2);
  const axis = `${"0".padStart(width)} ┼${"─".repeat(WIDTH)}`;
  const scale = `${" ".repeat(width + 2)}0${middle.padStart(WIDTH / 2 + Math.floor(middle.length / 2) - 1)}`;
  const labels = `${scale}${end.padStart(width + 2 + WIDTH - scale.length)}`;
  const share = top === nodes ? "" : ` (of ${nodes} nodes)`;
  return `${[...lines, axis, labels].join("\n")}\n${" ".repeat(width + 2)}█ complete  ░ under way  × bad end${share}\n`;
}

function totalOf({ complete, in_flight: inFlight, bad }: Point): number {
  return complete + inFlight + bad;
}

/** From the bottom: what the nodes of one moment come to, as cells of a column. */
function columnOf(point: Point | undefined, top: number): string[] {
  if (point === undefined) return [];
  const scale = (HEIGHT * 8) / top;
  const eighths = Math.round(point.complete * scale);
  const cells: string[] = Array.from({ length: Math.floor(eighths / 8) }, () => "█");
  if (eighths % 8 > 0) cells.push(EIGHTHS[eighths % 8] ?? "");
  // What there is at all is seen.
  const rows = (count: number): number => (count === 0 ? 0 : Math.max(1, Math.round((count * scale) / 8)));
  for (let row = rows(point.in_flight); row > 0 && cells.length < HEIGHT; row -= 1) cells.push("░");
  const bad = rows(point.bad);
  for (let row = 0; row < bad; row += 1) {
    if (cells.length < HEIGHT) cells.push("×");
    else cells[HEIGHT - 1 - row] = "×";
  }
  return cells;
}
