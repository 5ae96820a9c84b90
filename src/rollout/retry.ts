import type { Grant, Node } from "./model/node.ts";
import type { Retry } from "./model/strategy.ts";

/**
 * When a node whose last try has ended may be granted the same again; null: never by itself. No attempt at all is what a
 * person who lets it try again makes of the earlier ones. What had completed, and is wanted again, has not failed.
 */
export function retryAt({ statusAt }: Node, { attempt, failure }: Grant, retry: Retry): number | null {
  if (attempt === 0) return statusAt;
  if (failure === null) return statusAt + retry.afterMs;
  if (attempt >= retry.max) return null;
  return statusAt + retry.afterMs * 2 ** (attempt - 1);
}
