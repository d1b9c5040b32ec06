// The 10,000 test pictures of Fashion-MNIST and the 60,000 training pictures, from Debian's `dataset-fashion-mnist`:
// for measurements only, so that no build needs them.
import { existsSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const FOLDER = "/usr/share/datasets/fashion-mnist";

/** Pictures in the models' input format, and their classes. */
export interface Pictures {
  readonly count: number;
  /** 784 values for each, in −1…1. */
  readonly pixels: Float32Array;
  readonly classes: Uint8Array;
}

/** Reads the test pictures. */
export function testPictures(): Pictures {
  return pictures("t10k");
}

/** Reads the training pictures. */
export function trainingPictures(): Pictures {
  return pictures("train");
}

function pictures(part: "t10k" | "train"): Pictures {
  const read = (name: string, header: number): Uint8Array => {
    const path = `${FOLDER}/${part}-${name}-ubyte.gz`;
    if (!existsSync(path)) throw new Error(`${path} is missing: apt-get install dataset-fashion-mnist`);
    return gunzipSync(readFileSync(path)).subarray(header);
  };
  const bytes = read("images-idx3", 16);
  const pixels = Float32Array.from(bytes, (x) => (x / 255 - 0.5) / 0.5);
  return { count: bytes.length / 784, pixels, classes: read("labels-idx1", 8) };
}
