// A GPU that computes wrongly for several rows alone is believed by no way to ask: `map` and `embed`, of a bundle, a bare
// model and a repository. Single requests and their batches: golden-lies.spec.ts.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import { HubServer } from "../../../lib/test-support/hub-server.ts";
import { productRepository } from "../../support/hub-models.ts";
import { makeLiar } from "../../support/liar.ts";
import type { Lie, ShaderEdits } from "../../support/liar.ts";
import { CHROMIUM_IN_TEST, keep } from "../../support/suite.ts";

/** One text of three tokens is a product of three rows. */
const FEW = 4;
const SEVERAL: Lie = {
  value: "(T(value) * T(S(1.5)))",
  where: { uniforms: ["dim_a_outer", "M"], condition: `U > ${FEW}u` },
};

let hub: HubServer;

test.beforeAll(async () => {
  hub = await HubServer.start();
  hub.commit("owner/product", productRepository());
});

test.afterAll(() => {
  hub.close();
});

interface Outcome {
  readonly edited: number;
  readonly answered: number;
  /** Number of requests in the largest batch that answered. */
  readonly largest: number;
  /** Code of an error; null for none. */
  readonly code: string | null;
  /** The largest error of an answer, as a share of the largest value of the right one. */
  readonly error: number;
}

type Way = "map of texts" | "embed" | "map of tensors";

/** Asks a model on the GPU for many answers, and wasm for the right ones. */
async function ask(
  page: Page,
  source: string | { repo: string; host: string },
  way: Way,
  lie: Lie | null,
): Promise<Outcome> {
  await makeLiar(page, lie);
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  return page.evaluate(
    async ({ source, way, few }) => {
      const { selvedge, shaderEdits } = globalThis as unknown as {
        selvedge: typeof Selvedge;
        shaderEdits: ShaderEdits;
      };
      const engine = await selvedge.createEngine({ store: "memory" });
      // Another variant of the bundle might be right.
      const variant = typeof source === "string" && source.endsWith(".json") ? { variant: "f32" } : {};
      const known = await engine.load(source, { backend: "wasm", ...variant });
      const texts = Array.from({ length: 40 }, (_, i) => ["dog", "film", "good", "bad"][i % 4] ?? "");
      const inputs = Array.from({ length: 24 }, (_, i): Selvedge.Inputs => {
        if (way === "map of texts") return { input_ids: texts[i] ?? "" };
        const data = Float32Array.from({ length: 784 }, (__, j) => Math.sin(i + j));
        return { image: { dtype: "float32", dims: [1, 1, 28, 28], data } };
      });
      const outcome = { answered: 0, largest: 0, code: null as string | null, error: 0 };
      const answers = async (model: Selvedge.Model): Promise<readonly Float32Array[]> => {
        if (way === "embed") return model.embed(texts);
        const found: Float32Array[] = [];
        for await (const answer of model.map(inputs)) {
          if (!("outputs" in answer)) continue;
          found.push(Object.values(answer.outputs)[0]?.data as Float32Array);
          if (model.backend === "webgpu") outcome.largest = Math.max(outcome.largest, answer.info.batchSize);
        }
        return found;
      };
      try {
        const model = await engine.load(source, { backend: "webgpu", ...variant });
        let found = await answers(model);
        // The scheduler may find in the first runs on a busy machine that a batch gains nothing: ask until one has rows enough.
        for (let i = 0; i < 20 && way === "map of tensors" && outcome.largest <= few; i += 1)
          found = await answers(model);
        const right = await answers(known);
        outcome.answered = found.length;
        for (const [i, wanted] of right.entries()) {
          const scale = Math.max(...Array.from(wanted, Math.abs));
          for (const [j, x] of wanted.entries()) {
            const error = Math.abs((found[i]?.[j] ?? NaN) - x) / scale;
            outcome.error = Math.max(outcome.error, Number.isFinite(error) ? error : Infinity);
          }
        }
      } catch (error) {
        outcome.code = (error as { code?: string }).code ?? String(error);
      }
      await shaderEdits.untilEdited();
      await engine.close();
      return { ...outcome, edited: shaderEdits.labels.length };
    },
    { source, way, few: FEW },
  );
}

const WAYS: readonly (readonly [what: string, way: Way, source: () => Parameters<typeof ask>[1]])[] = [
  ["a repository", "embed", () => ({ repo: "owner/product", host: hub.url })],
  ["a repository", "map of texts", () => ({ repo: "owner/product", host: hub.url })],
  ["a bare model", "map of tensors", () => "/expanded/fashion-mlp/f32.onnx"],
  ["a bundle", "map of tensors", () => "/models/fashion-mlp/bundle.json"],
];

for (const [what, way, source] of WAYS) {
  test(`an honest GPU answers ${way} of ${what} (golden ways)`, CHROMIUM_IN_TEST, async ({ page }) => {
    const { code, answered, largest, error } = await ask(page, source(), way, null);
    expect([code, answered]).toEqual([null, way === "embed" ? 40 : 24]);
    expect(error).toBeLessThan(1e-3);
    if (way === "map of tensors") expect(largest).toBeGreaterThan(1);
  });

  const where = what === "a bundle" ? {} : CHROMIUM_IN_TEST;
  test(
    `${way} of ${what} has no answer of a GPU that is wrong for several rows (golden ways)`,
    where,
    async ({ page }, info) => {
      const outcome = await ask(page, source(), way, SEVERAL);
      await keep(info, { what, way, ...outcome, code: outcome.code ?? "" });
      expect(outcome.edited).toBeGreaterThan(0);
      expect([null, "wrong-result"]).toContain(outcome.code);
      expect(outcome.error).toBeLessThanOrEqual(2e-3);
      // Texts of one length are joined by `embed`, and tensors by the scheduler; single texts may run one by one.
      if (way !== "map of texts") expect(outcome.code).toBe("wrong-result");
    },
  );
}
