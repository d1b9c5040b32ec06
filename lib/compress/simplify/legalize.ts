// Applies the rewrites for ONNX Runtime's WebGPU provider (worker/backend/webgpu-rewrites.ts) to a model, in all of its
// graphs. The same rewrites are applied while a page loads a model, so that one that never passed this tool runs too.
import { OPTIONAL } from "../run/optional-peers.ts";
import { rewriteGraph, REWRITES, rewritesFor } from "../../worker/backend/webgpu-rewrites.ts";
import type { Rewrite } from "../../worker/backend/webgpu-rewrites.ts";
import { freeName, makeNode, subgraphs, uses } from "../onnx/graph.ts";
import type { Graph } from "../onnx/graph.ts";
import type { OnnxModel, Transform } from "../onnx/model.ts";
import { int64Tensor } from "../onnx/tensor-proto.ts";

/** Sentences for the report, by rewrite. One without a sentence is made while a page loads alone: it is a check. */
const REWRITE_NOTES: Readonly<Partial<Record<Rewrite["id"], (count: number) => string>>> = {
  "cast-before-expand": (n) => `${counted(n, "Expand")} changed places with the Cast behind, to run on the GPU`,
  "is-nan-as-equal": (n) => `${counted(n, "IsNaN")} became Equal and Not, to run on the GPU`,
  "pad-conv-channels": (n) => `the input channels of ${counted(n, "convolution")} were padded to a multiple of 4`,
};

/** Rewrites a model for WebGPU; `notes` gets a sentence for each rewrite that changed it. */
export function legalize(notes: string[] = []): Transform {
  return (model) => {
    const version = OPTIONAL["onnxruntime-node"]?.version ?? "";
    const rewrites = rewritesFor(version).filter(({ id }) => REWRITE_NOTES[id] !== undefined);
    const places = new Map<Rewrite["id"], number>();
    for (const graph of model.graph.all())
      for (const [id, count] of Object.entries(rewriteOne(model, graph, rewrites)))
        places.set(id as Rewrite["id"], (places.get(id as Rewrite["id"]) ?? 0) + count);
    for (const { id, upstream } of REWRITES) {
      const count = places.get(id);
      const sentence = count === undefined ? undefined : REWRITE_NOTES[id]?.(count);
      if (sentence !== undefined) notes.push(`For WebGPU ${sentence} (${upstream}).`);
    }
  };
}

function rewriteOne(
  model: OnnxModel,
  graph: Graph,
  rewrites: readonly Rewrite[],
): Partial<Record<Rewrite["id"], number>> {
  const { node, output } = graph.proto;
  const captured = node.flatMap((x) => (subgraphs(x).length === 0 ? [] : [...uses(x)]));
  const given = new Set<string>();
  const places = rewriteGraph(
    {
      opset: model.opset,
      nodes: node,
      outputs: new Set([...output.map((x) => x.name), ...captured]),
      dimsOf: (name) => graph.constant(name)?.dims.map(Number),
      freshName: (stem) => {
        const name = freeName(stem, (x) => given.has(x) || graph.isUsed(x));
        given.add(name);
        return name;
      },
      makeNode,
      addIntegers: (name, values) => graph.addInitializer(int64Tensor(name, [values.length], values)),
    },
    rewrites,
  );
  graph.changed();
  return places;
}

function counted(n: number, what: string): string {
  return `${n} ${what}${n === 1 || what !== "convolution" ? "" : "s"}`;
}
