// A bundle with a float16 variant, made by the toolchain of one of the demo's models, for browsers with `shader-f16`.
import type { Page } from "@playwright/test";
import { withGolden } from "../../lib/compress/bundle/golden.ts";
import { packBundle } from "../../lib/compress/bundle/pack.ts";
import type { PackedBundle } from "../../lib/compress/bundle/pack.ts";
import { readBundle, readVariantModel } from "../../lib/compress/bundle/read-bundle.ts";
import { formsFor } from "../../lib/compress/forms/forms.ts";
import { readModel } from "../../lib/compress/onnx/model.ts";
import { syntheticInputs } from "../../lib/compress/run/synthetic-inputs.ts";
import { chunkPath } from "../../lib/core/bundle.ts";

/**
 * Makes a bundle with the variants f32 and f16 of a model in models/dist. `largest` is the magnitude that its samples are
 * said to reach.
 */
export async function halfBundle(name: string, largest: number): Promise<PackedBundle> {
  const folder = `models/dist/${name}`;
  const { bundle } = await readBundle(folder);
  const outputs = bundle.model.outputs.map(({ decode: _labels, ...output }) => output); // their asset is not packed
  const model = { ...bundle.model, outputs };
  const bytes = await readVariantModel(folder, "f32");
  const baseline = Object.fromEntries(model.inputs.map((x) => [x.name, { min: -largest, max: largest }]));
  const [form] = formsFor(["webgpu-f16"], ["f16"]).filter(({ id }) => id === "f16");
  if (form === undefined) throw new Error("no form f16");
  const half = readModel(bytes);
  const [feeds = []] = syntheticInputs(model.inputs, { typical: model.exampleDims ?? {}, bound: 1 });
  await form.make(half, feeds, { isSynthetic: true });
  const variants = await Promise.all(
    [
      { id: "f32", needs: [], bytes },
      { id: "f16", needs: form.needs, ...(form.session && { session: form.session }), bytes: half.write() },
    ].map(({ bytes: file, ...variant }) =>
      withGolden(
        { ...variant, files: [{ path: "model.onnx", bytes: file, isModel: true }] },
        { ...model, baseline },
        model.exampleDims,
      ),
    ),
  );
  return packBundle({ model: { ...model, baseline }, variants }, { compress: false });
}

/** Serves a bundle to a page at `/<folder>/bundle.json`. */
export async function serveBundle(page: Page, folder: string, { json, chunks }: PackedBundle): Promise<void> {
  await page.route(`**/${folder}/**`, async (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname.endsWith("bundle.json")) return route.fulfill({ json });
    const found = [...chunks].find(([sha256]) => pathname.endsWith(chunkPath(2, sha256)));
    return found === undefined ? route.fulfill({ status: 404 }) : route.fulfill({ body: Buffer.from(found[1]) });
  });
}
