/** Checks an exported audit log where no server is. */
import { createReadStream, existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { z } from "zod";
import { BEGINNING, type Break, breakAfter, type Link } from "../audit-chain.ts";
import { ApiError } from "./api.ts";

/** As it is in the file, field by field in its order: the hash depends on that. */
const state = z
  .custom<Readonly<Record<string, unknown>>>((value) => typeof value === "object" && !Array.isArray(value))
  .nullable();

/** A line as the server answers it. */
const entrySchema = z.object({
  no: z.int(),
  created_ts: z.iso.datetime(),
  actor_kind: z.string(),
  actor: z.string(),
  actor_id: z.string().nullable(),
  address: z.string(),
  request_id: z.string(),
  action: z.string(),
  subject: z.string(),
  subject_id: z.string(),
  application_id: z.string().nullable(),
  group_id: z.string().nullable(),
  before: state,
  after: state,
  hash: z.string(),
});
export type AuditEntry = z.output<typeof entrySchema>;

export interface Verdict {
  /** Of a file that begins later: the number of its first line. */
  readonly first?: number;
  /** The number of the last line that is as it was written. */
  readonly lines: number;
  /** The hash of the last line. */
  readonly head: string;
  readonly broken: Break | null;
}

/**
 * A file that does not begin with the first line of the log is checked from its own first line on.
 * @param file - is the standard input.
 * @param noted a line that must be in it as it was noted.
 * @throws ApiError when it is no such file
 */
export async function verifyFile(file: string, noted: Link | undefined): Promise<Verdict> {
  if (file !== "-" && !existsSync(file)) throw new ApiError(`there is no file ${file}`);
  const input = file === "-" ? process.stdin : createReadStream(file);
  let last: Link = BEGINNING;
  let first = 1;
  let seen = false;
  let at = 0;
  const verdict = (broken: Break | null): Verdict => ({
    ...(first > 1 && { first }),
    lines: last.no,
    head: last.hash,
    broken,
  });
  for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    at += 1;
    if (text.trim() === "") continue;
    const line = chained(text, `${file}: line ${at}`);
    if (last === BEGINNING) first = line.no;
    const broken = last === BEGINNING && first > 1 ? null : breakAfter(last, line);
    if (broken !== null) return verdict(broken);
    if (line.no === noted?.no) {
      if (line.hash !== noted.hash) return verdict({ no: line.no, why: "the line is another one than was noted" });
      seen = true;
    }
    last = line;
  }
  if (noted === undefined || seen) return verdict(null);
  return verdict({ no: noted.no, why: "the line that was noted is not in the file" });
}

/** @throws ApiError */
function chained(text: string, where: string) {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw new ApiError(`${where} is not JSON`);
  }
  const parsed = entrySchema.safeParse(content);
  if (!parsed.success) throw new ApiError(`${where} is no line of the audit log`);
  const { created_ts: at, before, after, ...line } = parsed.data;
  return { ...line, at: Date.parse(at), before: asText(before), after: asText(after) };
}

/** As it was written into the log. */
function asText(state: object | null): string | null {
  return state === null ? null : JSON.stringify(state);
}
