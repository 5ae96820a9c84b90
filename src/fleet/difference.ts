/** What a change of the fleet would do, in words: added, changed with old and new value, removed. */

export interface FieldChange {
  /** e.g. `strategy.health.max_lost`. */
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

export interface Difference {
  readonly action: "add" | "change" | "remove";
  /** e.g. `group`. */
  readonly subject: string;
  /** What people call it. */
  readonly name: string;
  readonly application: string;
  readonly fields: readonly FieldChange[];
}

/** Ids stand beside what they mean: a version, a name; the strategy in effect beside the one that was set. */
const SILENT = new Set(["application_id", "package_id", "channel_id", "effective_strategy"]);

/** Field by field, lists as a whole. What was not there before or is not there after is null. */
export function fieldsBetween(before: object | null, after: object | null): FieldChange[] {
  const [left, right] = [leaves(before), leaves(after)];
  const changes: FieldChange[] = [];
  for (const field of new Set([...left.keys(), ...right.keys()])) {
    const [old, now] = [left.get(field) ?? null, right.get(field) ?? null];
    if (JSON.stringify(old) !== JSON.stringify(now)) changes.push({ field, before: old, after: now });
  }
  return changes;
}

function leaves(value: object | null, path = ""): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const [key, inner] of Object.entries(value ?? {})) {
    if (SILENT.has(key)) continue;
    const field = path === "" ? key : `${path}.${key}`;
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) {
      for (const [deep, leaf] of leaves(inner, field)) found.set(deep, leaf);
    } else found.set(field, inner);
  }
  return found;
}
