// Chooses between the two implementations that convert an image to a tensor: the GPU where the backend computes there
// and gpu.ts supports the image; else the CPU.
import type { DeviceTensor } from "../../rpc/backend.ts";
import type { ImageSpec } from "../../core/bundle.ts";
import type { StillImage } from "../../rpc/messages.ts";
import type { Dtype, Tensor } from "../../core/tensor.ts";
import type { GpuImages } from "./gpu.ts";
import { imageToTensor } from "./image.ts";
import { checkImage, withPixels } from "./pixels.ts";

/** Input of a model for an image. */
export interface ImageTarget {
  readonly input: string;
  readonly spec: ImageSpec;
  readonly dtype: Dtype;
}

/** Converts an image to its input's tensor, and closes its bitmap. Throws a RangeError on a wrong size. */
export function prepareImage(gpu: GpuImages | null, image: StillImage, target: ImageTarget): Tensor | DeviceTensor {
  checkImage(image);
  const { input, spec, dtype } = target;
  const kept = dtype === "float32" ? gpu?.prepare(input, image, spec) : null;
  return kept ?? withPixels(image, (pixels) => imageToTensor(pixels, spec, dtype));
}
