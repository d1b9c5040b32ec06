// Holds the current page, off the main thread: decodes it, converts the detector's map to boxes, and crops the lines.
// The geometry itself is in boxes.ts and crops.ts.
import * as Comlink from "comlink";
import { findBoxes } from "./boxes.ts";
import type { Box, ProbabilityMap } from "./boxes.ts";
import { cropBox } from "./crops.ts";
import type { Pixels } from "./crops.ts";

/** Maximum side of a page, so that one photograph takes no more than 64 MB. */
const MAX_SIDE = 4096;

let page: Pixels | null = null;

const pageWorker = {
  /** Decodes a picture and keeps its pixels. Rejects a file that is not a picture. */
  async open(file: Blob): Promise<{ width: number; height: number }> {
    page = null;
    page = await decode(file);
    return { width: page.width, height: page.height };
  },

  /** Finds the lines of the open page in the detector's output, in pixels of the page. */
  findLines(map: ProbabilityMap): Box[] {
    return findBoxes(map, opened());
  },

  /** Crops boxes of the open page, deskewed. */
  crop(boxes: readonly Box[]): Pixels[] {
    const crops = boxes.map((box) => cropBox(opened(), box));
    return Comlink.transfer(
      crops,
      crops.map(({ data }) => data.buffer),
    );
  },
};

/** Interface of the worker. */
export type PageWorker = typeof pageWorker;

function opened(): Pixels {
  if (page === null) throw new Error("No page is open.");
  return page;
}

async function decode(file: Blob): Promise<Pixels> {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Error("This browser has no canvas in workers.");
  // Transparent pixels become white paper.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, data };
}

Comlink.expose(pageWorker);
