// A variant's golden input and output: one sample, and this variant's output for it on onnxruntime-node's CPU. A device
// with a different output computes wrongly. The output is from one machine: another CPU may round the last bits
// differently, so comparisons need a tolerance.
import type { PackVariant } from "./pack.ts";
import type { Feed } from "../run/feeds.ts";
import { writeSafetensors } from "./safetensors.ts";
import { openModel } from "../run/session.ts";

/** Maximum size of an output; a larger one would cost more than the check is worth. */
const MAX_BYTES = 2 ** 20;

/** Makes a variant's golden files; undefined where a tensor holds strings or an output is larger than 1 MiB. */
export async function makeGolden(
  bytes: Uint8Array,
  session: Readonly<Record<string, string>> | undefined,
  feed: Feed,
): Promise<PackVariant["golden"]> {
  const model = await openModel(bytes, "cpu", session);
  try {
    const inputs = writeSafetensors(feed);
    const outputs = inputs === null ? null : writeSafetensors(await model.runTensors(feed));
    if (inputs === null || outputs === null || Math.max(inputs.length, outputs.length) > MAX_BYTES) return undefined;
    return {
      inputs: { path: "golden-inputs.safetensors", bytes: inputs },
      outputs: { path: "golden-outputs.safetensors", bytes: outputs },
    };
  } finally {
    await model.release();
  }
}
