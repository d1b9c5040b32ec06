// The golden check on models that its bounds were not chosen by (support/hostile-models.ts): a right GPU is refused for none,
// and no answer is from one whose kernel is wrong.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import { withGolden } from "../../../lib/compress/bundle/golden.ts";
import { packBundle } from "../../../lib/compress/bundle/pack.ts";
import { serveBundle } from "../../support/half-bundle.ts";
import { HOSTILE_MODELS } from "../../support/hostile-models.ts";
import { makeLiar } from "../../support/liar.ts";
import type { Lie, ShaderEdits } from "../../support/liar.ts";
import { modelOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";
import { keep } from "../../support/suite.ts";

/** The kernel of products, which all models have and which is edited. */
const KERNEL = "MatMul|NBits|Gemm";
const LIES: Readonly<Record<string, Lie>> = {
  "1 % more": { value: "(T(value) * T(S(1.01)))", only: KERNEL },
  "one more": { value: "(T(value) + T(S(1)))", only: KERNEL },
  zeros: { value: "T(S(0))", only: KERNEL },
};

async function serve(page: Page, name: string): Promise<void> {
  const spec = HOSTILE_MODELS[name];
  if (spec === undefined) throw new Error(name);
  const bytes = modelOf({ ...spec, isFree: true }).write();
  const inputs = [{ name: "x", dtype: "float32", dims: ["n", ...spec.row], batchAxis: 0 }] as const;
  const outputs = spec.outputs.map((output, i) => ({
    ...{ name: output, dtype: spec.type ?? ("float32" as const), dims: ["n", ...(spec.outs[i] ?? [])], batchAxis: 0 },
  }));
  const model = { name: "hostile", version: "1", licence: "MIT", inputs, outputs };
  const variant = await withGolden(
    { id: "f32", needs: [], files: [{ path: "model.onnx", bytes, isModel: true }] },
    ...([model, { n: 1 }] as const),
    (why) => {
      throw new Error(why);
    },
  );
  await serveBundle(page, "hostile", await packBundle({ model, variants: [variant] }, { compress: false }));
  await page.route("**/bare.onnx", (route) => route.fulfill({ body: Buffer.from(bytes) }));
}

interface Outcome {
  readonly codes: readonly string[];
  readonly edited: number;
  readonly answered: number;
  /** Largest error of an answer, as a share of the largest value of the right one; 1 for another class. */
  readonly error: number;
  readonly why: string;
}

/** Asks for single answers and for batches. */
async function ask(page: Page, name: string, isBare: boolean, lie: Lie | null): Promise<Outcome> {
  await makeLiar(page, lie);
  await serve(page, name);
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  const { row = [], base = 0, spread = 1 } = HOSTILE_MODELS[name] ?? {};
  return page.evaluate(
    async ({ source, row, base, spread }) => {
      const { selvedge, shaderEdits } = globalThis as unknown as {
        selvedge: typeof Selvedge;
        shaderEdits: ShaderEdits;
      };
      let seed = 7; // Lehmer's generator: nothing is imported in the page
      const draw = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
      const input = (): Selvedge.Inputs => {
        const length = row.reduce((product, x) => product * x, 1);
        const data = Float32Array.from({ length }, () => base + spread * (2 * draw() - 1));
        return { x: { dtype: "float32", dims: [1, ...row], data } };
      };
      const engine = await selvedge.createEngine({ store: "memory" });
      const known = await engine.load(source, { backend: "wasm" });
      const outcome = { codes: [] as string[], answered: 0, error: 0, why: "" };
      const failed = (reason: unknown): void => {
        outcome.codes.push((reason as { code?: string }).code ?? String(reason));
        outcome.why ||= (reason as Error).message;
      };
      const model = await engine.load(source, { backend: "webgpu" }).catch((reason: unknown) => {
        failed(reason);
        return null;
      });
      for (const count of model === null ? [] : [1, 1, 5, 1, 16, 3, 1, 7]) {
        const asked = Array.from({ length: count }, input);
        for (const [i, end] of (await Promise.allSettled(asked.map(async (x) => model?.run(x)))).entries()) {
          if (end.status === "rejected") {
            failed(end.reason);
            continue;
          }
          outcome.answered += 1;
          for (const [output, { data }] of Object.entries((await known.run(asked[i] as Selvedge.Inputs)).outputs)) {
            const wanted = Array.from(data as ArrayLike<number | bigint>, Number);
            const found = Array.from(end.value?.outputs[output]?.data as ArrayLike<number | bigint>, Number);
            const scale = data instanceof BigInt64Array ? 0 : Math.max(...wanted.map(Math.abs));
            for (const [j, x] of wanted.entries()) {
              const off = Math.abs((found[j] ?? NaN) - x);
              const share = off === 0 ? 0 : scale === 0 ? 1 : off / scale;
              outcome.error = Math.max(outcome.error, Number.isFinite(share) ? share : Infinity);
            }
          }
        }
      }
      if (model !== null) outcome.why ||= model.why.text;
      await shaderEdits.untilEdited();
      await engine.close();
      return { ...outcome, edited: shaderEdits.labels.length };
    },
    { source: isBare ? "/bare.onnx" : "/hostile/bundle.json", row, base, spread },
  );
}

for (const [at, [name, { isDelicate = false }]] of Object.entries(HOSTILE_MODELS).entries())
  for (const isBare of [false, true]) {
    const of = isBare ? `bare ${name}` : name;
    test(`a right GPU answers all of ${of} (golden hostile)`, async ({ page }, info) => {
      const { codes, answered, error, edited, why } = await ask(page, name, isBare, null);
      await keep(info, { of, error });
      expect([codes, why]).toEqual([[], "webgpu: pinned by the caller"]);
      expect({ answered, edited }).toEqual({ answered: 35, edited: 0 });
      if (!isDelicate) expect(error).toBeLessThan(1e-3);
    });

    // In `npm test` one lie each, another one for each model.
    const told = Object.entries(LIES).filter((_, i) => isSoak || i === (at + Number(isBare)) % 3);
    for (const [what, lie] of told)
      test(`no answer of ${of} is from a GPU whose products are ${what} (golden hostile)`, async ({ page }, info) => {
        const outcome = await ask(page, name, isBare, lie);
        await keep(info, { of, what, ...outcome, codes: outcome.codes.join(" ") });
        expect(outcome.edited).toBeGreaterThan(0);
        if (!isDelicate) expect(outcome.error).toBeLessThanOrEqual(2e-3);
        else expect(outcome.error === 0 || outcome.codes.length > 0 || outcome.error < 0.02).toBe(true);
      });
  }
