import type { Grant, Node, Retry } from "./model.ts";

/** When a node whose last try has ended may be granted the same again; null: never by itself. */
export function retryAt({ statusAt }: Node, { attempt }: Grant, retry: Retry): number | null {
  if (attempt >= retry.max) return null;
  return statusAt + retry.afterMs * 2 ** (attempt - 1);
}
