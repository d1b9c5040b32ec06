// Known faults of ONNX Runtime's kernels and passes, each with a small model that shows it. kernel-faults.test.ts tries
// them against the installed version: where one is mended upstream, the test fails and names the workaround that can go.
import type { OnnxModel } from "../../compress/onnx/model.ts";
import { floatTensor } from "../../compress/onnx/tensor-proto.ts";
import type { Feed } from "../../compress/run/feeds.ts";
import { DISABLED } from "../../compress/run/session.ts";
import { legalize } from "../../compress/simplify/legalize.ts";
import { deadlyTranspose, seededFloats, smallModel } from "./fixtures.ts";

/** A fault, what shows it, and what avoids it. */
export interface KernelFault {
  readonly id: string;
  readonly provider: "webgpu" | "cpu";
  /** Wrong numbers without an error, or the end of the process. */
  readonly effect: "wrong" | "crash";
  /** Version of ONNX Runtime in which it was seen, and the issue where it is known. */
  readonly seen: string;
  /** File of the workaround. */
  readonly avoidedIn: string;
  show(): { readonly model: OnnxModel; readonly feed: Feed };
  /** Changes the model, or returns session entries, so that it computes right. */
  avoid(model: OnnxModel): Readonly<Record<string, string>>;
}

const floats = (dims: readonly number[], seed: number): Feed[string] => ({
  dtype: "float32",
  dims,
  data: seededFloats(
    dims.reduce((a, b) => a * b, 1),
    seed,
  ),
});

/** The faults, the latest first. */
export const KERNEL_FAULTS: readonly KernelFault[] = [
  {
    id: "webgpu-conv-of-3-components",
    provider: "webgpu",
    effect: "wrong",
    seen: "1.30.0, microsoft/onnxruntime#29651",
    avoidedIn: "lib/worker/backend/webgpu-rewrites.ts",
    show: () => ({
      model: smallModel({
        opset: 13,
        inputs: { x: [1, 9, 8, 8] },
        outputs: ["y"],
        nodes: [{ opType: "Conv", input: ["x", "w"], output: ["y"], attributes: { pads: [1, 1, 1, 1] } }],
        initializers: [floatTensor("w", [8, 9, 3, 3], seededFloats(8 * 9 * 9, 2))],
      }),
      feed: { x: floats([1, 9, 8, 8], 3) },
    }),
    avoid: (model) => {
      model.transform(legalize());
      return {};
    },
  },
  {
    id: "cpu-transpose-of-float16-before-product",
    provider: "cpu",
    effect: "crash",
    seen: "1.30.0",
    avoidedIn: "lib/compress/run/session.ts",
    show: () => ({ model: deadlyTranspose(), feed: { x: floats([2, 16, 10], 5) } }),
    avoid: () => ({ [DISABLED]: "MatmulTransposeFusion" }),
  },
];
