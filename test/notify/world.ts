/** Webhooks on the real server, with a receiver on a real socket. Time is ours. */
import { beforeEach } from "vitest";
import { afterwards } from "../afterwards.ts";
import { aTurnout, checks, reports, type TestTurnout } from "../e2e/turnout.ts";
import { aReceiver, type Receiver } from "./receiver.ts";

export const PRIVATE = { TURNOUT_WEBHOOK_PRIVATE_TARGETS: "yes" };
export const NO_PRIVATE = { TURNOUT_WEBHOOK_PRIVATE_TARGETS: "no" };

export interface Webhook {
  readonly id: string;
  readonly secret: string;
  readonly enabled: boolean;
  readonly health: Readonly<Record<string, unknown>>;
}
export interface Delivery {
  readonly id: string;
  readonly state: string;
  readonly [field: string]: unknown;
}

/** What the tests of a file have to do with: a new one for each. */
export class World {
  readonly receiver: Receiver;
  #server: TestTurnout | null = null;

  constructor(receiver: Receiver) {
    this.receiver = receiver;
    afterwards(() => receiver.close());
  }

  get server(): TestTurnout {
    if (this.#server === null) throw new Error("no server was started");
    return this.#server;
  }

  /** Starts the server that everything here talks to from now on. */
  async start(options: Parameters<typeof aTurnout>[1] = {}, environment = PRIVATE): Promise<TestTurnout> {
    const server = await aTurnout(environment, options);
    this.#server = server;
    afterwards(() => server.close());
    return server;
  }

  async anotherReceiver(): Promise<Receiver> {
    const receiver = await aReceiver();
    afterwards(() => receiver.close());
    return receiver;
  }

  aWebhook(changes: Record<string, unknown> = {}): Promise<Webhook> {
    return this.server.api("POST", "/webhooks", { name: "pager", url: this.receiver.url, ...changes });
  }

  webhook(name = "pager"): Promise<Webhook> {
    return this.server.api("GET", `/webhooks/${name}`);
  }

  async deliveries(query = "", name = "pager"): Promise<Delivery[]> {
    const path = `/webhooks/${name}/deliveries?perpage=1000&${query}`;
    return (await this.server.api<{ deliveries: Delivery[] }>("GET", path)).deliveries;
  }

  test(name = "pager"): Promise<Delivery> {
    return this.server.api("POST", `/webhooks/${name}/test`);
  }

  /** Whatever the API answers: its status, and its body as text. */
  async answer(method: string, path: string, body?: unknown): Promise<readonly [status: number, text: string]> {
    const response = await fetch(`${this.server.url}/api${path}`, {
      method,
      headers: { "Content-Type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return [response.status, await response.text()];
  }

  /** What the timer does. */
  async tell(): Promise<void> {
    const { notifications } = this.server.turnout;
    await notifications.handOver();
    await notifications.deliver();
  }

  /** A node is offered the update, and says that it failed with code 9. */
  async nodeFails(n: number): Promise<void> {
    const node = { machineId: machine(n), alias: `rack7-node${n}` };
    await this.server.omaha(checks(node));
    await this.server.omaha(reports(3, 0, node, 268435465));
  }
}

export const machine = (n: number) => n.toString(16).padStart(32, "0");

/** For each test of the file: `use` gets its world. */
export function worlds(use: (world: World) => void): void {
  beforeEach(async () => use(new World(await aReceiver())));
}
