// Which of the twins brings an image to a tensor: the one place where that is chosen. On the GPU where the backend
// computes there, for what gpu.ts can do; else on the CPU.
import type { DeviceTensor } from "../../rpc/backend.ts";
import type { ImageSpec } from "../../core/bundle.ts";
import type { StillImage } from "../../rpc/messages.ts";
import type { Dtype, Tensor } from "../../core/tensor.ts";
import type { GpuImages } from "./gpu.ts";
import { imageToTensor } from "./image.ts";
import { checkImage, withPixels } from "./pixels.ts";

/** The input of a model that an image is for. */
export interface ImageTarget {
  readonly input: string;
  readonly spec: ImageSpec;
  readonly dtype: Dtype;
}

/** Brings an image to the tensor that its input takes, and closes its bitmap. Throws a RangeError on a wrong size. */
export function prepareImage(gpu: GpuImages | null, image: StillImage, target: ImageTarget): Tensor | DeviceTensor {
  checkImage(image);
  const { input, spec, dtype } = target;
  const kept = dtype === "float32" ? gpu?.prepare(input, image, spec) : null;
  return kept ?? withPixels(image, (pixels) => imageToTensor(pixels, spec, dtype));
}
