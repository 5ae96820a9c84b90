/** What is done every so often. */

export interface Repeated {
  /** Begins no more turns; resolves when the present one has ended. */
  stop(): Promise<void>;
}

/** Every `everyMs`, but never twice at a time: a turn that takes long is simply not begun again. Keeps no process alive. */
export function repeat(everyMs: number, turn: () => Promise<unknown>, onError: (error: unknown) => void): Repeated {
  let running: Promise<unknown> | null = null;
  const timer = setInterval(() => {
    running ??= turn()
      .catch(onError)
      .finally(() => {
        running = null;
      });
  }, everyMs);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
