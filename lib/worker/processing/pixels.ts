// Reads the RGBA pixels of an image that crossed the thread line, by an OffscreenCanvas. Runs in a worker.
import type { StillImage, WirePixels } from "../../rpc/messages.ts";
import type { PixelBands } from "./image.ts";

/** Largest canvas side that every browser supports. */
const SIDE_MAX = 16384;

/** Throws a RangeError on an image that is empty, too large, or whose number of bytes does not match its size. */
export function checkImage(image: StillImage): void {
  const { width, height } = image;
  if (!(width >= 1 && height >= 1 && width <= SIDE_MAX && height <= SIDE_MAX)) {
    throw new RangeError(`An image must be 1 to ${SIDE_MAX} pixels on each side, not ${width} × ${height}.`);
  }
  const bytes = width * height * 4;
  if ("data" in image && image.data.length !== bytes) {
    throw new RangeError(`An image of ${width} × ${height} has ${bytes} bytes of RGBA, not ${image.data.length}.`);
  }
}

/** Bytes of pixels per read. */
const BAND_BYTES = 2 ** 24;

/** Passes the pixels of a checked image to `work`, in bands where they are many, and closes its bitmap. */
export function withPixels<T>(image: StillImage, work: (pixels: WirePixels | PixelBands) => T): T {
  if ("data" in image) return work(image);
  const { width, height } = image;
  try {
    const rows = Math.min(height, Math.max(1, Math.floor(BAND_BYTES / (4 * width))));
    const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true });
    if (context === null) throw new RangeError("no canvas of that size");
    context.globalCompositeOperation = "copy"; // no pixel of the previous band shows through
    const read = (y: number): Uint8ClampedArray => {
      context.drawImage(image, 0, -y);
      return context.getImageData(0, 0, width, Math.min(rows, height - y)).data;
    };
    return work({ width, height, read });
  } catch (error) {
    throw new RangeError(`The pixels of an image of ${width} × ${height} could not be read.`, { cause: error });
  } finally {
    image.close();
  }
}
