/** A few questions at a time: quick for the one who asks, and no storm for the server. */
const AT_A_TIME = 8;

/** The answers are in the order of the items. */
export async function inParallel<T, A>(items: readonly T[], ask: (item: T) => Promise<A>): Promise<A[]> {
  const answers: A[] = [];
  for (let from = 0; from < items.length; from += AT_A_TIME) {
    answers.push(...(await Promise.all(items.slice(from, from + AT_A_TIME).map(ask))));
  }
  return answers;
}
