// Memory given back now, not when garbage is collected: a worker that has loaded a model idles, and may keep for minutes
// what it read, as large as the model.
//
// What is sent to a port that nobody hears is gone. `ArrayBuffer.transfer` does not do: what the browser itself has read
// from or written to a buffer stays until its own garbage is collected (Chromium 156: 22 chunks hashed, then let go, hold
// 63 MB by `transfer`, 3 to 55 MB without anything, none by this).

/** Below this garbage is left to be collected: a message costs more. */
const WORTH_BYTES = 64 * 1024;

/** Gives back the memory of bytes that nobody needs any more; they are empty then. Small ones are left as they are. */
export function release(bytes: Uint8Array<ArrayBuffer>): void {
  if (bytes.buffer.byteLength < WORTH_BYTES) return;
  const { port1, port2 } = new MessageChannel();
  port2.close();
  port1.postMessage(null, [bytes.buffer]);
  port1.close();
}
