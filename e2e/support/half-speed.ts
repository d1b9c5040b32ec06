// A device of half the speed, for benchmarks: a bundle of a model that does all of its work twice, with the same answers.
// Browsers can't slow a worker down, and a busy process beside it would slow the servers of the same machine as well.
import { withGolden } from "../../lib/compress/bundle/golden.ts";
import { writeBundle } from "../../lib/compress/bundle/pack.ts";
import { readBundle, readVariantModel } from "../../lib/compress/bundle/read-bundle.ts";
import { makeNode } from "../../lib/compress/onnx/graph.ts";
import { copyMessage, readModel } from "../../lib/compress/onnx/model.ts";
import type { OnnxModel } from "../../lib/compress/onnx/model.ts";
import { floatTensor } from "../../lib/compress/onnx/tensor-proto.ts";

const AGAIN = "/again";
const OWN = "/own";
const ZERO = "half-speed/zero";

/**
 * Makes a model compute its nodes a second time, on the negated inputs: what is computed twice alike ONNX Runtime computes
 * once. Each output gets the other one's times zero added. For float32 models without subgraphs.
 */
export function doubleWork({ graph }: OnnxModel): void {
  const { proto } = graph;
  const nodes = [...proto.node];
  const weights = new Set(proto.initializer.map((x) => x.name));
  const outputs = new Set(proto.output.map((x) => x.name));
  const again = (name: string): string => (name === "" || weights.has(name) ? name : name + AGAIN);
  const own = (name: string): string => (outputs.has(name) ? name + OWN : name);
  const copies = nodes.map((node) => {
    const copy = copyMessage(node);
    copy.name += AGAIN;
    copy.input = node.input.map(again);
    copy.output = node.output.map(again);
    return copy;
  });
  for (const node of nodes) {
    node.input = node.input.map(own);
    node.output = node.output.map(own);
  }
  const inputs = proto.input.filter(({ name }) => !weights.has(name));
  proto.node = [
    ...inputs.map(({ name }) => makeNode({ opType: "Neg", input: [name], output: [again(name)] })),
    ...nodes,
    ...copies,
    ...[...outputs].flatMap((name) => [
      makeNode({ opType: "Mul", input: [again(name), ZERO], output: [`${name}/zero`] }),
      makeNode({ opType: "Add", input: [own(name), `${name}/zero`], output: [name] }),
    ]),
  ];
  proto.initializer.push(floatTensor(ZERO, [], Float32Array.of(0)));
  graph.changed();
}

/** Writes a bundle of twice the work, in float32 and without decoding, of a bundle in a folder. */
export async function writeHalfSpeed(from: string, to: string): Promise<void> {
  const { bundle } = await readBundle(from);
  const outputs = bundle.model.outputs.map(({ decode: _labels, ...output }) => output); // their asset is not packed
  const model = { ...bundle.model, outputs };
  const slow = readModel(await readVariantModel(from, "f32")).transform(doubleWork);
  const files = [{ path: "model.onnx", bytes: slow.write(), isModel: true }];
  const variant = await withGolden({ id: "f32", needs: [], files }, model, model.exampleDims);
  await writeBundle(to, { model, variants: [variant] });
}
