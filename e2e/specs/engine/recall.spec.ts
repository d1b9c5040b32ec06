// Retrieval by the real all-MiniLM-L6-v2: the short description of a Debian package must find its long one as often by
// the int8 and int4 bundles that `compress` makes, and by an index of int8 vectors, as by float32: recall@10 within a
// point, over the same queries and texts, on wasm; in each browser in the soak.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import { isSoak, slice } from "../../../lib/test-support/slice.ts";
import { VectorTable } from "../../../demo/search/vector-table.ts";
import { debianTexts } from "../../../models/debian-texts.ts";
import type { DebianText } from "../../../models/debian-texts.ts";
import { FORMS, makeMiniLmForms } from "../../../models/minilm-forms.ts";
import { miniLm } from "../../support/minilm.ts";
import { CHROMIUM_IN_TEST, keep } from "../../support/suite.ts";

const COUNT = slice(150, 5_000);
const WIDTH = 384;
/** Points of recall@10, in percent of the queries, that a form may lose. */
const POINTS_MAX = 1;

let packages: readonly DebianText[];

test.beforeAll(async () => {
  test.setTimeout(1_800_000);
  packages = await debianTexts(COUNT);
  await miniLm();
  await makeMiniLmForms();
});

/** Returns the vectors of texts by a variant on wasm. */
async function vectorsOf(page: Page, variant: string, texts: readonly string[]): Promise<Float32Array[]> {
  const { encoded, ran } = await page.evaluate(
    async ({ variant, texts }) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"] });
      const model = await engine.load("/corpus/minilm-forms/bundle/bundle.json", { backend: "wasm", variant });
      const vectors = await model.embed(texts, { normalize: true });
      const ran = `${model.backend} ${model.variant}`;
      await engine.close();
      const url = await new Promise<string>((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result as string);
        reader.readAsDataURL(new Blob(vectors.map((x) => x as Float32Array<ArrayBuffer>)));
      });
      return { encoded: url.slice(url.indexOf(",") + 1), ran };
    },
    { variant, texts: [...texts] },
  );
  expect(ran).toBe(`wasm ${variant}`);
  const numbers = new Float32Array(new Uint8Array(Buffer.from(encoded, "base64")).buffer);
  expect(numbers).toHaveLength(texts.length * WIDTH);
  return texts.map((_, i) => numbers.subarray(i * WIDTH, (i + 1) * WIDTH));
}

/** Scales by the largest number, as `embed` does for int8. */
function toInt8(vector: Float32Array): Int8Array {
  const scale = 127 / Math.max(...vector.map(Math.abs));
  return Int8Array.from(vector, (x) => Math.round(x * scale));
}

/** Returns for each query whether its package is among the ten best. */
function found(queries: readonly Float32Array[], nearest: (query: Float32Array) => readonly number[]): boolean[] {
  return queries.map((query, i) => nearest(query).includes(i));
}

function byFloat32(texts: readonly Float32Array[]): (query: Float32Array) => number[] {
  return (query) => {
    const cosines = texts.map((text) => text.reduce((sum, x, i) => sum + x * (query[i] ?? 0), 0));
    return [...cosines.keys()].sort((a, b) => (cosines[b] ?? 0) - (cosines[a] ?? 0)).slice(0, 10);
  };
}

function byInt8(texts: readonly Float32Array[]): (query: Float32Array) => number[] {
  const table = new VectorTable(WIDTH);
  for (const [i, text] of texts.entries()) table.set(i, toInt8(text));
  return (query) => table.nearest(query, 10).map((x) => x.id);
}

test(
  "recall@10 of each form and of an int8 index is within a point of float32's",
  CHROMIUM_IN_TEST,
  async ({ page }, info) => {
    test.setTimeout(isSoak ? 7_200_000 : 1_200_000);
    const { pages } = info.config.metadata as { pages: string };
    await page.goto(`${pages}/engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const [queries, texts] = [packages.map((x) => x.query), packages.map((x) => x.text)];
    const recall: Record<string, readonly boolean[]> = {};
    for (const form of FORMS) {
      const vectors = await vectorsOf(page, form, [...queries, ...texts]);
      const [asked, stored] = [vectors.slice(0, COUNT), vectors.slice(COUNT)];
      recall[form] = found(asked, byFloat32(stored));
      recall[`${form}, int8 index`] = found(asked, byInt8(stored));
    }
    const reference = recall["f32"] ?? [];
    const percent = (list: readonly boolean[]): number => (100 * list.filter(Boolean).length) / COUNT;
    // Above what chance or a broken pooling finds.
    expect(percent(reference)).toBeGreaterThan(85);
    for (const [form, own] of Object.entries(recall)) {
      const lost = reference.filter((x, i) => x && own[i] !== true).length;
      const won = own.filter((x, i) => x && reference[i] !== true).length;
      await keep(info, { form, packages: COUNT, recallAt10: percent(own), lost, won });
      expect.soft(percent(reference) - percent(own), form).toBeLessThanOrEqual(POINTS_MAX);
    }
  },
);
