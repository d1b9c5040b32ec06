// A GPU that resizes images wrongly, by Selvedge's own shader: images are converted on the CPU there, and answers are right.
import { expect, test } from "@playwright/test";
import type * as Selvedge from "selvedge";
import { makeLiar } from "../../support/liar.ts";
import type { Lie, ShaderEdits } from "../../support/liar.ts";

/** ONNX Runtime labels its shaders; Selvedge's has no label. */
const OWN = "^$";
const LIES: Readonly<Record<string, Lie | null>> = {
  rightly: null,
  "half as bright": { value: "(T(value) * T(S(0.5)))", only: OWN },
  "with 1 pixel of 100 in black": { value: "select(T(value), T(S(0)), HIT)", only: OWN, every: 100 },
};

for (const [what, lie] of Object.entries(LIES))
  test(`an image is answered rightly where the GPU resizes ${what} (golden images)`, async ({ page }) => {
    await makeLiar(page, lie);
    const { pages } = test.info().config.metadata as { pages: string };
    await page.goto(`${pages}/engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const { edited, errors } = await page.evaluate(async () => {
      const { selvedge, shaderEdits } = globalThis as unknown as {
        selvedge: typeof Selvedge;
        shaderEdits: ShaderEdits;
      };
      const image = new ImageData(40, 52);
      for (let i = 0; i < image.data.length; i += 1) image.data[i] = i % 4 === 3 ? 255 : (i * i) % 251;
      const engine = await selvedge.createEngine({ store: "memory" });
      const ask = async (backend: "webgpu" | "wasm", count: number): Promise<Float32Array[]> => {
        const model = await engine.load("/models/fashion-cnn/bundle.json", { backend, variant: "f32" });
        const answers = await Promise.all(Array.from({ length: count }, () => model.run({ image })));
        return answers.map(({ outputs }) => Object.values(outputs)[0]?.data as Float32Array);
      };
      const [right] = (await ask("wasm", 1)) as [Float32Array];
      const scale = Math.max(...right.map(Math.abs));
      const answers = [...(await ask("webgpu", 1)), ...(await ask("webgpu", 5))];
      const errors = answers.map((x) => Math.max(...x.map((value, i) => Math.abs(value - Number(right[i])) / scale)));
      await shaderEdits.untilEdited();
      await engine.close();
      return { edited: shaderEdits.labels.length, errors };
    });
    expect(edited > 0).toBe(lie !== null);
    for (const error of errors) expect(error).toBeLessThan(5e-3);
  });
