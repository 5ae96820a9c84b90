/** What every resource of the admin API works with. */
import type { Response } from "express";
import type { Kysely, Transaction } from "kysely";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import { type Actor, SYSTEM, settleConfiguration } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import type { Tables } from "../store/tables.ts";

export type Db = Kysely<Tables>;
export type Tx = Transaction<Tables>;

export interface AdminContext {
  readonly store: Store;
  readonly clock: Clock;
}

/** Set by the router once it knows who asks. */
export function setActor(response: Response, actor: Actor): void {
  response.locals.actor = actor;
}

export function actorOf(response: Response): Actor {
  const { actor } = response.locals;
  // Only `setActor` writes it, before any route runs.
  return (actor as Actor | undefined) ?? SYSTEM;
}

/** One change of the configuration: `work` and all that follows from it (rollouts, revision), or nothing at all. */
export function change<T>(
  { store, clock }: AdminContext,
  response: Response,
  work: (tx: Tx, now: number) => Promise<T>,
): Promise<T> {
  const now = clock.now();
  return store.write(async (tx) => {
    const result = await work(tx, now);
    await settleConfiguration(tx, actorOf(response), now);
    return result;
  });
}

/** Fields that our answers have and nobody can set: clients send whole objects back, so they are taken and ignored. */
export function readOnly<K extends string>(...names: K[]): Record<K, z.ZodOptional<z.ZodUnknown>> {
  const fields = names.map((name) => [name, z.unknown().optional()] as const);
  return Object.fromEntries(fields) as Record<K, z.ZodOptional<z.ZodUnknown>>; // the keys are the names, by construction
}

export function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
