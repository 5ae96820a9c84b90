/** A thread with a copy of the configuration, to change at will. */
import { copyConfiguration } from "./configuration-copy.ts";
import { sessionOn } from "./connection.ts";
import { serveSession } from "./session-thread.ts";

serveSession((path) => sessionOn(copyConfiguration(path)));
