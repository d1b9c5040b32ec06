// A right GPU is not refused for rounding: sums of so many values that they are nearly zero by chance, on real kernels,
// for sizes and inputs that no golden holds. Lies are refused as before.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import { withGolden } from "../../../lib/compress/bundle/golden.ts";
import { packBundle } from "../../../lib/compress/bundle/pack.ts";
import { TensorProto_DataType } from "../../../lib/compress/onnx/onnx.gen.js";
import { floatTensor, int64Tensor } from "../../../lib/compress/onnx/tensor-proto.ts";
import { smallModel } from "../../../lib/test-support/compress/fixtures.ts";
import { serveBundle } from "../../support/half-bundle.ts";
import { makeLiar } from "../../support/liar.ts";
import type { Lie } from "../../support/liar.ts";
import { keep } from "../../support/suite.ts";

/** Rows of the table of tokens: each is the opposite of the one before, but for the last. */
const ROWS = 512;
/** Lengths of a request, of classes of their own. */
const LENGTHS = [60_000, 30_001, 20_002];

/** The sum of a row of floats, or of a score of each token. */
const MODELS = {
  floats: smallModel({
    opset: 17,
    inputs: { x: ["n", "w"] },
    outputs: ["y"],
    nodes: [{ opType: "ReduceSum", input: ["x", "axes"], output: ["y"] }],
    initializers: [int64Tensor("axes", [1], [1])],
  }),
  tokens: smallModel({
    opset: 17,
    inputs: { x: ["n", "w"] },
    types: { x: TensorProto_DataType.INT32 },
    outputs: ["y"],
    nodes: [
      { opType: "Gather", input: ["table", "x"], output: ["scores"] },
      { opType: "ReduceSum", input: ["scores", "axes"], output: ["y"] },
    ],
    initializers: [
      int64Tensor("axes", [1], [1]),
      floatTensor(
        "table",
        [ROWS],
        Float32Array.from({ length: ROWS }, (_, i) => (i % 2 === 0 ? 1 : -1) * (2 + Math.sin(i - (i % 2)))),
      ),
    ],
  }),
};
type Name = keyof typeof MODELS;

async function serve(page: Page, name: Name): Promise<void> {
  const bytes = MODELS[name].write();
  const dtype = name === "floats" ? "float32" : "int32";
  const inputs = [{ name: "x", dtype, dims: ["n", "w"], batchAxis: 0 }] as const;
  const outputs = [{ name: "y", dtype: "float32", dims: ["n", 1], batchAxis: 0 }] as const;
  const model = { name, version: "1", licence: "MIT", inputs, outputs };
  const variant = { id: "f32", needs: [], files: [{ path: "model.onnx", bytes, isModel: true }] };
  const variants = [await withGolden(variant, model, { n: 1, w: 8 })];
  expect(variants[0]?.golden).toBeDefined();
  await serveBundle(page, "sums", await packBundle({ model, variants }, { compress: false }));
  await page.route("**/bare.onnx", (route) => route.fulfill({ body: Buffer.from(bytes) }));
}

interface Outcome {
  readonly codes: readonly string[];
  /** Requests for which the bound of the usual comparison, a thousandth of the answer, was exceeded. */
  readonly beyond: number;
  readonly error: number;
}

/** Sums rows whose sum is nearly zero, alone and as a batch. */
async function ask(page: Page, source: string, name: Name, lie: Lie | null): Promise<Outcome> {
  await makeLiar(page, lie);
  await serve(page, name);
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  return page.evaluate(
    async ({ source, name, lengths, rows }) => {
      const { selvedge } = globalThis as unknown as { selvedge: typeof Selvedge };
      let seed = 1; // Lehmer's generator: nothing is imported in the page
      const draw = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
      const floatsOf = (length: number): Float32Array => {
        const data = Float32Array.from({ length }, () => 200 * draw() - 100);
        for (let round = 0; round < 3; round += 1) {
          const off = data.reduce((sum, x) => sum + x, 0) / length;
          for (const [i, x] of data.entries()) data[i] = x - off;
        }
        return data;
      };
      /** Tokens and their opposites in a random order. */
      const tokensOf = (length: number): Int32Array => {
        const data = Int32Array.from({ length }, (_, i) => (i < length - (length % 2) ? (i * 7) % rows : 0));
        for (let i = 1; i < length; i += 2) data[i] = (data[i - 1] ?? 0) ^ 1;
        for (let i = length - 1; i > 0; i -= 1) {
          const j = Math.floor(draw() * (i + 1));
          [data[i], data[j]] = [data[j] ?? 0, data[i] ?? 0];
        }
        return data;
      };
      const request = (length: number): Selvedge.Inputs => ({
        x:
          name === "floats"
            ? { dtype: "float32", dims: [1, length], data: floatsOf(length) }
            : { dtype: "int32", dims: [1, length], data: tokensOf(length) },
      });
      const engine = await selvedge.createEngine({ store: "memory" });
      const known = await engine.load(source, { backend: "wasm" });
      const codes: string[] = [];
      let [beyond, error] = [0, 0];
      try {
        const model = await engine.load(source, { backend: "webgpu" });
        // Of two shapes: one request alone does not tell what is usual.
        for (const length of [8, 12])
          await model.run({
            x:
              name === "floats"
                ? { dtype: "float32", dims: [1, length], data: new Float32Array(length).fill(1) }
                : { dtype: "int32", dims: [1, length], data: new Int32Array(length) },
          });
        for (const length of lengths)
          for (const count of [1, 5]) {
            const asked = Array.from({ length: count }, () => request(length));
            for (const [i, end] of (await Promise.allSettled(asked.map((x) => model.run(x)))).entries()) {
              const wanted = (await known.run(asked[i] as Selvedge.Inputs)).outputs["y"]?.data[0] as number;
              if (end.status === "rejected") {
                codes.push(String((end.reason as { code?: string }).code));
                continue;
              }
              const off = Math.abs((end.value.outputs["y"]?.data[0] as number) - wanted);
              error = Math.max(error, off);
              if (off > 1e-3 * Math.abs(wanted) + 1e-6) beyond += 1;
            }
          }
      } catch (reason) {
        codes.push(String((reason as { code?: string }).code));
      }
      await engine.close();
      return { codes, beyond, error };
    },
    { source, name, lengths: LENGTHS, rows: ROWS },
  );
}

for (const name of ["floats", "tokens"] as const)
  for (const [what, source] of [
    ["a bundle", "/sums/bundle.json"],
    ["a bare model", "/bare.onnx"],
  ] as const) {
    test(`sums of ${name} that are nearly zero are answered by a right GPU: ${what} (golden rounding)`, async ({
      page,
    }, info) => {
      const { codes, beyond, error } = await ask(page, source, name, null);
      await keep(info, { name, what, beyond, error });
      expect(codes).toEqual([]);
      expect(beyond, "the sums show rounding").toBeGreaterThan(0);
    });

    test(`sums of ${name} by a GPU that is wrong are refused: ${what} (golden rounding)`, async ({ page }) => {
      const lie = {
        value: "(T(value) + T(S(50)))",
        where: { uniforms: ["reduceSize", "reduce_size"], condition: "U > 8u" },
      };
      const { codes } = await ask(page, source, name, lie);
      expect(codes).toContain("wrong-result");
    });
  }
