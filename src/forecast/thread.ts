/** A thread that forecasts once: it is given the plan, then the nodes in portions, and answers with the forecast. */
import { setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import type { ForecastMessage } from "./forecaster.ts";
import { makeUp } from "./nodes.ts";
import type { ForecastNode, Plan } from "./scenario.ts";
import { simulate } from "./simulation.ts";

const port = parentPort;
if (port === null) throw new Error("thread.ts runs as a worker thread only");
try {
  // On Linux this is the calling thread's alone: when cores are scarce, check-ins go first.
  setPriority(15);
} catch {
  // Not allowed here: then all threads are alike.
}
const plan = workerData as Plan; // of forecaster.ts, which starts this thread
const nodes: ForecastNode[] = [];

port.on("message", (message: ForecastMessage) => {
  if (message.kind === "nodes") nodes.push(...message.nodes);
  else if (message.kind === "make-up") nodes.push(...makeUp(message.nodes, plan.seed));
  else port.postMessage(simulate({ ...plan, nodes }));
});
