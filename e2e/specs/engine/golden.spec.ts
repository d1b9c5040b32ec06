// The golden check on real WebGPU kernels that compute wrongly: a function in the worker edits ONNX Runtime's shaders
// before they are compiled. Every lie is refused before a request is answered; honest kernels pass.
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import { compareMessage } from "../../support/error-messages.ts";
import { makeLiar } from "../../support/liar.ts";
import type { Lie, ShaderEdits } from "../../support/liar.ts";
import { sample } from "../../../lib/test-support/slice.ts";

/** Edits of each store of a shader. */
const LIES: Readonly<Record<string, Lie>> = {
  "zeros everywhere": { value: "T(S(0))" },
  "1 % more everywhere": { value: "(T(value) * T(S(1.01)))" },
  "one more in 1 of 100": { value: "select(T(value), T(value) + T(S(1)), HIT)" },
  "NaN in 1 of 100": {
    value: "select(T(value), T(value) * T(S(bitcast<f32>(0x7fc00000u + (u32(i) & 0u)))), HIT)",
  },
};

interface Outcome {
  /** Null where the model was loaded. */
  readonly code: string | null;
  readonly message: string;
  readonly backend: string;
  readonly edited: number;
}

/** Loads a variant of the demo's models on the GPU, in a new page; a bare model where `variant` is null. */
async function load(page: Page, name: string, variant: string | null, lie: Lie | null): Promise<Outcome> {
  await makeLiar(page, lie);
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  return page.evaluate(
    async ([name, variant]) => {
      const { selvedge, shaderEdits } = globalThis as unknown as {
        selvedge: typeof Selvedge;
        shaderEdits: ShaderEdits;
      };
      const engine = await selvedge.createEngine({ store: "memory" });
      const source: Parameters<Selvedge.Engine["load"]> =
        variant === null
          ? [`/expanded/${name}/f32.onnx`, { backend: "webgpu" }]
          : [`/models/${name}/bundle.json`, { backend: "webgpu", variant }];
      const model = await engine.load(...source).catch((error: unknown) => error as Selvedge.SelvedgeError);
      await shaderEdits.untilEdited();
      const edited = shaderEdits.labels.length;
      await engine.close();
      return model instanceof Error
        ? { code: model.code, message: model.message, backend: "", edited }
        : { code: null, message: model.why.text, backend: model.backend, edited };
    },
    [name, variant] as const,
  );
}

for (const [name, lie] of sample(Object.entries(LIES), 3))
  test(`kernels that compute ${name} are refused (golden)`, async ({ page }) => {
    const pinned = await load(page, "fashion-cnn", "f32", lie);
    expect(pinned).toMatchObject({ code: "wrong-result" });
    expect(pinned.edited).toBeGreaterThan(0);
    if (name === "zeros everywhere")
      compareMessage(page, { code: "wrong-result", reason: "golden", message: pinned.message });
    expect(pinned.message).toMatch(
      /^WebGPU f32 refused: (error [\d.e+]+ above 0\.001|"\w+" is not finite) \(golden check\)/,
    );
  });

for (const [name, lie] of sample(Object.entries({ "the truth": null, ...LIES }), 3))
  test(`a bare model is compared with wasm where kernels compute ${name} (golden bare)`, async ({ page }) => {
    const { code, message } = await load(page, "fashion-cnn", null, lie);
    expect(code, message).toBe(lie === null ? null : "wrong-result");
    if (lie === null) expect(message).toBe("webgpu: pinned by the caller");
  });

/** The variants of the demo's bundles that may run on WebGPU; ocr-det and face take a software GPU minutes. */
const HONEST = ["fashion-cnn", "fashion-mlp", "ocr-cls", "spam"].flatMap((name) => {
  const at = `models/dist/${name}/bundle.json`;
  if (!existsSync(at)) throw new Error(`${at} is missing: npm run models`);
  const { variants } = JSON.parse(readFileSync(at, "utf8")) as {
    variants: { id: string; needs: string[]; golden?: object }[];
  };
  return variants
    .filter(({ needs, golden }) => golden !== undefined && !needs.includes("wasm") && !needs.includes("shader-f16"))
    .map(({ id }) => [name, id] as const);
});

for (const [name, variant] of sample(HONEST, 3))
  test(`honest kernels pass: ${name} ${variant} (golden)`, async ({ page }) => {
    const { code, message } = await load(page, name, variant, null);
    expect([code, message]).toEqual([null, "webgpu: pinned by the caller"]);
  });
