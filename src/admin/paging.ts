/** `?page=1&perpage=10`: 1-based, also where older clients count from 0. */
import { z } from "zod";

const MAX_PER_PAGE = 1_000;

export const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, "must be a whole number")
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be between ${min} and ${max}`)
    .meta({ wholeNumber: { minimum: min, maximum: max } });

/** Fields for a query's schema. */
export const pageQuery = {
  page: wholeNumber(0, 1_000_000).default(1),
  perpage: wholeNumber(1, MAX_PER_PAGE).default(10),
};

export interface Page {
  readonly page: number;
  readonly perpage: number;
}

export function rangeOf({ page, perpage }: Page): { limit: number; offset: number } {
  return { limit: perpage, offset: (Math.max(page, 1) - 1) * perpage };
}

/** The part of a list that the page shows. */
export function cut<T>(all: readonly T[], page: Page): T[] {
  const { limit, offset } = rangeOf(page);
  return all.slice(offset, offset + limit);
}

/** A page of a list, as it is answered: how many there are, how many of them are here, and these. */
export function listOf<K extends string, S extends z.ZodType>(name: K, item: S) {
  const items = { [name]: z.array(item) } as { [N in K]: z.ZodArray<S> }; // the one key is the name
  return z.object({ totalCount: z.int(), count: z.int(), ...items });
}

/** A list of the older API: there, an empty one is null. Clients tell "none" by it. */
export function orNull<T>(items: T[]): T[] | null {
  return items.length === 0 ? null : items;
}

/** The same as `listOf` in the way of the older API. */
export function listOrNullOf<K extends string, S extends z.ZodType>(name: K, item: S) {
  const items = { [name]: z.array(item).nullable() } as { [N in K]: z.ZodNullable<z.ZodArray<S>> }; // the same
  return z.object({ totalCount: z.int(), count: z.int(), ...items });
}
