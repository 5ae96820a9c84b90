/**
 * The kernel's own way from a file to a socket, sendfile(2): bytes that never come into this process cost half as much to send.
 * Node has no such call, so the C library's is used through koffi, where both are there (docs/decisions/0015).
 */
import type { Socket } from "node:net";
import type { KoffiFunc } from "koffi";

interface Libc {
  readonly sendfile: KoffiFunc<(to: number, from: number, offset: [number], count: number) => number>;
  readonly fcntl: (descriptor: number, command: number, type: "int", lowest: number) => number;
  readonly close: (descriptor: number) => number;
}

/** Where off_t and size_t have 64 bits under these names. */
const ARCHITECTURES: ReadonlySet<string> = new Set(["x64", "arm64", "riscv64", "ppc64", "loong64"]);
/** Of Linux: a second descriptor of the same socket, that no child process inherits. */
const F_DUPFD_CLOEXEC = 1030;
/** At once; each has a call under way, and koffi keeps 256 of these at most. Whoever comes later is sent bytes as usual. */
const MOST = 200;

/** Asked for in one call: what a full socket takes, but not so much that one keeps a thread from the others for long. */
const CALL_BYTES = 4 * 2 ** 20;

let libc: Promise<Libc | null> | null = null;
let open = 0;

/** One socket, to be handed parts of files. Nothing else may be written to it while a call is under way. */
export class Sendfile {
  readonly #libc: Libc;
  /** Ours alone: Node may close its own while a call is under way, and the number is then given to another client's. */
  readonly #descriptor: number;

  private constructor(libc: Libc, descriptor: number) {
    this.#libc = libc;
    this.#descriptor = descriptor;
    open += 1;
  }

  /** Null: it can't be had, here or now. */
  static async to(socket: Socket | null): Promise<Sendfile | null> {
    libc ??= load();
    const loaded = await libc;
    const own = descriptorOf(socket);
    if (loaded === null || own === null || open >= MOST) return null;
    const descriptor = loaded.fcntl(own, F_DUPFD_CLOEXEC, "int", 0);
    return descriptor < 0 ? null : new Sendfile(loaded, descriptor);
  }

  /**
   * Until the socket is full, gone, or the file is at its end: what is written next as usual meets the cause.
   *
   * @param onPart called whenever the kernel has taken some
   * @returns how many bytes went
   */
  async fill(file: number, start: number, bytes: number, onPart: () => void): Promise<number> {
    let sent = 0;
    while (sent < bytes) {
      const taken = await this.#call(file, start + sent, Math.min(CALL_BYTES, bytes - sent));
      if (taken <= 0) break;
      sent += taken;
      onPart();
    }
    return sent;
  }

  close(): void {
    this.#libc.close(this.#descriptor);
    open -= 1;
  }

  /** @returns how many bytes the kernel took; -1 when it could take none, for whatever cause */
  #call(file: number, at: number, bytes: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#libc.sendfile.async(this.#descriptor, file, [at], bytes, (error: unknown, taken: number) => {
        if (error) reject(error);
        else resolve(taken);
      });
    });
  }
}

async function load(): Promise<Libc | null> {
  if (process.platform !== "linux" || !ARCHITECTURES.has(process.arch)) return null;
  try {
    const { default: koffi } = await import("koffi");
    koffi.config({ async_stack_size: 64 * 2 ** 10, async_heap_size: 16 * 2 ** 10 });
    const program = koffi.load(null);
    return {
      sendfile: program.func("int64_t sendfile(int to, int from, _Inout_ int64_t *offset, size_t count)"),
      fcntl: program.func("int fcntl(int descriptor, int command, ...)"),
      close: program.func("int close(int descriptor)"),
    };
  } catch {
    return null; // an optional dependency: not installed, or not for this machine
  }
}

/** Of a plain TCP connection; null when it is gone, or when its bytes are still to be encrypted. */
function descriptorOf(socket: Socket | null): number | null {
  if (socket === null || socket.destroyed || "encrypted" in socket) return null;
  // Not a documented field of a socket, so it may be missing in a later Node.
  const descriptor = (socket as { _handle?: { fd?: unknown } | null })._handle?.fd;
  return typeof descriptor === "number" && descriptor >= 0 ? descriptor : null;
}
