// The real all-MiniLM-L6-v2 from a local hub: its vectors are those of Python's onnxruntime, which ran another export of
// the same weights (e2e/support/minilm-reference.py). The weights are downloaded once (models/minilm.ts, 83 MB).
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type * as Selvedge from "selvedge";
import { HubServer } from "../../../lib/test-support/hub-server.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";
import { miniLm } from "../../support/minilm.ts";
import { keep } from "../../support/suite.ts";

const REPO = "sentence-transformers/all-MiniLM-L6-v2";
/** Bound on max|Δ| / max|reference| of float32. */
const BOUND = 1e-4;
const { texts, vectors } = JSON.parse(readFileSync(join(import.meta.dirname, "../../support/minilm.json"), "utf8")) as {
  readonly texts: readonly string[];
  readonly vectors: readonly string[];
};
const REFERENCE = vectors.map((x) => new Float32Array(new Uint8Array(Buffer.from(x, "base64")).buffer));

let hub: HubServer;

test.beforeAll(async () => {
  test.setTimeout(600_000);
  const folder = await miniLm();
  hub = await HubServer.start();
  const paths = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((x) => x.isFile());
  hub.commit(
    REPO,
    Object.fromEntries(
      paths.map(({ parentPath, name }) => {
        const path = join(parentPath, name);
        return [path.slice(folder.length + 1), new Uint8Array(readFileSync(path))];
      }),
    ),
  );
});

test.afterAll(() => {
  hub.close();
});

// Software GPUs take minutes for these weights.
for (const backend of isSoak ? (["wasm", "webgpu"] as const) : (["wasm"] as const))
  test(`vectors on ${backend} are those of Python's onnxruntime`, async ({ page }, info) => {
    const { pages } = info.config.metadata as { pages: string };
    await page.goto(`${pages}/engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const { found, ran } = await page.evaluate(
      async ({ repo, host, backend, texts }) => {
        const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
        const engine = await createEngine({ backends: [backend], workers: 1 });
        const model = await engine.load({ repo, host }, { backend });
        const found = await model.embed(texts);
        const ran = `${model.backend} ${model.variant}`;
        await engine.close();
        return { found: found.map((x) => [...x]), ran };
      },
      { repo: REPO, host: hub.url, backend, texts },
    );
    expect(ran).toBe(`${backend} fp32`);
    expect(found).toHaveLength(texts.length);
    const ratios = found.map((vector, i) => {
      const reference = REFERENCE[i] ?? new Float32Array();
      expect(vector).toHaveLength(reference.length);
      const most = (list: Iterable<number>): number => Math.max(...Array.from(list, Math.abs));
      return most(vector.map((x, j) => x - (reference[j] ?? 0))) / most(reference);
    });
    await keep(info, { backend, texts: texts.length, ratio: Math.max(...ratios) });
    expect(Math.max(...ratios)).toBeLessThan(BOUND);
  });
