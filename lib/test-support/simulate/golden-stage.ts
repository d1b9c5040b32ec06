// A simulated world with a model whose golden a GPU answers, rightly or not, for tests of the golden check.
import { createHash } from "node:crypto";
import { writeSafetensors } from "../../compress/bundle/safetensors.ts";
import { bundleJson } from "../../core/bundle-json.ts";
import { parseBundle } from "../../core/bundle-schema.ts";
import type { Bundle, BundleFile, GoldenRun, ResizeSpec, Variant } from "../../core/bundle.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Model } from "../../engine/model.ts";
import { endOf, openScene } from "./fixtures.ts";
import type { EngineScene, SceneOptions } from "./fixtures.ts";
import { COST_ENTRY, FACTOR_ENTRY, TOY_CHUNK, toyBundle, toyStep } from "./toy-backend.ts";

/** Session entry that tells the variants of a test apart. */
const VARIANT_ENTRY = "session.intra_op.allow_spinning";
/** Returns a row of numbers. */
export const floats = (...values: number[]): Tensor => ({
  dtype: "float32",
  dims: [1, values.length],
  data: Float32Array.from(values),
});

/** Tensors by name. */
export type NamedTensors = Readonly<Record<string, Tensor>>;
/** Changes the outputs of a run on the GPU; `variant` is the number of its variant. */
export type Lie = (outputs: NamedTensors, variant: number) => NamedTensors;

/** Applies a function to each value of `y`. */
export const each =
  (change: (value: number, i: number) => number): Lie =>
  ({ y }) => ({ y: { ...y, data: Float32Array.from(y?.data as Float32Array, change) } as Tensor });
/** Changes nothing. */
export const honest: Lie = (outputs) => outputs;
/** Computes zeros. */
export const zeros = each(() => 0);
/** A lie in runs with outputs for which a condition on rows and columns holds. */
export const onlyWhere =
  (condition: (rows: number, columns: number) => boolean, lie: Lie): Lie =>
  (outputs, variant) => {
    const [rows = 0, columns = 0] = outputs["y"]?.dims ?? [];
    return condition(rows, columns) ? lie(outputs, variant) : outputs;
  };

/** A model in a simulated world, where the GPU lies as `gpu.lie` says. */
export interface GoldenStage extends EngineScene {
  readonly gpu: { lie: Lie; runs: number; rows: number[]; lose: () => void };
}

/** Options of a stage. */
export interface StageOptions extends SceneOptions {
  /** Whether the golden files are on the server. Default true. */
  readonly hasGolden?: boolean;
  /** Whether the bundle has no golden at all, as older ones. Default false. */
  readonly isWithoutGolden?: boolean;
  /** Width of the bare model `bare.onnx`. Default 2. */
  readonly bareWidth?: number | string;
  /** Changes each variant. */
  readonly changed?: Partial<Variant>;
  /** Number of variants. Default 1. */
  readonly variants?: number;
  /** Resizing of images for the input x, with golden and outputs of [1, 1, height, width]. Default: x takes tensors. */
  readonly resize?: ResizeSpec;
  /** Whether the model has a state: y = next = sum / 2 + x. Default false. */
  readonly hasState?: boolean;
  /** Further runs of the golden, by their inputs and outputs. Default: none. */
  readonly next?: readonly (readonly [inputs: NamedTensors, outputs: NamedTensors])[];
  /** Changes the bundle's description. */
  readonly describe?: (model: Bundle["model"]) => Bundle["model"];
  /** Called before each load, with its session options, and each run on wasm. */
  readonly onWasm?: (what: "load" | "run", session?: Readonly<Record<string, string>>) => void;
}

/** The options that are a stage's, not its scene's. */
const OWN: ReadonlySet<string> = new Set<keyof StageOptions>([
  ...([
    "hasGolden",
    "isWithoutGolden",
    "changed",
    "bareWidth",
    "variants",
    "resize",
    "hasState",
    "next",
    "describe",
    "onWasm",
  ] as const),
]);

/**
 * Opens a scene with the bundle `checked`, whose golden is x = (3, −5), y = (6, −10), or with a state sum = (2, 4) and
 * y = next = (4, −3); the GPU is 5 × faster.
 */
export async function stage(lie: Lie, options: StageOptions = {}): Promise<GoldenStage> {
  const gpu: GoldenStage["gpu"] = { lie, runs: 0, rows: [], lose: () => undefined };
  const { bundle: checked, files } = bundleOf(options);
  const { bareWidth = 2, resize, onWasm } = options;
  const sceneOptions: SceneOptions = Object.fromEntries(Object.entries(options).filter(([name]) => !OWN.has(name)));
  const scene = await openScene({
    gpu: true,
    bundles: { checked },
    files,
    change: (toy) => {
      let isGpu = false;
      const numbers = new Map<number, number>();
      const backend: typeof toy = {
        ...toy,
        start: (startOptions) => {
          isGpu = startOptions.backend === "webgpu";
          if (isGpu) gpu.lose = () => backend.onLost?.("simulated");
          return toy.start(startOptions);
        },
        load: async (modelId, loadOptions, ...rest) => {
          if (!isGpu) onWasm?.("load", loadOptions.session);
          numbers.set(modelId, Number(loadOptions.session[VARIANT_ENTRY] ?? 0));
          if (FACTOR_ENTRY in loadOptions.session) {
            const loaded = await toy.load(modelId, loadOptions, ...rest);
            const dims = ["n", 1, "h", "w"];
            const ports = (all: typeof loaded.inputs): typeof loaded.inputs => all.map((x) => ({ ...x, dims }));
            return resize ? { ...loaded, inputs: ports(loaded.inputs), outputs: ports(loaded.outputs) } : loaded;
          }
          const session = { [FACTOR_ENTRY]: "2", [COST_ENTRY]: isGpu ? "apart" : "slow" };
          const facts = await toy.load(modelId, { ...loadOptions, session }, ...rest);
          const inputs = facts.inputs.map((x) => ({ ...x, dims: ["n", bareWidth] }));
          return { ...facts, inputs };
        },
        run: async (modelId, ...rest) => {
          if (!isGpu) onWasm?.("run");
          const outputs = withState(rest[0], await toy.run(modelId, ...rest));
          if (!isGpu) return outputs;
          gpu.runs += 1;
          gpu.rows.push(outputs["y"]?.dims[0] ?? 0);
          return gpu.lie(outputs, numbers.get(modelId) ?? 0);
        },
      };
      return backend;
    },
    ...sceneOptions,
  });
  return { ...scene, gpu };
}

/** Returns the outputs of a run that was given the state as an input. */
function withState({ x, sum }: Readonly<Record<string, unknown>>, outputs: Record<string, Tensor>): NamedTensors {
  if (x === undefined || sum === undefined) return outputs;
  const { data, dims } = x as Tensor<"float32">;
  const before = (sum as Tensor<"float32">).data;
  const y = { dtype: "float32", dims, data: data.map((value, i) => toyStep(before[i] ?? 0, value)) } as const;
  return { y, next: { ...y, data: y.data.slice() } };
}

const same = (model: Bundle["model"]): Bundle["model"] => model;

/** Returns the bundle of a stage, and the files on its server. */
function bundleOf(options: StageOptions): { bundle: string; files: Record<string, Uint8Array<ArrayBuffer>> } {
  const { hasGolden = true, isWithoutGolden = false, variants = 1, hasState = false } = options;
  const { resize, next, changed, describe = same } = options;
  const bundle = parseBundle(JSON.parse(toyBundle("checked", hasState ? null : 2, "apart", "slow")));
  const files: Record<string, Uint8Array<ArrayBuffer>> = {
    [`${TOY_CHUNK.path}.bin`]: new TextEncoder().encode(TOY_CHUNK.content),
    "bare.onnx": Uint8Array.of(8, 9, 0x3a, 0),
    "half.onnx": Uint8Array.of(8, 9, 0x3a, 6, 0x2a, 4, 8, 2, 0x10, 10), // one weight, float16
  };
  const fileOf = (path: string, tensors: NamedTensors): BundleFile => {
    const bytes = writeSafetensors(tensors) as Uint8Array<ArrayBuffer>;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    if (hasGolden) files[`chunks/${sha256}.bin`] = bytes;
    return { path, bytes: bytes.length, chunks: [{ sha256, bytes: bytes.length }] };
  };
  const runOf = ([inputs, outputs]: readonly [NamedTensors, NamedTensors]): GoldenRun => ({
    inputs: fileOf("in", inputs),
    outputs: fileOf("out", outputs),
  });
  const shaped = (x: Tensor): Tensor => (resize ? { ...x, dims: [1, 1, 1, 2] } : x);
  const first = hasState
    ? ([
        { x: floats(3, -5), sum: floats(2, 4) },
        { y: floats(4, -3), next: floats(4, -3) },
      ] as const)
    : ([{ x: shaped(floats(3, -5)) }, { y: shaped(floats(6, -10)) }] as const);
  const golden = { ...runOf(first), ...(next && { next: next.map(runOf) }) };
  const [only] = bundle.variants as [Variant];
  const made = Array.from({ length: variants }, (_, i): Variant => ({
    ...only,
    ...changed,
    ...(i === 0 ? {} : { id: `v${i}`, speed: { webgpu: 1 + i / 2, wasm: 1 + i / 2 } }),
    session: { ...only.session, webgpu: { ...only.session?.webgpu, [VARIANT_ENTRY]: String(i) } },
    ...(isWithoutGolden ? {} : { golden }),
  }));
  const { inputs, outputs } = bundle.model;
  const dims = ["n", 1, "h", "w"];
  const image = resize && ({ resize, channels: "gray", layout: "nchw" } as const);
  const model = image
    ? {
        ...bundle.model,
        inputs: inputs.map((x) => ({ ...x, dims, image })),
        outputs: outputs.map((x) => ({ ...x, dims })),
      }
    : bundle.model;
  return { bundle: JSON.stringify(bundleJson({ ...bundle, model: describe(model), variants: made })), files };
}

/** Runs the model on rows of `columns` times a number; returns the first number of each answer, or the error's code. */
export async function askWide(
  { world }: GoldenStage,
  model: Model,
  count: number,
  columns: number,
): Promise<unknown[]> {
  const one = (value: number): Promise<unknown> =>
    endOf(model.run({ x: { dtype: "float32", dims: [1, columns], data: new Float32Array(columns).fill(value) } }));
  return world.finish(Promise.all(Array.from({ length: count }, (_, i) => one(i + 1))));
}
/** The right answers of `askWide`. */
export const right = (count: number): number[] => Array.from({ length: count }, (_, i) => 2 * (i + 1));
