/** The exit codes of every command: this is the one place where they are said. */
export const EXIT = {
  done: 0,
  refused: 1,
  usage: 2,
  halted: 3,
  noEnd: 4,
  changes: 5,
  unsound: 6,
} as const;

export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT.done, "done"],
  [EXIT.refused, "the server said no or can't be reached, or something given is wrong"],
  [EXIT.usage, "there is no such command or option"],
  [EXIT.halted, "status: something waits for a person; simulate: it would be halted or paused"],
  [EXIT.noEnd, "simulate: the rollout would come to no end"],
  [EXIT.changes, "plan --exit-code: there are changes to apply"],
  [EXIT.unsound, "audit verify, db check, counters: not as it should be"],
];
