/** When a node is missed, in SQL, as far as that is the same for all: nodes that are sometimes away are judged one by one. */
import { type RawBuilder, sql } from "kysely";
import { type Away, HABIT_MS } from "../rollout/habits.ts";

/** Whether it was not away in the last days. Of a row of `seen`, or of none. */
export function isSteady(now: number): RawBuilder<boolean> {
  return sql<boolean>`(seen.away_until IS NULL OR seen.away_until <= ${now - HABIT_MS})`;
}

/** When such a node is missed. Of a row of `nodes` with that of `seen`, if there is one already. */
export function steadyMissedFrom(silentAfterMs: number): RawBuilder<number> {
  return sql<number>`
    coalesce(CASE WHEN seen.due_at > seen.at THEN seen.due_at ELSE seen.at END, nodes.created_at) + ${silentAfterMs}`;
}

export function awayOf(text: string | null): Away {
  return text === null ? [] : (JSON.parse(text) as Away); // written by the store alone
}
