/**
 * update_engine writes attribute values without escaping quotes, so a quote that a person left in update.conf breaks the
 * document: `GROUP="stable"` arrives as `track=""stable""`. Its attributes come in a fixed order, so a value's true end is
 * known: where the next attribute begins. Exactly this shape is repaired, nothing else.
 * Source: OMAHA.md, "Broken quotes"; flatcar/Flatcar#1424.
 */

/** An app's start tag. It ends before the next "<" at the latest: update_engine does escape those. */
const APP = /<app\s[^<]*/g;

/** The document with those quotes escaped; null when there is nothing of that shape. */
export function repairQuotes(text: string): string | null {
  const repaired = text.replace(APP, (tag) =>
    escapeQuotes(escapeQuotes(tag, ' track="', '" bootid="'), ' machinealias="', '" lang="'),
  );
  return repaired === text ? null : repaired;
}

/** By searching, not by a pattern: on a hostile document a pattern with two open ends takes quadratic time. */
function escapeQuotes(tag: string, opening: string, next: string): string {
  const found = tag.indexOf(opening);
  if (found === -1) return tag;
  const start = found + opening.length;
  const end = tag.indexOf(next, start);
  if (end === -1) return tag;
  return tag.slice(0, start) + tag.slice(start, end).replaceAll('"', "&quot;") + tag.slice(end);
}

/**
 * What the person meant: the value that a shell would have read. Quotes around it go, and so does a comment behind them:
 * `"stable"` is `stable`, `"rack 4" # left` is `rack 4`. Anything else is left as it is.
 */
export function unquoted(value: string): string {
  return /^"([^"]*)"\s*(?:#.*)?$/.exec(value)?.[1] ?? value;
}
