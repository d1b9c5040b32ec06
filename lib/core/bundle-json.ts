// Writes a bundle as the JSON of schema 2: the inverse of bundle-schema.ts.
import { BUNDLE_SCHEMA } from "./bundle.ts";
import type { Bundle, BundleJson } from "./bundle.ts";
import { postprocessSteps, preprocessSteps } from "./bundle-steps.ts";

/** Returns the JSON of a bundle; fields that are undefined are left out. */
export function bundleJson({
  model,
  variants,
  assets = [],
}: Pick<Bundle, "model" | "variants" | "assets">): BundleJson {
  const inputs = model.inputs.map(({ image, text, sound, ...port }) =>
    withList({ ...port, unsupported: undefined }, "preprocess", preprocessSteps({ image, text, sound })),
  );
  const outputs = model.outputs.map(({ decode, ...port }) =>
    withList(port, "postprocess", postprocessSteps({ decode })),
  );
  const json = {
    schema: BUNDLE_SCHEMA,
    model: { ...model, inputs, outputs },
    variants,
    ...(assets.length > 0 && { assets }),
  };
  // Copies plain values and leaves out undefined ones.
  return JSON.parse(JSON.stringify(json)) as BundleJson;
}

function withList(port: object, key: string, steps: readonly object[]): object {
  return steps.length === 0 ? port : { ...port, [key]: steps };
}
