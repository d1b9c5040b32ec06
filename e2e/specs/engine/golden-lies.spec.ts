// No request is answered with what a lying GPU computed: edits of ONNX Runtime's shaders on the demo's models, for
// single requests, batches, and sizes that the bundle's golden does not have. An answer is wrong where it is further
// from wasm's than the two comparisons of a batch allow: of its rows with single requests, of these with wasm.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import { isSoak } from "../../../lib/test-support/slice.ts";
import { makeLiar } from "../../support/liar.ts";
import type { Lie, ShaderEdits } from "../../support/liar.ts";
import { keep } from "../../support/suite.ts";

const NAN = "T(S(bitcast<f32>(0x7fc00000u + (u32(i) & 0u))))";
const BY = (factor: string): string => `select(T(value), T(value) * T(S(${factor})), HIT)`;
const PLUS = "select(T(value), T(value) + T(S(1)), HIT)";
/** Names of the uniforms that hold the rows and the columns of a product. */
const ROWS = ["dim_a_outer", "M"];
const COLUMNS = ["dim_b_outer", "N"];

interface NamedLie extends Lie {
  /** Whether every model that runs an edited shader is refused; sparse lies may hit no store that matters. */
  readonly isCertain?: boolean;
  readonly isInSlice?: boolean;
}

const LIES: Readonly<Record<string, NamedLie>> = {
  "zeros in every kernel": { value: "T(S(0))", isCertain: true },
  "zeros in MatMul": { value: "T(S(0))", only: "MatMul|Gemm", isCertain: true },
  "zeros in Conv": { value: "T(S(0))", only: "Conv", isCertain: true },
  "zeros in Pool": { value: "T(S(0))", only: "Pool", isCertain: true },
  "1 % more": { value: "(T(value) * T(S(1.01)))", isCertain: true },
  "0 in 1 of 100": { value: BY("0"), every: 100 },
  "0 in 1 of 1,000": { value: BY("0"), every: 1_000, isInSlice: true },
  "double in 1 of 100": { value: BY("2"), every: 100 },
  "double in 1 of 1,000": { value: BY("2"), every: 1_000 },
  "one more in 1 of 100": { value: PLUS, every: 100 },
  "one more in 1 of 1,000": { value: PLUS, every: 1_000 },
  "NaN in 1 of 10,000": { value: `select(T(value), T(value) * ${NAN}, HIT)`, every: 10_000 },
  "zeros for several rows": { value: "T(S(0))", where: { uniforms: ROWS, condition: "U > 1u" }, isInSlice: true },
  "1 % more for 8 rows and more": {
    value: "(T(value) * T(S(1.01)))",
    where: { uniforms: ROWS, condition: "U >= 8u" },
  },
  "1 % more for columns that are no multiple of 4": {
    value: "(T(value) * T(S(1.01)))",
    where: { uniforms: COLUMNS, condition: "U % 4u != 0u" },
  },
};

/** Inputs of one request by name: element type and dims; values are seeded. */
type Shape = Readonly<Record<string, readonly ["float32" | "int32" | "ones", readonly number[]]>>;

interface Subject {
  readonly variant: string;
  readonly isInSlice: boolean;
  /** Each is asked once alone, and then as often as `batch` at once. */
  readonly shapes: readonly Shape[];
  readonly batch: number;
}

const text = (length: number): Shape => ({ text: ["int32", [1, length]], mask: ["ones", [1, length]] });
const SUBJECTS: Readonly<Record<string, Subject>> = {
  "fashion-mlp": { variant: "f32", isInSlice: true, shapes: [{ image: ["float32", [1, 1, 28, 28]] }], batch: 24 },
  "fashion-cnn": { variant: "f32", isInSlice: false, shapes: [{ image: ["float32", [1, 1, 28, 28]] }], batch: 11 },
  spam: { variant: "f32", isInSlice: true, shapes: [text(32), text(7), text(90)], batch: 5 },
  "ocr-cls": { variant: "f32", isInSlice: false, shapes: [{ x: ["float32", [1, 3, 48, 192]] }], batch: 5 },
  "ocr-rec": {
    variant: "f32",
    isInSlice: false,
    shapes: [160, 91].map((width) => ({ x: ["float32", [1, 3, 48, width]] as const })),
    batch: 3,
  },
};

interface Outcome {
  /** Code of the load's error; null where it was loaded. */
  readonly load: string | null;
  readonly edited: number;
  readonly answered: number;
  readonly refused: number;
  /** Codes of other errors. */
  readonly others: readonly string[];
  /** The largest error of an answer, as a share of the largest value of the right one. */
  readonly error: number;
}

/** Runs a model on the GPU and on wasm, in a new page. */
async function ask(page: Page, name: string, { variant, shapes, batch }: Subject, lie: Lie | null): Promise<Outcome> {
  await makeLiar(page, lie);
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  return page.evaluate(
    async ({ name, variant, shapes, batch }) => {
      const { selvedge, shaderEdits } = globalThis as unknown as {
        selvedge: typeof Selvedge;
        shaderEdits: ShaderEdits;
      };
      let seed = 1; // Lehmer's generator: nothing is imported in the page
      const draw = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
      const inputsOf = (shape: Shape): Selvedge.Inputs =>
        Object.fromEntries(
          Object.entries(shape).map(([input, [kind, dims]]) => {
            const count = dims.reduce((product, x) => product * x, 1);
            const tensor =
              kind === "int32"
                ? { dtype: kind, dims, data: Int32Array.from({ length: count }, () => 1 + Math.floor(draw() * 900)) }
                : {
                    dtype: "float32" as const,
                    dims,
                    data: Float32Array.from({ length: count }, kind === "ones" ? () => 1 : draw),
                  };
            return [input, tensor];
          }),
        );
      const engine = await selvedge.createEngine({ store: "memory" });
      const address = `/models/${name}/bundle.json`;
      const known = await engine.load(address, { backend: "wasm", variant });
      const model = await engine
        .load(address, { backend: "webgpu", variant })
        .catch((error: unknown) => error as Selvedge.SelvedgeError);
      const outcome = {
        load: null as string | null,
        answered: 0,
        refused: 0,
        others: [] as string[],
        error: 0,
      };
      if (model instanceof Error) outcome.load = model.code;
      else
        for (const shape of shapes)
          for (const count of [1, batch]) {
            const asked = Array.from({ length: count }, () => inputsOf(shape));
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
                // ocr-rec has more values than a call can have arguments.
                const scale = (data as Float32Array).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
                for (const [j, x] of (data as Float32Array).entries()) {
                  const error = Math.abs((values[j] ?? NaN) - x) / scale;
                  outcome.error = Math.max(outcome.error, Number.isFinite(error) ? error : Infinity);
                }
              }
            }
          }
      await shaderEdits.untilEdited(500); // some lies edit no shader of some models
      await engine.close();
      return { ...outcome, edited: shaderEdits.labels.length };
    },
    { name, variant, shapes, batch },
  );
}

for (const [name, subject] of Object.entries(SUBJECTS)) {
  if (!isSoak && !subject.isInSlice) continue;
  test(`an honest GPU answers all of ${name} (golden lies)`, async ({ page }) => {
    const { shapes, batch } = subject;
    const { load, answered, error, others, edited } = await ask(page, name, subject, null);
    expect({ load, answered, others, edited }).toEqual({
      load: null,
      answered: shapes.length * (1 + batch),
      others: [],
      edited: 0,
    });
    expect(error).toBeLessThan(1e-3);
  });

  for (const [what, lie] of Object.entries(LIES)) {
    if (!isSoak && lie.isInSlice !== true) continue;
    test(`no answer of ${name} is from a GPU that computes ${what} (golden lies)`, async ({ page }, info) => {
      const outcome = await ask(page, name, subject, lie);
      await keep(info, { name, what, ...outcome, load: outcome.load ?? "", others: outcome.others.join(" ") });
      expect(outcome.others).toEqual([]);
      expect(outcome.error).toBeLessThanOrEqual(2e-3);
      if (lie.isCertain === true && outcome.edited > 0) expect(outcome.load ?? outcome.refused > 0).toBeTruthy();
    });
  }
}
