// Reads a stream into one reused buffer: the buffers of a fast download would otherwise be as much garbage as the model
// is large.

/** Bytes per read. */
const PART_BYTES = 256 * 1024;

/** Reads a stream in parts, null at its end. A part is valid until the next one is requested. */
export function readParts(stream: ReadableStream<Uint8Array>): () => Promise<Uint8Array | null> {
  let reader: ReadableStreamBYOBReader;
  try {
    reader = stream.getReader({ mode: "byob" });
  } catch {
    const plain = stream.getReader(); // not a stream of bytes
    return async () => (await plain.read()).value ?? null;
  }
  let buffer = new ArrayBuffer(PART_BYTES);
  return async () => {
    const { done, value } = await reader.read(new Uint8Array(buffer));
    if (done || value === undefined) return null;
    ({ buffer } = value);
    return value;
  };
}
