/** A thread with a read-only connection: a slow admin query keeps nobody waiting but the one who asked. */
import { openReader, sessionOn } from "./connection.ts";
import { serveSession } from "./session-thread.ts";

serveSession((path) => sessionOn(openReader(path)));
