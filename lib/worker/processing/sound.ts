// Converts a sound to a tensor, by the op that its bundle names.
import type { SamplesSpec, SoundSpec } from "../../core/sound-spec.ts";
import { ARRAY_TYPES } from "../../core/tensor.ts";
import type { NumericDtype, Port, Tensor, TensorOf } from "../../core/tensor.ts";
import { fbank } from "./fbank.ts";
import { logMel } from "./log-mel.ts";

/** Converts samples; to no values where they are too few for one frame. */
export function soundToTensor(samples: Float32Array, spec: SoundSpec): TensorOf<"float32"> {
  switch (spec.op) {
    case "log-mel":
      return logMel(samples, spec);
    case "fbank":
      return fbank(samples, spec);
    case "samples":
      return { dtype: "float32", dims: [1, samples.length], data: scaled(samples, spec) };
  }
}

/** Returns the mask of a sound: a 1 for each sample, [1, samples]. */
export function soundMask({ dtype }: Pick<Port, "dtype">, length: number): Tensor {
  const data = new ARRAY_TYPES[dtype as NumericDtype](length);
  (data as Float32Array).fill((dtype === "int64" ? 1n : 1) as number);
  return { dtype, dims: [1, length], data } as Tensor;
}

/** Added to the variance by Wav2Vec2FeatureExtractor, so that silence is divided by no zero. */
const EPSILON = 1e-7;

function scaled(samples: Float32Array, { normalize = false }: SamplesSpec): Float32Array<ArrayBuffer> {
  if (!normalize) return samples.slice();
  const mean = samples.reduce((sum, x) => sum + x, 0) / samples.length;
  const variance = samples.reduce((sum, x) => sum + (x - mean) ** 2, 0) / samples.length;
  return Float32Array.from(samples, (x) => (x - mean) / Math.sqrt(variance + EPSILON));
}
