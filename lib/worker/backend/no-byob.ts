// Chromium 156 loses reads of a Blob's stream into a caller's buffer ("byob"), about one in 300 to 700. ONNX Runtime's
// JSPI build reads external data that way, one read per tensor: 8 of 38 loads of a model of 36 tensors hung forever.
// Where such a reader is refused it falls back to the default one: 30 of 30 loads ended. Delete this once Chromium's
// reads of Blobs into buffers are fixed.

/** Makes byob readers of Blobs' streams throw, in this worker; called before the runtime loads a model. */
export function refuseBlobByob(): void {
  const fromBlobs = new WeakSet<ReadableStream>();
  const stream = Reflect.get(Blob.prototype, "stream");
  const getReader: unknown = Reflect.get(ReadableStream.prototype, "getReader");
  Blob.prototype.stream = function (this: Blob): ReadableStream<Uint8Array<ArrayBuffer>> {
    const made = stream.call(this);
    fromBlobs.add(made);
    return made;
  };
  ReadableStream.prototype.getReader = function (this: ReadableStream, ...options: unknown[]) {
    const [first] = options as [ReadableStreamGetReaderOptions?];
    if (first?.mode === "byob" && fromBlobs.has(this))
      throw new TypeError("byob readers of a Blob's stream are refused: Chromium loses such reads.");
    return Reflect.apply(getReader as () => unknown, this, options) as ReadableStreamDefaultReader;
  } as typeof ReadableStream.prototype.getReader;
}
