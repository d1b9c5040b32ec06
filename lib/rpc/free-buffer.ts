// Releases memory now instead of at garbage collection: a worker that has loaded a model idles, and may retain what it
// read, as large as the model, for minutes.
//
// A buffer that is transferred to a port without a receiver is released. `ArrayBuffer.transfer` does not suffice: bytes
// that the browser itself has read from or written to a buffer stay until its own garbage collection (Chromium 156: 22
// chunks hashed, then dropped, hold 63 MB by `transfer`, 3 to 55 MB without anything, none by this).

/** Smaller buffers are left to the garbage collector: a message costs more. */
const WORTH_BYTES = 64 * 1024;

/** Releases the memory of bytes that are no longer needed; they are empty then. Small ones are left unchanged. */
export function freeBuffer(bytes: Uint8Array<ArrayBuffer>): void {
  if (bytes.buffer.byteLength < WORTH_BYTES) return;
  const { port1, port2 } = new MessageChannel();
  port2.close();
  port1.postMessage(null, [bytes.buffer]);
  port1.close();
}
