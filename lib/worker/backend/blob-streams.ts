// ONNX Runtime's JSPI build reads external data as Blobs' streams, one per tensor, into a buffer of its own ("byob").
// Chromium 156 loses such reads, about one in 300 to 700: 8 of 38 loads of a model of 36 tensors hung forever. Its
// streams are slow, too: 64 kB at a time. So in this worker a Blob's stream reads pieces of 4 MB by `arrayBuffer()`,
// none of which was lost, and has no byob reader; ONNX Runtime then takes the default one.

const PIECE_BYTES = 4 * 2 ** 20;

/** Replaces Blobs' streams in this worker; called before the runtime loads a model. */
export function replaceBlobStreams(): void {
  Blob.prototype.stream = function (this: Blob): ReadableStream<Uint8Array<ArrayBuffer>> {
    let at = 0;
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> => {
      const piece = this.slice(at, at + PIECE_BYTES);
      at += piece.size;
      if (piece.size > 0) controller.enqueue(new Uint8Array(await piece.arrayBuffer()));
      if (at >= this.size) controller.close();
    };
    // Nothing is read ahead.
    return new ReadableStream({ pull }, { highWaterMark: 0 });
  };
}
