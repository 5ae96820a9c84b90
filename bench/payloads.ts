/** Hosting against nginx with sendfile: the same file, the same clients, turn by turn. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DownloadResult } from "./download.ts";
import { FLATCAR } from "./fill.ts";
import { aFolder, aNginx, aTurnout, download } from "./processes.ts";
import type { Figure, Plan } from "./scenarios.ts";

const FILE = "payload.bin";
const FILE_BYTES = 64 * 2 ** 20;
const CLIENTS = [1, 16, 128] as const;
const WANTED = 0.7;

export async function payloads({ seconds, rounds }: Plan): Promise<Figure[]> {
  const folder = aFolder();
  const nginx = await aNginx(folder);
  if (nginx === null) {
    const value = "skipped: there is no nginx (Debian: apt-get install nginx)";
    return [{ name: "payload hosting against nginx", target: `≥ ${WANTED}`, value, met: null, samples: null }];
  }
  const content = randomBytes(FILE_BYTES);
  writeFileSync(join(folder, FILE), content);
  const server = await aTurnout(aFolder(), {
    pinned: true,
    environment: { TURNOUT_DOWNLOADS: "0", TURNOUT_DOWNLOADS_PER_ADDRESS: "0", TURNOUT_DISK_RESERVE: "0" },
  });
  const url = await host(server.url, content);

  const figures: Figure[] = [];
  for (const connections of CLIENTS) {
    const ours: DownloadResult[] = [];
    const theirs: DownloadResult[] = [];
    for (let turn = 0; turn < rounds; turn += 1) {
      ours.push(await download({ url, connections, seconds }));
      theirs.push(await download({ url: `${nginx.url}/${FILE}`, connections, seconds }));
    }
    const value = median(ours) / median(theirs);
    figures.push({
      name: `payload hosting against nginx with sendfile on the same core, ${connections} clients, ${FILE_BYTES >> 20} MiB each`,
      target: `≥ ${WANTED}`,
      value: `${value.toFixed(3)} (${megabytes(ours)} MB/s against ${megabytes(theirs)} MB/s; ${server.memoryMb()} MB resident)`,
      met: value >= WANTED && [...ours, ...theirs].every(({ failed }) => failed === 0),
      samples: { ours, theirs },
    });
  }
  await server.stop();
  await nginx.stop();
  return figures;
}

/** Answers the file's address. */
async function host(url: string, content: Buffer): Promise<string> {
  const packages = `${url}/api/apps/${FLATCAR}/packages`;
  const made = await fetch(packages, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type: 4, arch: 1, version: "1.0.0", url: "https://example.org/", filename: FILE }),
  });
  const { id } = (await made.json()) as { id: string }; // a package has one
  const put = await fetch(`${packages}/${id}/files/${FILE}`, {
    method: "PUT",
    headers: { "Content-Type": "application/octet-stream" },
    body: new Uint8Array(content),
  });
  if (!put.ok) throw new Error(`bringing the file: ${await put.text()}`);
  return `${url}/payloads/${FLATCAR}/amd64/1.0.0/${FILE}`;
}

function median(results: readonly DownloadResult[]): number {
  const sorted = results.map(({ bytesPerSecond }) => bytesPerSecond).sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

function megabytes(results: readonly DownloadResult[]): string {
  return (median(results) / 1e6).toFixed(0);
}
