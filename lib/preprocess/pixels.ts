// An image as it crossed the thread line, to RGBA pixels, by a canvas that belongs to no page. Runs in a worker.
import type { StillImage, WirePixels } from "../pool/protocol.ts";

/** The side that every browser's canvas takes. */
const SIDE_MAX = 16384;

/** Throws a RangeError on an image that is empty, huge, or has not the bytes that its size says. */
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

/** Reads the pixels of a checked image and closes its bitmap. */
export function pixelsOf(image: StillImage): WirePixels {
  if ("data" in image) return image;
  const { width, height } = image;
  try {
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    if (context === null) throw new RangeError("no canvas of that size");
    context.drawImage(image, 0, 0);
    return { width, height, data: context.getImageData(0, 0, width, height).data };
  } catch (error) {
    throw new RangeError(`The pixels of an image of ${width} × ${height} could not be read.`, { cause: error });
  } finally {
    image.close();
  }
}
