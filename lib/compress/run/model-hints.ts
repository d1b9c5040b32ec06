// Hints for synthetic inputs: sizes from the configuration files that lie beside a model or one folder up, as in a
// Hugging Face repository, and bounds of token ids from the vocabulary and from the table that an input indexes.
import { readInputSizes, readVocabularySize } from "../../source/input-sizes.ts";
import type { Graph } from "../onnx/graph.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { readBeside } from "./read-beside.ts";
import type { Hints } from "./synthetic-inputs.ts";

/** Operators that hand an index on, possibly in another shape or type. */
const HANDED_ON: ReadonlySet<string> = new Set([
  ...["Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Transpose", "Slice", "Clip"],
]);
/** Most nodes between an input and the table that it indexes. */
const STEPS_MAX = 8;

/** Returns the hints that a model's graph and the files beside it hold. */
export function hintsFor(path: string, { graph }: OnnxModel): Pick<Hints, "bounds" | "sizes"> {
  const config = hintFile(path, "config.json");
  const vocabulary = readVocabularySize(config, hintFile(path, "tokenizer.json")) ?? Infinity;
  const bounds: Record<string, number> = {};
  for (const { name } of graph.proto.input) {
    const rows = Math.min(rowsIndexed(graph, name), /input_ids|token|^ids$/i.test(name) ? vocabulary : Infinity);
    if (rows < Infinity) bounds[name] = rows;
  }
  return { bounds, sizes: readInputSizes(config, hintFile(path, "preprocessor_config.json")) };
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

/** Reads a file beside the model, which may be of another tool: one that is no JSON has no hint. */
function hintFile(path: string, name: string): unknown {
  try {
    return readBeside(path, name);
  } catch {
    return null;
  }
}
