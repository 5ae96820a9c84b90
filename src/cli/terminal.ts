/** What people see: tables, facts and times, as wide as their terminal. */

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** One line. */
export function say(text: string): void {
  process.stdout.write(`${printable(text)}\n`);
}

/** One line beside what was asked for. */
export function note(text: string): void {
  process.stderr.write(`${printable(text)}\n`);
}

/** A whole list, as a page of it is answered. */
export function printJsonList(name: string, items: readonly unknown[]): void {
  printJson({ totalCount: items.length, count: items.length, [name]: items });
}

/** "1 file", "2 files". */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

export type Cell = string | number | null;

/** No column of texts is made narrower than this. */
const NARROWEST = 8;

/**
 * Columns as wide as their widest cell; numbers stand on the right. On a terminal that is too narrow, texts go on in the next
 * line of their column. Nothing is ever cut off.
 */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[], width = terminalWidth()): string {
  const onRight = head.map((_, column) => rows.some((row) => typeof row[column] === "number"));
  const texts = rows.map((row) => row.map((cell) => (cell === null ? "-" : printable(String(cell)))));
  return laidOut([head, ...texts], onRight, width);
}

/** What is known of one thing, line by line. */
export function facts(pairs: readonly (readonly [name: string, value: Cell])[], width = terminalWidth()): string {
  const texts = pairs.map(([name, value]) => [name, value === null ? "-" : printable(String(value))]);
  return laidOut(texts, [], width);
}

function laidOut(rows: readonly (readonly string[])[], onRight: readonly boolean[], width: number): string {
  const { widths, gap } = layout(rows, onRight, width);
  const padded = (text: string, at: number) =>
    onRight[at] ? text.padStart(widths[at] ?? 0) : text.padEnd(widths[at] ?? 0);
  const lines: string[] = [];
  for (const row of rows) {
    const cells = row.map((text, at) => wrapped(text, widths[at] ?? 0));
    const height = Math.max(...cells.map((cell) => cell.length));
    for (let line = 0; line < height; line += 1) {
      const here = cells.map((cell, at) => padded(cell[line] ?? "", at));
      lines.push(here.join(" ".repeat(gap)).trimEnd());
    }
  }
  return `${lines.join("\n")}\n`;
}

/** The most comfortable layout that fits: words, such as ids, are broken only when nothing else helps; numbers never. */
function layout(rows: readonly (readonly string[])[], onRight: readonly boolean[], width: number) {
  const natural: number[] = [];
  const words: number[] = [];
  for (const row of rows) {
    for (const [at, text] of row.entries()) {
      natural[at] = Math.max(natural[at] ?? 0, text.length);
      words[at] = Math.max(words[at] ?? 0, ...text.split(" ").map((word) => word.length));
    }
  }
  const broken = words.map((word, at) => (onRight[at] ? word : Math.min(word, NARROWEST)));
  const layouts = [words, broken].flatMap((least) =>
    [2, 1].map((gap) => ({ ...shrunk(natural, least, gap, width), gap })),
  );
  const last = { widths: broken, gap: 1 };
  return layouts.find(({ over }) => over <= 0) ?? last;
}

/** Takes from the widest column that can give until all of them fit. `over`: by how much they do not. */
function shrunk(natural: readonly number[], least: readonly number[], gap: number, width: number) {
  const widths = [...natural];
  let over = widths.reduce((sum, one) => sum + one + gap, -gap) - width;
  while (over > 0) {
    const widest = Math.max(0, ...widths.filter((one, at) => one > (least[at] ?? 0)));
    const at = widths.findLastIndex((one, column) => one === widest && one > (least[column] ?? 0));
    if (at < 0) break;
    widths[at] = widest - 1;
    over -= 1;
  }
  return { widths, over };
}

/** Between words where that is possible. */
function wrapped(text: string, width: number): string[] {
  if (text.length <= width) return [text];
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const space = rest.lastIndexOf(" ", width);
    const end = space > 0 ? space : width;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return [...lines, rest];
}

function terminalWidth(): number {
  return process.stdout.isTTY && process.stdout.columns > 0 ? process.stdout.columns : Number.POSITIVE_INFINITY;
}

/** Nodes say of themselves what they like: what would steer a terminal is shown, not done. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, "\ufffd");
}

/** 2026-03-04 14:05 UTC */
export function shortTime(iso: string): string {
  return `${iso.slice(0, 16).replace("T", " ")} UTC`;
}

/** As options have it. */
export function onOff(value: boolean): "on" | "off" {
  return value ? "on" : "off";
}

/** e.g. 1 group, 2 groups */
export function several(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
