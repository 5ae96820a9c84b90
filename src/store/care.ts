/** What people have set of a node, and what was noticed of it, as the store keeps it: null where there is nothing. */
import type { Hold, Labels, SharedId } from "../rollout/model/node.ts";
import { NO_LABELS } from "../rollout/node.ts";

export function holdOf(text: string | null): Hold | null {
  return text === null ? null : (JSON.parse(text) as Hold); // written by `textOfHold` alone
}

export function textOfHold({ at, by, why }: Hold): string {
  return JSON.stringify({ at, by, why });
}

export function sharedOf(since: number | null, lastAt: number | null): SharedId | null {
  return since === null || lastAt === null ? null : { since, lastAt };
}

export function labelsOf(text: string | null): Labels {
  return text === null ? NO_LABELS : (JSON.parse(text) as Labels); // written by `textOfLabels` alone
}

/** Ordered by name, so that the same labels are always the same text. */
export function textOfLabels(labels: Labels): string | null {
  const names = Object.keys(labels).sort();
  return names.length === 0 ? null : JSON.stringify(Object.fromEntries(names.map((name) => [name, labels[name]])));
}
