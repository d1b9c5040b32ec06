// Sounds as samples, converted as a page converts them (worker/processing/sound.ts).
import { basename } from "node:path";
import type { BundleInput } from "../../core/bundle.ts";
import type { Tensor } from "../../core/tensor.ts";
import { soundMask, soundToTensor } from "../../worker/processing/sound.ts";
import { valuesOf } from "./feeds.ts";
import type { Feed } from "./feeds.ts";
import { readWav } from "./wav.ts";

/**
 * Opens WAV files as samples of the one input that takes a sound.
 * @throws TypeError where no input does, or the model has others; while iterating, for a file of another rate
 */
export function openSounds(
  paths: readonly string[],
  inputs: readonly BundleInput[],
): { readonly count: number; each(): Iterable<Feed> } {
  const { sound, name = "" } = inputs.find((x) => x.sound !== undefined) ?? {};
  const mask = sound?.op === "samples" ? inputs.find((x) => x.name === sound.mask) : undefined;
  const [input, ...others] = inputs.filter((x) => x !== mask);
  if (input === undefined || sound === undefined)
    throw new TypeError(
      `samples: ${basename(paths[0] ?? "")} is a sound, but nothing says how sounds become the model's inputs: give the folder of the repository, with its preprocessor_config.json, in place of the .onnx file, or .npz samples`,
    );
  if (others.length > 0)
    throw new TypeError(
      `samples: a sound is for one input, but the model has ${inputs.length} (${inputs.map((x) => `"${x.name}"`).join(", ")}); use .npz with an array for each`,
    );
  return {
    count: paths.length,
    *each() {
      for (const path of paths) {
        const { rate, samples } = readWav(path);
        if (rate !== sound.sampleRate)
          throw new TypeError(
            `samples: ${path} has ${rate} samples a second, and the model takes ${sound.sampleRate}: convert it with ffmpeg -i ${path} -ar ${sound.sampleRate} -ac 1 OUT.wav`,
          );
        const { dims, data } = soundToTensor(samples, sound);
        if (data.length === 0) throw new TypeError(`samples: ${path} is shorter than one frame`);
        yield {
          [name]: { dtype: input.dtype, dims, data: valuesOf(input, data) } as Tensor,
          ...(mask !== undefined && { [mask.name]: soundMask(mask, samples.length) }),
        };
      }
    },
  };
}
