/**
 * update_engine writes attribute values without escaping quotes, so a quote that a person left in update.conf breaks the
 * document: `GROUP="stable"` arrives as `track=""stable""`. Its attributes come in a fixed order, so a value's true end is
 * known: where the next attribute begins. Exactly this shape is repaired, nothing else.
 * Source: OMAHA.md, "Broken quotes"; flatcar/Flatcar#1424.
 */

const APP = /<app\s[^<]*>/g;
/** The value, up to the attribute that update_engine writes next. */
const TRACK = /(\strack=")([^<]*?)("\s+bootid=")/;
const ALIAS = /(\smachinealias=")([^<]*?)("\s+lang=")/;

/** The document with those quotes escaped; null when there is nothing of that shape. */
export function repairQuotes(text: string): string | null {
  const repaired = text.replace(APP, (tag) => tag.replace(TRACK, escapeQuotes).replace(ALIAS, escapeQuotes));
  return repaired === text ? null : repaired;
}

function escapeQuotes(_whole: string, before: string, value: string, after: string): string {
  return before + value.replaceAll('"', "&quot;") + after;
}

/**
 * What the person meant: the value that a shell would have read. Quotes around it go, and so does a comment behind them:
 * `"stable"` is `stable`, `"rack 4" # left` is `rack 4`. Anything else is left as it is.
 */
export function unquoted(value: string): string {
  return /^"([^"]*)"\s*(?:#.*)?$/.exec(value)?.[1] ?? value;
}
