// No request is answered with what a lying GPU computed, for kernels that the demo's models lack: one kernel lies at a time,
// always, for later rows, or from some dispatch on; of bundles with a golden and of bare models.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import { withGolden } from "../../../lib/compress/bundle/golden.ts";
import { packBundle } from "../../../lib/compress/bundle/pack.ts";
import { serveBundle } from "../../support/half-bundle.ts";
import { KERNEL_MODELS } from "../../../lib/test-support/onnx/kernel-models.ts";
import { makeLiar } from "../../support/liar.ts";
import type { Lie, ShaderEdits } from "../../support/liar.ts";
import { modelOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";
import { keep } from "../../support/suite.ts";

const MORE = "(T(value) * T(S(1.01)) + T(S(0.01)))";
const ZERO = "T(S(0))";

const KERNELS: Readonly<Record<string, readonly string[]>> = {
  attention: ["Gather", "MatMul", "Softmax", "LayerNorm", "Reduce", "Transpose", "Add|Binary"],
  pixels: ["Conv|Grouped", "Unary|HardSigmoid", "Slice", "Concat", "Resize", "Reduce"],
  packed: ["NBits", "Dequantize", "MatMul", "Unary|Tanh"],
};

async function serve(page: Page, name: string): Promise<void> {
  const spec = KERNEL_MODELS[name];
  if (spec === undefined) throw new Error(name);
  const bytes = modelOf({ ...spec, isFree: true }).write();
  const dtype = spec.inputs["x"]?.dtype ?? "float32";
  const inputs = [{ name: "x", dtype, dims: ["n", ...spec.row], batchAxis: 0 }] as const;
  const rank = { attention: [[5]], pixels: [[6, 24, 20], [6]], packed: [[7]] }[name] ?? [];
  const outputs = spec.outputs.map((output, i) => ({
    ...{ name: output, dtype: "float32" as const, dims: ["n", ...(rank[i] ?? [])], batchAxis: 0 },
  }));
  const model = { name, version: "1", licence: "MIT", inputs, outputs };
  const variant = await withGolden(
    { id: "f32", needs: [], files: [{ path: "model.onnx", bytes, isModel: true }] },
    model,
    { n: 1 },
    (why) => {
      throw new Error(why);
    },
  );
  await serveBundle(page, "kernels", await packBundle({ model, variants: [variant] }, { compress: false }));
  await page.route("**/bare.onnx", (route) => route.fulfill({ body: Buffer.from(bytes) }));
}

interface Outcome {
  readonly load: string | null;
  readonly edited: readonly string[];
  readonly answered: number;
  readonly refused: number;
  readonly others: readonly string[];
  readonly error: number;
}

async function ask(page: Page, name: string, isBare: boolean, lie: Lie | null): Promise<Outcome> {
  await makeLiar(page, lie);
  await serve(page, name);
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  const { row = [], inputs = {} } = KERNEL_MODELS[name] ?? {};
  return page.evaluate(
    async ({ source, row, dtype }) => {
      const { selvedge, shaderEdits } = globalThis as unknown as {
        selvedge: typeof Selvedge;
        shaderEdits: ShaderEdits;
      };
      let seed = 1; // Lehmer's generator: nothing is imported in the page
      const draw = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
      const input = (): Selvedge.Inputs => {
        const length = row.reduce((product, x) => product * x, 1);
        const dims = [1, ...row];
        return dtype === "int32"
          ? { x: { dtype, dims, data: Int32Array.from({ length }, () => Math.floor(draw() * 32)) } }
          : { x: { dtype: "float32", dims, data: Float32Array.from({ length }, () => 2 * draw() - 1) } };
      };
      const engine = await selvedge.createEngine({ store: "memory" });
      const known = await engine.load(source, { backend: "wasm" });
      const model = await engine
        .load(source, { backend: "webgpu" })
        .catch((error: unknown) => error as Selvedge.SelvedgeError);
      const outcome = { load: null as string | null, answered: 0, refused: 0, others: [] as string[], error: 0 };
      if (model instanceof Error) outcome.load = `${model.code}: ${model.message}`;
      else
        for (const count of [1, 7, 1, 16]) {
          const asked = Array.from({ length: count }, input);
          const answers = await Promise.allSettled(asked.map((inputs) => model.run(inputs)));
          for (const [i, answer] of answers.entries()) {
            if (answer.status === "rejected") {
              const { code = String(answer.reason) } = answer.reason as { code?: string };
              if (code === "wrong-result") outcome.refused += 1;
              else outcome.others.push(code);
              continue;
            }
            outcome.answered += 1;
            const right = await known.run(asked[i] as Selvedge.Inputs);
            for (const [output, { data }] of Object.entries(right.outputs)) {
              const values = answer.value.outputs[output]?.data as Float32Array;
              const scale = (data as Float32Array).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
              for (const [j, x] of (data as Float32Array).entries()) {
                const error = Math.abs((values[j] ?? NaN) - x) / scale;
                outcome.error = Math.max(outcome.error, Number.isFinite(error) ? error : Infinity);
              }
            }
          }
        }
      await shaderEdits.untilEdited();
      await engine.close();
      return { ...outcome, edited: [...new Set(shaderEdits.labels)] };
    },
    {
      source: isBare ? "/bare.onnx" : "/kernels/bundle.json",
      row,
      dtype: inputs["x"]?.dtype ?? "",
    },
  );
}

for (const [at, name] of Object.keys(KERNEL_MODELS).entries())
  for (const isBare of [false, true]) {
    const of = isBare ? `bare ${name}` : name;
    test(`an honest GPU answers all of ${of} (golden kernels)`, async ({ page }) => {
      const outcome = await ask(page, name, isBare, null);
      expect(outcome).toMatchObject({ load: null, answered: 25, refused: 0, others: [], edited: [] });
      expect(outcome.error).toBeLessThan(1e-3);
    });

    const lies: Record<string, Lie> = {
      "zeros after the first 200 elements": { value: `select(T(value), ${ZERO}, u32(i) >= 200u)` },
      "more in 1 of 1,000 elements": { value: `select(T(value), ${MORE}, u32(i) % 1000u == 3u)` },
    };
    const [first = "", ...others] = KERNELS[name] ?? [];
    for (const kernel of isSoak ? [first, ...others] : [isBare ? (others.at(-1) ?? "") : first]) {
      lies[`more in ${kernel}`] = { value: MORE, only: kernel };
      if (isSoak) lies[`zeros in ${kernel}`] = { value: ZERO, only: kernel };
    }
    // In `npm test` one lie each, another one for each model.
    const told = Object.entries(lies).filter((_, i, all) => isSoak || i === (at + Number(isBare)) % all.length);
    for (const [what, lie] of told)
      test(`no answer of ${of} is from a GPU that computes ${what} (golden kernels)`, async ({ page }, info) => {
        const outcome = await ask(page, name, isBare, lie);
        const { load, edited, others } = outcome;
        await keep(info, {
          of,
          what,
          ...outcome,
          load: load ?? "",
          edited: edited.join(" "),
          others: others.join(" "),
        });
        expect(edited).not.toEqual([]);
        expect(outcome.others).toEqual([]);
        expect(outcome.error).toBeLessThanOrEqual(2e-3);
      });
  }
