/**
 * Downloads of one file over and over, on connections that are kept, in a process of its own. Bytes are counted, not looked at.
 *
 * Arguments: one JSON text, `DownloadOptions`. Prints one line of JSON, `DownloadResult`.
 */
import { connect } from "node:net";

export interface DownloadOptions {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
}

export interface DownloadResult {
  readonly bytesPerSecond: number;
  readonly files: number;
  readonly failed: number;
}

const WARM_UP_MS = 1_000;
const BUFFER_BYTES = 256 * 2 ** 10;

function run({ url, connections, seconds }: DownloadOptions): Promise<DownloadResult> {
  const { hostname, port, pathname, host } = new URL(url);
  const request = `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nAccept: */*\r\n\r\n`;
  let [bytes, files, failed] = [0, 0, 0];

  function download(): void {
    /** Of the present answer, still to come; null: its head is not here yet. */
    let left: number | null = null;
    let head = "";
    const socket = connect({
      port: Number(port),
      host: hostname,
      onread: {
        buffer: Buffer.allocUnsafe(BUFFER_BYTES),
        callback(read, buffer) {
          bytes += read;
          if (left === null) {
            head += Buffer.from(buffer.subarray(0, Math.min(read, 4096))).toString("latin1");
            const end = head.indexOf("\r\n\r\n");
            if (end === -1) return true;
            if (!head.startsWith("HTTP/1.1 200")) failed += 1;
            left = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0) - (read - end - 4);
          } else left -= read;
          if (left > 0) return true;
          files += 1;
          left = null;
          head = "";
          socket.write(request);
          return true;
        },
      },
    });
    socket.on("error", () => {
      failed += 1;
    });
    socket.write(request);
  }

  for (let n = 0; n < connections; n += 1) download();
  return new Promise((resolve) => {
    setTimeout(() => {
      [bytes, files] = [0, 0];
      const startedAt = performance.now();
      setTimeout(() => {
        const bytesPerSecond = Math.round(bytes / ((performance.now() - startedAt) / 1000));
        resolve({ bytesPerSecond, files, failed });
      }, seconds * 1000);
    }, WARM_UP_MS);
  });
}

if (process.argv[1] === import.meta.filename) {
  const result = await run(JSON.parse(process.argv[2] ?? "{}") as DownloadOptions); // our own orchestrator wrote it
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exit(0);
}
