// The forms that a model is brought to, each for the targets where it is known to run well, and how each is made from the
// simplified float32 model. FACTS behind the choice: a GPU has kernels for weights in blocks and behind
// DequantizeLinear, for no integer convolution or product; wasm is fastest with dynamic int8 where it is faster at all.
import type { Variant } from "../bundle.ts";
import { toHalf } from "./half.ts";
import { inferValues } from "./infer.ts";
import type { OnnxModel } from "./onnx.ts";
import { prune } from "./prune.ts";
import { quantizeBlocks } from "./quantize-blocks.ts";
import { quantizeDynamic } from "./quantize-dynamic.ts";
import { isDepthwise, isStem, quantizeWeights } from "./quantize-weights.ts";
import type { WeightStore } from "./quantize-weights.ts";
import type { Feed } from "./samples.ts";
import { measureImportance } from "./moments.ts";
import { measurePeaks } from "./statistics.ts";

/** Where a form shall run. */
export type Target = "webgpu-f16" | "webgpu" | "wasm";

/** Lists the targets, in the order of the command line's help. */
export const TARGETS: readonly Target[] = ["webgpu-f16", "webgpu", "wasm"];

/** A form by the name of its file. */
export type FormId = "f32" | "int8" | "int4" | "f16" | "int8-dynamic";

/** One form, before it is made. */
export interface Form {
  readonly id: FormId;
  /** Targets that it is made for and checked on. */
  readonly targets: readonly Target[];
  readonly needs: Variant["needs"];
  readonly session?: Variant["session"];
  /** Brings the simplified model to this form. */
  make(model: OnnxModel, feeds: readonly Feed[]): Promise<void>;
}

/** Weights stored as int8 are computed once, while loading, and run at the speed of float32. */
const FOLD: NonNullable<Variant["session"]> = {
  webgpu: { "session.disable_quant_qdq": "1" },
  wasm: { "session.disable_quant_qdq": "1" },
};

/** Depthwise and first convolutions hold few weights, each of which matters much: they keep 16 bits. */
const storeWeight = (weight: Parameters<typeof isStem>[0]): WeightStore =>
  isDepthwise(weight) || isStem(weight) ? "float16" : "int8";

const FORMS: readonly Form[] = [
  { id: "f32", targets: TARGETS, needs: [], make: async () => undefined },
  {
    id: "int8",
    targets: TARGETS,
    needs: [],
    session: FOLD,
    make: async (model) => void model.transform(quantizeWeights({ store: storeWeight }), prune()),
  },
  {
    id: "int4",
    targets: ["webgpu-f16", "webgpu"],
    needs: ["webgpu"],
    session: FOLD,
    make: async (model, feeds) => {
      // A table that is looked up carries every token: it keeps 8 bits.
      const isTable = (name: string): boolean => model.graph.consumers(name).some((x) => x.opType === "Gather");
      const importance = await measureImportance(model, feeds.slice(0, 32));
      const blocks = quantizeBlocks({ bits: (name) => (isTable(name) ? 8 : 4), importance });
      model.transform(blocks, quantizeWeights({ store: storeWeight }), prune());
    },
  },
  {
    id: "f16",
    targets: ["webgpu-f16"],
    needs: ["webgpu", "shader-f16"],
    make: async (model, feeds) => {
      const values = await inferValues(model);
      model.transform(toHalf({ values, peaks: await measurePeaks(model, feeds.slice(0, 8)) }), prune());
    },
  },
  {
    id: "int8-dynamic",
    targets: ["wasm"],
    needs: ["wasm"],
    session: FOLD,
    make: async (model) => void model.transform(quantizeDynamic(), quantizeWeights({ store: storeWeight }), prune()),
  },
];

/** Names what a recipe may ask for that this version does not make. */
const NOT_MADE: readonly string[] = ["int8-static"];

/**
 * Lists the forms for some targets, or those named.
 * @throws TypeError naming a form that is unknown or not made yet.
 */
export function formsFor(targets: readonly Target[], named?: readonly string[]): readonly Form[] {
  for (const id of named ?? []) {
    if (NOT_MADE.includes(id)) throw new TypeError(`forms: "${id}" is not made by this version`);
    if (!FORMS.some((x) => x.id === id))
      throw new TypeError(`forms: "${id}" is none of ${FORMS.map((x) => x.id).join(", ")}`);
  }
  return FORMS.filter((x) => {
    if (named !== undefined && x.id !== "f32") return named.includes(x.id);
    return x.id === "f32" || x.id === "int8" || x.targets.some((y) => targets.includes(y));
  });
}
