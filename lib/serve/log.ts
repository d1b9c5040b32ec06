// The log of the server: lines of JSON. A log never stops the server: it ends where nobody reads it any more, and lines
// that are not taken are dropped.
import type { Writable } from "node:stream";

/** Writes a line to the log. */
export type Log = (level: "info" | "error", message: string, fields?: object) => void;

/** Bytes that may wait for their reader. */
const WAITING_MAX = 2 ** 20;

/** Opens a log on a stream. `end` stops it. */
export function openLog(least: "info" | "error" | "silent", stream: Writable): { readonly log: Log; end(): void } {
  let isOpen = least !== "silent";
  const stop = (): void => {
    isOpen = false;
  };
  if (isOpen) stream.on("error", stop);
  const log: Log = (level, message, fields = {}) => {
    if (!isOpen || (least === "error" && level === "info") || stream.writableLength > WAITING_MAX) return;
    stream.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })}\n`);
  };
  const end = (): void => {
    stop();
    stream.off("error", stop);
  };
  return { log, end };
}
