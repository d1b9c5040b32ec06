// Float16 variants on a GPU with `shader-f16`: an honest one answers, and one whose values overflow is refused, also where
// only large values do. Of software GPUs only some have `shader-f16`; Firefox has one here, so this starts it.
import { expect, firefox, test } from "@playwright/test";
import type { Browser, Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import type { PackedBundle } from "../../../lib/compress/bundle/pack.ts";
import { firefoxLaunch } from "../../support/browsers.ts";
import { halfBundle, serveBundle } from "../../support/half-bundle.ts";
import { makeLiar } from "../../support/liar.ts";
import type { Lie, ShaderEdits } from "../../support/liar.ts";
import { keep } from "../../support/suite.ts";

/** Magnitude of the samples: an image of the demo is within −1 and 1. */
const LARGEST = 8;
/** Values above these overflow: everything, what noise reaches, and what only large inputs reach. */
const OVERFLOWS = { "all values": 0, "values above 2": 2, "values that only large inputs reach": 24 };

let browser: Browser;
let bundle: PackedBundle;
test.beforeAll(async () => {
  browser = await firefox.launch(firefoxLaunch());
  bundle = await halfBundle("fashion-cnn", LARGEST);
});
test.afterAll(() => browser.close());

interface Outcome {
  /** Code of the load's error; null where it was loaded. */
  readonly code: string | null;
  readonly message: string;
  readonly edited: number;
  /** The largest error of an answer against float32 on wasm, as a share of its largest value. */
  readonly error: number;
}

async function ask(page: Page, lie: Lie | null): Promise<Outcome> {
  await makeLiar(page, lie);
  await serveBundle(page, "half", bundle);
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  return page.evaluate(async (largest) => {
    const { selvedge, shaderEdits } = globalThis as unknown as {
      selvedge: typeof Selvedge;
      shaderEdits: ShaderEdits;
    };
    const engine = await selvedge.createEngine({ store: "memory" });
    const known = await engine.load("/half/bundle.json", { backend: "wasm", variant: "f32" });
    const model = await engine
      .load("/half/bundle.json", { backend: "webgpu", variant: "f16" })
      .catch((thrown: unknown) => thrown as Selvedge.SelvedgeError);
    await shaderEdits.untilEdited();
    const edited = shaderEdits.labels.length;
    if (model instanceof Error) return { code: model.code, message: model.message, edited, error: 0 };
    let error = 0;
    for (const factor of [1, largest]) {
      const data = Float32Array.from({ length: 784 }, (_, i) => factor * Math.sin(i * i));
      const image = { dtype: "float32", dims: [1, 1, 28, 28], data } as const;
      const [right] = Object.values((await known.run({ image })).outputs);
      const [own] = Object.values((await model.run({ image })).outputs);
      const values = right?.data as Float32Array;
      const scale = Math.max(...values.map(Math.abs));
      for (const [i, x] of values.entries()) {
        const off = Math.abs(Number(own?.data[i]) - x) / scale;
        error = Number.isFinite(off) ? Math.max(error, off) : Infinity;
      }
    }
    await engine.close();
    return { code: null, message: model.why.text, edited, error };
  }, LARGEST);
}

test("an honest GPU runs a float16 variant (golden halves)", async () => {
  const page = await browser.newPage();
  const outcome = await ask(page, null);
  await keep(test.info(), { ...outcome, code: outcome.code ?? "" });
  expect(outcome).toMatchObject({ code: null, message: "webgpu: pinned by the caller", edited: 0 });
  expect(outcome.error).toBeLessThan(2e-2);
  await page.close();
});

for (const [what, above] of Object.entries(OVERFLOWS))
  test(`a GPU that overflows float16 for ${what} is refused (golden halves)`, async () => {
    const page = await browser.newPage();
    const value = `select(T(value), T(value) * T(S(60000)) * T(S(60000)), abs(T(value)) > T(S(${above})))`;
    const outcome = await ask(page, { value });
    await keep(test.info(), { ...outcome, code: outcome.code ?? "", what });
    expect(outcome).toMatchObject({ code: "wrong-result" });
    expect(outcome.edited).toBeGreaterThan(0);
    await page.close();
  });
