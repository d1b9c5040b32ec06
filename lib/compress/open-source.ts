// Opens the model file of a compression: refuses a quantized one, brings one of another float type up to float32, and
// repairs what ONNX Runtime does not load.
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { readModelAndFiles } from "./onnx/model-file.ts";
import type { ModelAndFiles } from "./onnx/model-file.ts";
import { quantizedOperators } from "./onnx/quantized-source.ts";
import { LARGE_BYTES } from "./onnx/stored-bytes.ts";
import { Scratch, writeModel } from "./onnx/written-model.ts";
import { tryModel } from "./run/trial.ts";
import { widenFloats } from "./simplify/widen-floats.ts";

/** A model ready for compression. */
export interface OpenedModel extends ModelAndFiles {
  /** Path of a file that runs as `model` does: the given one, or one in a temporary folder. */
  readonly runnable: string;
  /** Notes for the report. */
  readonly notes: readonly string[];
  /** The temporary folder. */
  readonly scratch: Scratch;
}

/**
 * Opens a model file.
 * @throws SelvedgeError `model-invalid`, also where ONNX Runtime crashes on it; TypeError for a model that is quantized
 * already.
 */
export async function openSource(path: string): Promise<OpenedModel> {
  const { model, files } = readModelAndFiles(path);
  const quantized = quantizedOperators(model);
  if (quantized !== undefined) throw new TypeError(`model: ${refusal(path, quantized)}`);
  const scratch = new Scratch();
  try {
    const opened = await prepared(path, { model, files }, scratch);
    await tryModel(opened.runnable, { path });
    return opened;
  } catch (error) {
    await scratch.close();
    throw error;
  }
}

async function prepared(path: string, { model, files }: ModelAndFiles, scratch: Scratch): Promise<OpenedModel> {
  const types = await widenFloats(model, scratch);
  const notes: string[] = [];
  if (types.length > 0)
    notes.push(
      `The model computes in ${types.join(" and ")}. It was brought up to float32, inputs and outputs included, and the forms are compared with that.`,
    );
  if (model.mended.includes("empty-names"))
    notes.push(
      "The model names missing values of a LayerNormalization or BatchNormalization by an empty text, on which onnxruntime-node crashes: the forms leave these names out.",
    );
  // ONNX Runtime maps external data; of a large file it would hold a copy beside its own.
  const isWhole = files.length === 0 && model.byteLength >= LARGE_BYTES;
  if (notes.length === 0 && !isWhole && model.mended.length === 0)
    return { model, files, runnable: path, notes, scratch };
  const { source, model: moved } = await writeModel(model, scratch, 0);
  return { model: moved, files, runnable: source as string, notes, scratch };
}

/** Names of float32 models beside a quantized one, in hubs' layouts. */
const ORIGINALS = ["model.onnx"] as const;
const SUFFIX = /_(quantized|int8|uint8|q8|q4|q4f16|q2|q2f16|q1|q1f16|bnb4|quint8[a-z0-9_]*|qint8[a-z0-9_]*)(?=\.onnx$)/;

function refusal(path: string, operators: readonly string[]): string {
  const name = basename(path);
  const names = [name.replace(SUFFIX, ""), ...ORIGINALS].filter((x) => x !== name);
  const original = names.find((x) => existsSync(join(dirname(path), x)));
  const give =
    original === undefined
      ? "give the float32 model that it was made from (model.onnx in a Hugging Face repository)"
      : `give ${join(dirname(path), original)}, which lies beside it`;
  return `${name} is already quantized (${operators.slice(0, 3).join(", ")}): ${give}`;
}
