// Hints for synthetic inputs: sizes from the configuration files that lie beside a model or one folder up, as in a
// Hugging Face repository, and bounds of token ids from the vocabulary and from the table that an input indexes.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Graph } from "../onnx/graph.ts";
import type { OnnxModel } from "../onnx/model.ts";
import type { Hints, ModelSizes } from "./synthetic-inputs.ts";

/** Operators that hand an index on, possibly in another shape or type. */
const HANDED_ON: ReadonlySet<string> = new Set([
  ...["Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Transpose", "Slice", "Clip"],
]);
/** Most nodes between an input and the table that it indexes. */
const STEPS_MAX = 8;

/** Returns the hints that a model's graph and the files beside it hold. */
export function hintsFor(path: string, { graph }: OnnxModel): Pick<Hints, "bounds" | "sizes"> {
  const config = readBeside(path, "config.json");
  const image = readBeside(path, "preprocessor_config.json");
  const vocabulary = vocabularyOf(path, config);
  const bounds: Record<string, number> = {};
  for (const { name } of graph.proto.input) {
    const rows = Math.min(rowsIndexed(graph, name), /input_ids|token|^ids$/i.test(name) ? vocabulary : Infinity);
    if (rows < Infinity) bounds[name] = rows;
  }
  return { bounds, sizes: sizesOf(config, image) };
}

function sizesOf(config: Json, image: Json): ModelSizes {
  const crop = image["do_center_crop"] === false ? undefined : image["crop_size"];
  const size = [crop, image["size"], config["image_size"]].find((x) => sideOf(x, "height") !== undefined);
  const [height, width] = [sideOf(size, "height"), sideOf(size, "width")];
  const channels = numberOf(image["num_channels"] ?? config["num_channels"]);
  const isImage = height !== undefined || image["image_mean"] !== undefined;
  const features = numberOf(image["feature_size"] ?? config["num_mel_bins"]);
  const frames = numberOf(image["nb_max_frames"]);
  return {
    ...((channels ?? (isImage ? 3 : undefined)) !== undefined && { channels: channels ?? 3 }),
    ...(height !== undefined && { height }),
    ...(width !== undefined && { width }),
    ...(features !== undefined && features > 1 && { features }),
    ...(frames !== undefined && { frames }),
  };
}

/** A size is a number, `{ height, width }`, or `{ shortest_edge }`. */
function sideOf(value: unknown, side: "height" | "width"): number | undefined {
  if (typeof value !== "object" || value === null) return numberOf(value);
  const { shortest_edge: edge, ...sides } = value as Json;
  return numberOf(sides[side] ?? edge);
}

/** Number of entries of the tokenizer, else of the configuration; Infinity where neither states it. */
function vocabularyOf(path: string, config: Json): number {
  const { model } = readBeside(path, "tokenizer.json") as { readonly model?: { readonly vocab?: unknown } };
  const vocab = model?.vocab;
  const entries = Array.isArray(vocab) ? vocab.length : typeof vocab === "object" ? Object.keys(vocab ?? {}).length : 0;
  if (entries > 0) return entries;
  const text = config["text_config"];
  const inner = typeof text === "object" && text !== null ? (text as Json)["vocab_size"] : undefined;
  return numberOf(config["vocab_size"] ?? inner) ?? Infinity;
}

/** Rows of the smallest table that a value indexes; Infinity where it indexes none. */
function rowsIndexed(graph: Graph, input: string): number {
  let rows = Infinity;
  const seen = new Set<string>();
  let names = [input];
  for (let step = 0; step < STEPS_MAX && names.length > 0; step++) {
    const next: string[] = [];
    for (const name of names)
      for (const node of graph.consumers(name)) {
        if (node.opType === "Gather" && node.input[1] === name)
          rows = Math.min(rows, Number(graph.constant(node.input[0] ?? "")?.dims[0] ?? Infinity));
        else if (HANDED_ON.has(node.opType) && node.input[0] === name && !seen.has(node.output[0] ?? "")) {
          seen.add(node.output[0] ?? "");
          next.push(...node.output);
        }
      }
    names = next;
  }
  return rows;
}

type Json = Readonly<Record<string, unknown>>;

/** Reads a JSON file beside the model or one folder up; empty where there is none, or it is no JSON object. */
function readBeside(path: string, name: string): Json {
  const found = [dirname(path), dirname(dirname(path))].map((x) => join(x, name)).find((x) => existsSync(x));
  if (found === undefined) return {};
  try {
    const json: unknown = JSON.parse(readFileSync(found, "utf8"));
    return typeof json === "object" && json !== null ? (json as Json) : {};
  } catch {
    return {};
  }
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : undefined;
}
