/** Turnout's own version. Read, not imported: so it needs no flag of the runtime's. */
import { readFileSync } from "node:fs";

export const VERSION = String(JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version);
