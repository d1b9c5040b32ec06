// Adds an app's own description (`image`, `labels` of `engine.load`) to an opened bare model. It is part of the
// identity: answers, measurements and estimates of one file with two descriptions are kept apart.
import { canonicalJson, sha256Hex } from "../core/bundle.ts";
import { LABELS_ASSET, resolveClasses, resolveImage } from "../core/describe-model.ts";
import type { Wording } from "../core/describe-model.ts";
import type { BundleInput, BundleOutput } from "../core/bundle.ts";
import type { OwnDescription } from "./messages.ts";
import type { OpenedBundle } from "./opened.ts";
import { readGraph } from "./read-graph.ts";

/** Names of the options and of the fixes in messages of the engine. */
const OPTIONS: Wording = {
  image: "image",
  classes: "labels",
  size: (width, height) => `set image.size to [${width}, ${height}]`,
  layout: 'set image.layout to "nchw" or "nhwc"',
  input: "name one in image.input",
  output: "name one in labels.output",
};

/**
 * Describes a bare model.
 * @throws TypeError where the description contradicts the model
 */
export async function describeBare(
  opened: OpenedBundle,
  { image, labels }: OwnDescription,
  list: readonly string[] | null,
): Promise<OpenedBundle> {
  const { data, bundle } = opened;
  if (data === null) return opened;
  const graph = await readGraph(data);
  const inputs: BundleInput[] = [];
  const outputs: BundleOutput[] = [];
  let texts: Record<string, string> = {};
  if (image !== undefined) {
    const found = resolveImage(image, graph.inputs, OPTIONS);
    const port = graph.inputs.find((x) => x.name === found.input);
    if (port !== undefined) inputs.push({ ...port, image: found.image });
  }
  if (labels !== undefined && list !== null) {
    const { top, logits, output } = labels;
    const found = resolveClasses({ labels: list, top, logits, output }, graph.outputs, graph.nodes, OPTIONS);
    const port = graph.outputs.find((x) => x.name === found.output);
    if (port !== undefined) outputs.push({ ...port, decode: found.decode });
    texts = { [LABELS_ASSET]: found.text };
  }
  const facts = {
    model: opened.identity,
    images: inputs.map((x) => [x.name, x.image]),
    answers: outputs.map((x) => [x.name, x.decode]),
    texts,
  };
  const identity = await sha256Hex(new TextEncoder().encode(canonicalJson(facts)));
  const described = { ...bundle, model: { ...bundle.model, inputs, outputs } };
  return { ...opened, bundle: described, identity, storedAs: opened.identity, texts };
}
