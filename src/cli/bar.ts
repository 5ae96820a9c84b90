/** A progress bar over several files. */
import { SingleBar } from "cli-progress";

/** What is shown of a file. */
interface Shown {
  readonly name: string;
  readonly sizeBytes: number;
}

type Bar = (file: Pick<Shown, "name">) => (bytes: number) => void;

/** @param work gets a bar for each file, and what says how many bytes there are in all when that shows only later */
export async function withBar<T>(
  what: string,
  files: readonly Shown[],
  quiet: boolean,
  work: (bar: Bar, plan: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  if (quiet)
    return work(
      () => () => {},
      () => {},
    );
  const bar = new SingleBar({
    format: `${what} {name} {bar} {percentage}% | {done} of {all} MB | {eta_formatted} left`,
    hideCursor: true,
    clearOnComplete: true,
    barsize: 30,
  });
  let all = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);
  let done = 0;
  // The cursor is hidden meanwhile, and would stay so.
  const interrupted = (signal: NodeJS.Signals) => {
    bar.stop();
    process.kill(process.pid, signal);
  };
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
  bar.start(all, 0, { name: "", done: "0", all: megabytes(all) });
  try {
    return await work(
      ({ name }) =>
        (bytes) => {
          done += bytes;
          bar.update(done, { name, done: megabytes(done), all: megabytes(all) });
        },
      (bytes) => {
        all = bytes;
        bar.setTotal(all);
      },
    );
  } finally {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
    bar.stop();
  }
}
