// ONNX Runtime's JSPI build reads external data as Blobs' streams, one per tensor, into a buffer of its own ("byob").
// Chromium 156 loses such reads, about one in 300 to 700: 8 of 38 loads of a model of 36 tensors hung forever. Its
// streams are slow, too: 64 kB at a time. So in this worker a Blob's stream reads pieces of 4 MB by `arrayBuffer()`,
// none of which was lost, and has no byob reader; ONNX Runtime then takes the default one. It copies a piece before it
// reads the next, which releases the one before: garbage of up to 50 MB would add to the peak of a load.
import { freeBuffer } from "../../rpc/free-buffer.ts";

const PIECE_BYTES = 4 * 2 ** 20;

/**
 * Replaces Blobs' streams in this worker; called before the runtime loads a model. A piece of such a stream is empty once
 * the next is read.
 */
export function replaceBlobStreams(): void {
  Blob.prototype.stream = function (this: Blob): ReadableStream<Uint8Array<ArrayBuffer>> {
    let at = 0;
    let before: Uint8Array<ArrayBuffer> | null = null;
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> => {
      if (before !== null) freeBuffer(before);
      before = null;
      if (at >= this.size) {
        controller.close();
        return;
      }
      const piece = this.slice(at, at + PIECE_BYTES);
      at += piece.size;
      before = new Uint8Array(await piece.arrayBuffer());
      controller.enqueue(before);
    };
    // Nothing is read ahead.
    return new ReadableStream({ pull }, { highWaterMark: 0 });
  };
}
