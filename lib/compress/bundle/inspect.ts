// Text summaries for a terminal: the content of a model, and differences between the outputs of two models.
import { isName } from "../../core/bundle-shape.ts";
import { ARRAY_TYPES } from "../../core/tensor.ts";
import type { Dtype, Port } from "../../core/tensor.ts";
import { inferValues } from "../run/infer-values.ts";
import { sqnr } from "../run/metric.ts";
import type { Outputs } from "../run/metric.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { rawLength } from "../onnx/stored-bytes.ts";

/** Lists versions, inputs, outputs, operators and the largest tensors of a model. */
export function inspect(model: OnnxModel): string {
  const { proto, graph } = model;
  const counts = new Map<string, number>();
  for (const each of graph.all())
    for (const { opType, domain } of each.nodes) {
      const name = domain === "" ? opType : `${domain}.${opType}`;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  const operators = [...counts].sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${count}`);
  const largest = [...graph.proto.initializer].sort((a, b) => rawLength(b) - rawLength(a)).slice(0, 10);
  const sets = proto.opsetImport.map((x) => `${x.domain === "" ? "ai.onnx" : x.domain} ${x.version}`);
  const shape = (value: (typeof graph.proto.input)[number]): string => {
    const type = value.type?.value;
    const dims = type?.case === "tensorType" ? (type.value.shape?.dim ?? []) : [];
    return `${value.name} [${dims.map((x) => String(x.value.value ?? "?")).join(", ")}]`;
  };
  return [
    `operator sets: ${sets.join(", ")}`,
    `inputs: ${graph.proto.input.map(shape).join(", ")}`,
    `outputs: ${graph.proto.output.map(shape).join(", ")}`,
    `operators: ${operators.join(", ")}`,
    `bytes: ${model.byteLength}`,
    ...largest.map((x) => `  ${x.name} [${x.dims.join(", ")}] ${rawLength(x)} bytes`),
  ].join("\n");
}

/** Characters of a port's name in that of its dim, which a bundle bounds too. */
const STEM_MAX = 180;

/** Describes the inputs and outputs of a model as a bundle does; a dim without a name, or with one that a bundle cannot hold, gets another. */
export async function describePorts(model: OnnxModel): Promise<{ inputs: Port[]; outputs: Port[] }> {
  const values = await inferValues(model);
  const stored = new Set(model.graph.proto.initializer.map((x) => x.name));
  /** Names in place of those that a bundle cannot hold: one for each. */
  const others = new Map<string, string>();
  const dim = (x: number | string, port: string, axis: number): number | string => {
    if (typeof x === "number" ? x > 0 : isName(x)) return x;
    const made = `${port.slice(0, STEM_MAX)}_${axis}`;
    if (typeof x !== "string" || x === "") return made;
    const known = others.get(x) ?? made;
    others.set(x, known);
    return known;
  };
  const port = ({ name }: { readonly name: string }): Port => {
    const facts = values.get(name);
    if (facts === undefined)
      throw new TypeError(`"${name}" is not a tensor: a bundle does not support sequences, maps and optional values`);
    if (facts.type !== "string" && !Object.hasOwn(ARRAY_TYPES, facts.type))
      throw new TypeError(
        `"${name}" has type ${facts.type}, which has no JavaScript typed array: add a Cast to the model`,
      );
    // A bundle cannot express an unknown rank: no dim of such a port is checked, and it has no batch axis.
    const dims = (facts.dims ?? []).map((x, i) => dim(x, name, i));
    return { name, dtype: facts.type as Dtype, dims, batchAxis: typeof dims[0] === "string" ? 0 : null };
  };
  const { input, output } = model.graph.proto;
  return { inputs: input.filter((x) => !stored.has(x.name)).map(port), outputs: output.map(port) };
}

/** Describes, per output, the difference of the second model from the first. */
export function compare(first: readonly Outputs[], second: readonly Outputs[]): string[] {
  const names = Object.keys(first[0] ?? {});
  return names.map((name) => {
    if (second[0]?.[name] === undefined) return `${name}  in the first model alone`;
    let largest = 0;
    const pairs = first.map((x, i) => {
      const [reference, now] = [x[name], second[i]?.[name]];
      for (let j = 0; j < (reference?.data.length ?? 0); j++)
        largest = Math.max(largest, Math.abs((reference?.data[j] ?? 0) - (now?.data[j] ?? Number.NaN)));
      return { reference: reference ? { [name]: reference } : {}, outputs: now ? { [name]: now } : {} };
    });
    return `${name}  ${sqnr(pairs).toFixed(1)} dB, largest difference ${largest.toPrecision(3)}`;
  });
}
