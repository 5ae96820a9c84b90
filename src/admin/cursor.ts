/** Where a page ended, as a text for whoever wants the next one: not to be taken apart, and good for the same list only. */
import { z } from "zod";
import type { NodeCursor } from "../store/node-list.ts";
import { invalid } from "./problem.ts";

const place = z.union([z.string().max(1_000), z.number()]);
const cursor = z.tuple([place, place]);

export function encodeCursor({ key, tie }: NodeCursor): string {
  return Buffer.from(JSON.stringify([key, tie])).toString("base64url");
}

/** @throws Problem 400 when it is none of ours. */
export function decodeCursor(text: string): NodeCursor {
  try {
    const [key, tie] = cursor.parse(JSON.parse(Buffer.from(text, "base64url").toString()));
    return { key, tie };
  } catch {
    throw invalid("after", "must be the `next` of the page before, as it came");
  }
}
