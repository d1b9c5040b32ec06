// Statistics of values over samples, computed inside the graph, so that only a number, a row or a table per value is
// output, one sample at a time. The nodes that compute them are inserted for the measurement and removed after it.
import { inferValues, openWith } from "./infer-values.ts";
import type { Graph, NodeSpec } from "../onnx/graph.ts";
import { makeNode } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import type { Feed } from "./samples.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";

/** Samples, one at a time; each pass iterates from the start. */
export type SampleFeeds = Iterable<Feed> | AsyncIterable<Feed>;

/** The minimum and the maximum of a value. */
export interface ValueRange {
  /** The lowest value. */
  readonly min: number;
  /** The highest value. */
  readonly max: number;
}

/** Histogram of a value over equal bins of its range. */
export interface Histogram extends ValueRange {
  /** Number of values per bin, the lowest bin first. */
  readonly counts: Float64Array;
}

/** A histogram's bins, as rows and columns of the product that counts them. */
const PARTS = { rows: 64, columns: 32 } as const;
/** Maximum number of elements counted per value and sample, evenly spaced. */
const COUNTED_MAX = 16_384;

/**
 * Returns the range of each float32 value of the main graph, or of those named; an input of the model is a value too. A
 * value that was not finite on some sample has an infinite range.
 */
export async function measureRanges(
  model: OnnxModel,
  feeds: SampleFeeds,
  names?: ReadonlySet<string>,
): Promise<Map<string, ValueRange>> {
  const { graph } = model;
  const wanted = (await floatValues(model)).filter((x) => names?.has(x) ?? true);
  const ranges = new Map<string, ValueRange>();
  await observe(model, feeds, () =>
    wanted.map((value) => ({
      outputs: ["ReduceMin", "ReduceMax"].map((opType) => {
        const [output] = append(graph, `${value}/${opType}`, { opType, input: [value], attributes: { keepdims: 0 } });
        return output;
      }),
      take([low, high]) {
        const { min, max } = ranges.get(value) ?? { min: Infinity, max: -Infinity };
        const [a, b] = [low?.[0] ?? Infinity, high?.[0] ?? -Infinity];
        const isBroken = Number.isNaN(a) || Number.isNaN(b);
        ranges.set(
          value,
          isBroken ? { min: -Infinity, max: Infinity } : { min: Math.min(min, a), max: Math.max(max, b) },
        );
      },
    })),
  );
  return ranges;
}

/** Returns the peak magnitude of each float32 value of the main graph. */
export async function measurePeaks(model: OnnxModel, feeds: SampleFeeds): Promise<Map<string, number>> {
  const ranges = await measureRanges(model, feeds);
  return new Map([...ranges].map(([name, { min, max }]) => [name, Math.max(-min, max)]));
}

/** Computes histograms of values over the given ranges, with 2,048 bins each. */
export async function measureHistograms(
  model: OnnxModel,
  feeds: SampleFeeds,
  ranges: ReadonlyMap<string, ValueRange>,
): Promise<Map<string, Histogram>> {
  const { graph } = model;
  const histograms = new Map<string, Histogram>();
  if (ranges.size === 0) return histograms;
  const bounded = [...ranges].filter(([, { min, max }]) => Number.isFinite(max - min) && max > min);
  await observe(model, feeds, () =>
    bounded.map(([value, { min, max }]) => {
      const counts = new Float64Array(PARTS.rows * PARTS.columns);
      histograms.set(value, { min, max, counts });
      return {
        outputs: [countParts(graph, value, min, max)],
        take([table]) {
          for (let i = 0; i < counts.length; i++) counts[i] = (counts[i] ?? 0) + (table?.[i] ?? 0);
        },
      };
    }),
  );
  return histograms;
}

/** Appends nodes that count a value's elements by histogram bin. */
function countParts(graph: Graph, value: string, min: number, max: number): string {
  const node = (what: string, spec: Omit<NodeSpec, "output">): string => append(graph, `${value}/${what}`, spec)[0];
  const whole = (values: readonly number[], dims: readonly number[] = [values.length]): string =>
    graph.addInitializer(int64Tensor(graph.freshName(`${value}/integer`), dims, values));
  const float = (number: number): string =>
    graph.addInitializer(floatTensor(graph.freshName(`${value}/number`), [], Float32Array.of(number)));
  const count = PARTS.rows * PARTS.columns;
  const picked = everyNth(graph, node("flat", { opType: "Reshape", input: [value, whole([-1])] }), COUNTED_MAX);
  const above = node("above", { opType: "Sub", input: [picked, float(min)] });
  const scaled = node("scaled", { opType: "Mul", input: [above, float(count / (max - min))] });
  const clipped = node("clipped", { opType: "Clip", input: [scaled, float(0), float(count - 1)] });
  const part = node("part", {
    opType: "Cast",
    input: [node("floor", { opType: "Floor", input: [clipped] })],
    attributes: { to: TensorProto_DataType.INT64 },
  });
  const bounds = graph.addInitializer(floatTensor(graph.freshName(`${value}/bounds`), [2], Float32Array.of(0, 1)));
  const marks = (opType: "Div" | "Mod", size: number): string =>
    node("marks", {
      opType: "OneHot",
      input: [node("index", { opType, input: [part, whole([PARTS.columns])] }), whole([size]), bounds],
    });
  const rows = node("turned", { opType: "Transpose", input: [marks("Div", PARTS.rows)], attributes: { perm: [1, 0] } });
  return node("counts", { opType: "MatMul", input: [rows, marks("Mod", PARTS.columns)] });
}

/** @internal Appends a Slice that keeps every n-th row of a value, so that about `most` are left. */
export function everyNth(graph: Graph, value: string, most: number): string {
  const node = (what: string, spec: Omit<NodeSpec, "output">): string => append(graph, `${value}/${what}`, spec)[0];
  const whole = (number: number): string =>
    graph.addInitializer(int64Tensor(graph.freshName(`${value}/integer`), [1], [number]));
  const zero = whole(0);
  const shape = node("shape", { opType: "Shape", input: [value] });
  const length = node("length", { opType: "Slice", input: [shape, zero, whole(1)] });
  const times = node("times", { opType: "Div", input: [length, whole(most)] });
  const step = node("step", { opType: "Add", input: [times, whole(1)] });
  return node("picked", { opType: "Slice", input: [value, zero, whole(Number.MAX_SAFE_INTEGER), zero, step] });
}

/** Returns the names of the float32 values of the main graph that depend on the inputs. */
async function floatValues(model: OnnxModel): Promise<string[]> {
  const { graph } = model;
  const values = await inferValues(model);
  const names = [...graph.proto.input.map((x) => x.name), ...graph.nodes.flatMap((x) => x.output)];
  return [...new Set(names)].filter((x) => values.get(x)?.type === "float32" && graph.constant(x) === undefined);
}

/** @internal Additional outputs of each run, and their callback. */
export interface Tap {
  readonly outputs: readonly string[];
  take(results: readonly ArrayLike<number>[]): void;
}

/** @internal Appends a node to a graph and names its output after `stem`. */
export function append(graph: Graph, stem: string, spec: Omit<NodeSpec, "output">): [string] {
  const output = graph.freshName(stem);
  graph.proto.node.push(makeNode({ ...spec, output: [output] }));
  graph.changed();
  return [output];
}

/**
 * @internal Runs a model over samples, until it is enough, with additional outputs, for which `tap` appends nodes; the
 * model is restored afterwards.
 */
export async function observe(
  model: OnnxModel,
  feeds: SampleFeeds,
  tap: () => readonly Tap[],
  isEnough: () => boolean = () => false,
): Promise<void> {
  const { graph } = model;
  const [nodes, initializers] = [[...graph.nodes], [...graph.proto.initializer]];
  try {
    const taps = tap();
    const names = taps.flatMap((x) => x.outputs);
    if (names.length === 0) return;
    const session = await openWith(model, names);
    try {
      for await (const feed of feeds) {
        if (isEnough()) break;
        const results = await session.run(feed, names);
        for (const { outputs, take } of taps) take(outputs.map((x) => numbers(results[x]?.data)));
      }
    } finally {
      await session.release();
    }
  } finally {
    graph.proto.node = nodes;
    graph.proto.initializer = initializers;
    graph.changed();
  }
}

function numbers(data: unknown): ArrayLike<number> {
  return data instanceof BigInt64Array ? Float64Array.from(data, Number) : ((data as Float32Array | undefined) ?? []);
}
