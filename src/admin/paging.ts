/**
 * `?page=1&perpage=10`: 1-based, also where older clients count from 0. Or `?after=ID&perpage=10`: what comes behind that one,
 * also when others have come or gone meanwhile.
 */
import { z } from "zod";
import { invalid, type Problem } from "./problem.ts";

/** One answer has a size that can be borne. */
const MAX_PER_PAGE = 1_000;

export const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, "must be a whole number")
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be between ${min} and ${max}`)
    .meta({ wholeNumber: { minimum: min, maximum: max } });

/** How many of something are wanted. Who asks for more than `max` gets `max`: clients of the older API ask for 100,000. */
export const countUpTo = (max: number, min: 0 | 1 = 1) =>
  z
    .string()
    .regex(/^\d{1,18}$/, "must be a whole number")
    .transform((text) => Math.min(Number(text), max))
    .refine((value) => value >= min, `must be ${min} or more`)
    .meta({ wholeNumber: { minimum: min } });

/** Fields for a query's schema. */
export const pageQuery = {
  page: wholeNumber(0, 1_000_000).default(1),
  perpage: countUpTo(MAX_PER_PAGE).default(10).describe("How many; 1000 at most, also where more is asked for"),
  after: z.string().max(1_000).optional().describe("The id of the last one of the page before, instead of `page`"),
};

export interface Page {
  readonly page: number;
  readonly perpage: number;
  readonly after?: string | undefined;
}

export function rangeOf({ page, perpage }: Omit<Page, "after">): { limit: number; offset: number } {
  return { limit: perpage, offset: (Math.max(page, 1) - 1) * perpage };
}

/** The same for a list that is short enough to be read whole. @param ids all of them, in the list's order */
export async function placeOf(
  page: Page,
  ids: () => Promise<readonly { readonly id: string }[]>,
): Promise<{ limit: number; offset: number }> {
  return page.after === undefined ? rangeOf(page) : placeAfter(page.after, page, await ids());
}

function placeAfter(after: string, { perpage }: Page, all: readonly { readonly id: string }[]) {
  const index = all.findIndex(({ id }) => id === after.toLowerCase());
  if (index < 0) throw notThere();
  return { limit: perpage, offset: index + 1 };
}

/**
 * For a list that grows without end: the number of the one that `after` names. Null: it names none.
 * @throws Problem 400 when it is not in the list.
 */
export async function numberAfter(
  { after }: Page,
  find: (id: string) => Promise<{ readonly no: number } | undefined>,
): Promise<number | null> {
  if (after === undefined) return null;
  const found = await find(after);
  if (found === undefined) throw notThere();
  return found.no;
}

function notThere(): Problem {
  return invalid("after", "must be the id of the last one of the page before; there is none like it in this list");
}

/** The part of a list that the page shows. */
export function cut<T extends { readonly id: string }>(all: readonly T[], page: Page): T[] {
  const { limit, offset } = page.after === undefined ? rangeOf(page) : placeAfter(page.after, page, all);
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
