/** What real clients sent and were sent, written down by hand from CLIENTS.md §7. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "samples");

/** e.g. "02-ue-check-noupdate" */
export const SAMPLES: readonly string[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".request.xml"))
  .map((file) => file.replace(".request.xml", ""))
  .sort();

export const ANSWERED: readonly string[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".response.xml"))
  .map((file) => file.replace(".response.xml", ""))
  .sort();

export function sampleRequest(name: string): string {
  return readFileSync(join(FOLDER, `${name}.request.xml`), "utf8");
}

export function sampleResponse(name: string): string {
  return readFileSync(join(FOLDER, `${name}.response.xml`), "utf8");
}
