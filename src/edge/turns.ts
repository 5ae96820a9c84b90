/** The row of the central server: which one it is, when it is due, and which process is at it. */
import type { ExpressionBuilder } from "kysely";
import type { Clock } from "../clock.ts";
import { moveRevision } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import type { Tables } from "../store/tables.ts";

/** While a round lasts it keeps its lease; a process that has died loses it so soon. */
const LEASE_MS = 120_000;
/** After failures, the interval doubles up to this. */
const LONGEST_WAIT_MS = 15 * 60_000;
/** So much of the interval comes or goes by chance: sites that were started together do not ask together. */
const JITTER = 0.2;

export interface TurnsOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly intervalMs: number;
  /** In [0, 1). */
  readonly random: () => number;
}

export class Turns {
  readonly #options: TurnsOptions;
  readonly #longestMs: number;

  constructor(options: TurnsOptions) {
    this.#options = options;
    this.#longestMs = Math.max(LONGEST_WAIT_MS, options.intervalMs);
  }

  /** Whether a round is due, and is this process's now. */
  async take(): Promise<boolean> {
    const { store, clock } = this.#options;
    const now = clock.now();
    // Times that are further ahead than any of ours were written when the clock was wrong.
    const isFree = (eb: ExpressionBuilder<Tables, "central">) =>
      eb.or([eb("lease_until", "<=", now), eb("lease_until", ">", now + LEASE_MS)]);
    const due = await store.read
      .selectFrom("central")
      .select("one")
      .where((eb) => eb.or([eb("next_at", "<=", now), eb("next_at", ">", now + this.#longestMs * (1 + JITTER))]))
      .where(isFree)
      .executeTakeFirst();
    if (due === undefined) return false;
    const { numUpdatedRows } = await store.write((tx) =>
      tx
        .updateTable("central")
        .set({ lease_until: now + LEASE_MS })
        .where(isFree)
        .executeTakeFirst(),
    );
    return numUpdatedRows > 0n;
  }

  renew(): Promise<unknown> {
    const lease_until = this.#options.clock.now() + LEASE_MS;
    return this.#options.store.write((tx) => tx.updateTable("central").set({ lease_until }).execute());
  }

  giveBack(): Promise<unknown> {
    return this.#options.store.write((tx) => tx.updateTable("central").set({ lease_until: 0 }).execute());
  }

  /** The next one is due at once. */
  hurry(): Promise<unknown> {
    const { store, clock } = this.#options;
    return store.write((tx) => tx.updateTable("central").set({ next_at: clock.now() }).execute());
  }

  /** How it went, and when the next one is due. @param error null: it went well. */
  settle(error: string | null): Promise<unknown> {
    const { store, clock, intervalMs, random } = this.#options;
    return store.write(async (tx) => {
      const { failures: before } = await tx.selectFrom("central").select("failures").executeTakeFirstOrThrow();
      const failures = error === null ? 0 : before + 1;
      const waitMs = Math.min(intervalMs * 2 ** Math.max(0, failures - 1), this.#longestMs);
      const nextAt = clock.now() + Math.round(waitMs * (1 + JITTER * (2 * random() - 1)));
      await tx.updateTable("central").set({ error, failures, next_at: nextAt, lease_until: 0 }).execute();
    });
  }
}

/**
 * What was applied before holds until something else comes, also when the address is another by now. All is asked for once: our
 * settings may have changed. Whoever had the lease is gone: a database is one process's.
 */
export async function rememberCentral(store: Store, url: string, site: string, now: number): Promise<void> {
  const row = { url, site, next_at: now, lease_until: 0, etag: null };
  await store.write((tx) =>
    tx
      .insertInto("central")
      .values({ one: 1, ...row })
      .onConflict((already) => already.column("one").doUpdateSet(row))
      .execute(),
  );
}

/** Without a central server, everything is the site's own. */
export async function forgetCentral(store: Store): Promise<void> {
  const row = await store.read.selectFrom("central").select("one").executeTakeFirst();
  if (row === undefined) return;
  await store.write(async (tx) => {
    await tx.deleteFrom("central").execute();
    await moveRevision(tx);
  });
}
