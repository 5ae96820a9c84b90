/** Forecasts on a thread of their own, one at a time: the server goes on answering meanwhile. */
import { Worker } from "node:worker_threads";
import type { MadeUpNodes } from "./nodes.ts";
import type { Forecast, ForecastNode, Plan } from "./scenario.ts";

export type ForecastMessage =
  | { readonly kind: "nodes"; readonly nodes: readonly ForecastNode[] }
  | { readonly kind: "make-up"; readonly nodes: MadeUpNodes }
  | { readonly kind: "go" };

/** Not now, or not in time: the message says which. */
export class ForecastUnavailable extends Error {
  override readonly name = "ForecastUnavailable";
}

export class Forecaster {
  readonly #longestMs: number;
  #busy = false;

  /** @param longestMs real milliseconds that a forecast may take. */
  constructor(longestMs = 120_000) {
    this.#longestMs = longestMs;
  }

  /**
   * @param nodes made up, or read in portions.
   * @param signal nobody waits for the answer any more.
   * @throws ForecastUnavailable
   */
  async run(
    plan: Plan,
    nodes: MadeUpNodes | AsyncIterable<readonly ForecastNode[]>,
    signal?: AbortSignal,
  ): Promise<Forecast> {
    if (this.#busy) throw new ForecastUnavailable("another forecast is being made; try again in a few seconds");
    this.#busy = true;
    const worker = new Worker(new URL("./thread.ts", import.meta.url), { workerData: plan });
    const seconds = this.#longestMs / 1000;
    const tooLong = new ForecastUnavailable(
      `it would take longer than ${seconds} seconds; take fewer nodes or less time`,
    );
    let timer: NodeJS.Timeout | undefined;
    let gone: (() => void) | undefined;
    try {
      const answer = new Promise<Forecast>((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
        timer = setTimeout(() => reject(tooLong), this.#longestMs);
        gone = () => reject(new ForecastUnavailable("nobody waits for it any more"));
        signal?.addEventListener("abort", gone);
        if (signal?.aborted) gone();
      });
      // Reading the nodes is raced against it too: a thread that died takes none.
      await Promise.race([answer, hand(worker, nodes)]);
      return await answer;
    } finally {
      clearTimeout(timer);
      if (gone !== undefined) signal?.removeEventListener("abort", gone);
      await worker.terminate();
      this.#busy = false;
    }
  }
}

async function hand(worker: Worker, nodes: MadeUpNodes | AsyncIterable<readonly ForecastNode[]>): Promise<void> {
  const tell = (message: ForecastMessage): void => worker.postMessage(message);
  if ("count" in nodes) tell({ kind: "make-up", nodes });
  else for await (const portion of nodes) tell({ kind: "nodes", nodes: portion });
  tell({ kind: "go" });
}
