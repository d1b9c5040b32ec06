// A stream read into one buffer, again and again: what comes over a fast line would else leave as much garbage as the
// model is large.

/** How much is read at once. */
const PART_BYTES = 256 * 1024;

/** Reads a stream part by part, null at its end. A part is there until the next one is asked for. */
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
