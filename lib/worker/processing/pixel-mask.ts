// Pixel mask of an image's tensor: 1 where it shows the image, 0 where rows and columns were added.
import { ARRAY_TYPES } from "../../core/tensor.ts";
import type { NumericDtype, Port, Tensor } from "../../core/tensor.ts";
import type { ImagePlan } from "./plan-image.ts";

/**
 * Returns the mask of one image, [1, height, width]. An input of a fixed size, as the 64 × 64 of some exports of DETR, takes
 * the value at the same place of the tensor.
 */
export function pixelMask({ dims: [, rows, columns], dtype }: Pick<Port, "dims" | "dtype">, plan: ImagePlan): Tensor {
  const height = typeof rows === "number" ? rows : plan.height;
  const width = typeof columns === "number" ? columns : plan.width;
  const data = new ARRAY_TYPES[dtype as NumericDtype](height * width);
  const one = dtype === "int64" ? 1n : 1;
  // Cells whose first pixel is the image's: those of the nearest neighbour that torch takes.
  const count = (cells: number, picture: number, size: number): number => Math.ceil((picture * cells) / size);
  const right = count(width, plan.pictureWidth, plan.width);
  const bottom = count(height, plan.pictureHeight, plan.height);
  for (let y = 0; y < bottom; y += 1) (data as Float32Array).fill(one as number, y * width, y * width + right);
  return { dtype, dims: [1, height, width], data } as Tensor;
}
