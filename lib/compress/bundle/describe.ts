// Describes a model for a bundle: from a given bundle.json, else from the model itself and its outputs on the samples.
import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import type { Bundle } from "../../core/bundle.ts";
import { parseBundle } from "../../core/bundle-schema.ts";
import { isName, NAME_MAX } from "../../core/bundle-shape.ts";
import { countOf } from "../run/feeds.ts";
import type { Feed } from "../run/feeds.ts";
import { describePorts } from "./inspect.ts";
import type { Outputs } from "../run/metric.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { randomOutputs } from "../onnx/random-outputs.ts";
import type { PackFile } from "./pack.ts";
import { readBundleFile } from "./read-bundle.ts";
import type { LoadedModel } from "../run/session.ts";
import { joinTensors } from "../run/two-rows.ts";
import { elementCount } from "../onnx/tensor-proto.ts";

/** The description of a model in its bundle. */
export type Description = Bundle["model"];

/**
 * Describes a model: as the bundle.json at `bundle` does, where one is given. Outputs that the graph makes random are
 * marked in either case.
 * @throws TypeError where that has a step, encoding or dtype of a newer release
 */
export async function describe(model: OnnxModel, path: string, bundle: string | undefined): Promise<Description> {
  const random = randomOutputs(model);
  const { outputs, ...rest } = bundle === undefined ? await byModel(model, path) : described(bundle);
  return { ...rest, outputs: outputs.map((x) => (random.includes(x.name) ? { ...x, isRandom: true } : x)) };
}

async function byModel(model: OnnxModel, path: string): Promise<Description> {
  const word = basename(path, ".onnx")
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+/, "");
  const ports = await describePorts(model);
  requirePorts(ports);
  return { name: word === "" ? "model" : word.slice(0, 64), version: "1", licence: "unknown", ...ports };
}

/** Refuses a model that no bundle can describe: without an input, with two outputs of one name, or with an impossible name. */
function requirePorts({ inputs, outputs }: Pick<Description, "inputs" | "outputs">): void {
  if (inputs.length === 0)
    throw new TypeError("model: its graph has no input, so its answer is always the same: store that in place of it");
  const names = outputs.map((x) => x.name);
  const twice = names.find((x, i) => names.indexOf(x) !== i);
  if (twice !== undefined)
    throw new TypeError(`model: its graph lists the output "${twice}" twice: export it with each output once`);
  const odd = [...inputs, ...outputs].map((x) => x.name).find((x) => !isName(x));
  if (odd === undefined) return;
  const why =
    odd.length > NAME_MAX ? `has more than ${NAME_MAX} characters` : "is one that every JavaScript object has";
  throw new TypeError(
    `model: the name "${odd.slice(0, NAME_MAX)}" of an input or output ${why}: rename it in the export`,
  );
}

function described(path: string): Description {
  const { model, unknown } = parseBundle(JSON.parse(readFileSync(path, "utf8")) as unknown);
  // An unknown step would be missing from the new bundle, and every page would run the model without it.
  if (unknown !== undefined)
    throw new TypeError(
      `bundle: ${path}: this release does not know the ${unknown.kind} "${unknown.word}" of "${unknown.at}"; use the release that wrote it`,
    );
  return model;
}

/** Adds typical sizes of the symbolic dims from a sample, where the description has none. */
export function withTypical(description: Description, feed: Feed | undefined): Description {
  if (description.exampleDims !== undefined || feed === undefined) return description;
  const exampleDims: Record<string, number> = {};
  for (const { name, dims } of description.inputs)
    for (const [i, dim] of dims.entries()) {
      const size = feed[name]?.dims[i] ?? 0;
      if (typeof dim === "string" && size >= 1 && size <= 65_536) exampleDims[dim] ??= size;
    }
  return Object.keys(exampleDims).length === 0 ? description : { ...description, exampleDims };
}

/**
 * Keeps a batch axis only where the model was seen to process items independently: two samples in one batch must yield
 * the same outputs as each alone. A first axis may as well be time, or feed a mean over all items.
 */
export async function withBatchAxis(
  description: Description,
  feeds: readonly Feed[],
  model: LoadedModel,
): Promise<Description> {
  const ports = [...description.inputs, ...description.outputs];
  if (ports.every((x) => x.batchAxis === null)) return description;
  const none = <P extends { readonly batchAxis: number | null }>(x: P): P => ({ ...x, batchAxis: null });
  const without = {
    ...description,
    inputs: description.inputs.map(none),
    outputs: description.outputs.map(none),
  };
  if (ports.some((x) => x.batchAxis !== 0)) return without;
  const sizes = (x: Feed): string => JSON.stringify(Object.values(x).map(({ dims }) => dims));
  const first = feeds.find((x, i) => feeds.slice(i + 1).some((y) => sizes(y) === sizes(x)));
  const second = feeds
    .slice(feeds.indexOf(first ?? {}) + 1)
    .find((x) => first !== undefined && sizes(x) === sizes(first));
  // Texts of one batch are padded to one length, and few are of one length by themselves.
  const isText = description.inputs.some((x) => x.text !== undefined);
  if (first === undefined || second === undefined) return isText ? description : without;
  try {
    const alone = [await model.run(first), await model.run(second)] as const;
    const rows = Object.values(first)[0]?.dims[0] ?? 0;
    return isTogether(await model.run(joined(first, second)), alone, rows) ? description : without;
  } catch {
    return without;
  }
}

function joined(first: Feed, second: Feed): Feed {
  const both = Object.entries(first).map(([name, x]) => [name, joinTensors(x, second[name] ?? x, 0)] as const);
  return Object.fromEntries(both);
}

/** Whether outputs have a row for each of the inputs' rows, which are those alone: a detector's boxes may be joined, too. */
function isTogether(both: Outputs, [first, second]: readonly [Outputs, Outputs], rows: number): boolean {
  return Object.entries(both).every(([name, { dims, data }]) => {
    const [a, b] = [first[name], second[name]];
    if (a?.dims[0] !== rows || b?.dims[0] !== rows || dims[0] !== 2 * rows) return false;
    if (countOf(dims) !== a.data.length + b.data.length) return false;
    let [signal, noise] = [0, 0];
    for (let i = 0; i < data.length; i++) {
      const alone = (i < a.data.length ? a.data[i] : b.data[i - a.data.length]) ?? 0;
      signal += alone ** 2;
      noise += (alone - (data[i] ?? 0)) ** 2;
    }
    return noise <= signal * 1e-6;
  });
}

/** Reads the label tables and other assets of the bundle that describes the model, for the new one. */
export async function assetsOf(bundle: string | undefined): Promise<PackFile[]> {
  if (bundle === undefined) return [];
  const described = { folder: dirname(bundle), bundle: parseBundle(JSON.parse(readFileSync(bundle, "utf8"))) };
  const files = (described.bundle.assets ?? []).map(async (file): Promise<PackFile> => {
    return { path: file.path, bytes: await readBundleFile(described, file) };
  });
  return Promise.all(files);
}

/** Returns the number of rows of the smallest lookup table: synthetic indices stay below it. */
export function smallestTable({ graph }: OnnxModel): number {
  const rows = graph.nodes
    .filter((x) => x.opType === "Gather")
    .map((x) => graph.constant(x.input[0] ?? ""))
    .filter((x) => x !== undefined && x.dims.length === 2 && elementCount(x) >= 64)
    .map((x) => Number(x?.dims[0]));
  return Math.min(256, ...rows);
}
