// Images on the GPU against the CPU, in real browsers: equal tensors, equal answers, no read-back, no leaks.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { basename } from "node:path";
import type { ImageSpec, ResizeSpec } from "../../../lib/core/bundle.ts";
import { corpusFolder, lines } from "../../../models/corpus/render.ts";
import { Random } from "../../../lib/test-support/random.ts";
import { slice } from "../../../lib/test-support/slice.ts";
import type { FramesPage, Picture } from "../../pages/frames.ts";
import { keep } from "../../support/suite.ts";

/** In units of 1/255, before normalising. */
const TOLERANCE = 2;

const RESIZES: readonly ResizeSpec[] = [
  { mode: "exact", width: 33, height: 21 },
  { mode: "exact", width: 1, height: 1 },
  { mode: "fit", width: 128, height: 128 },
  { mode: "crop", width: 48, height: 56, shortSide: 64 },
  { mode: "height", height: 48, minWidth: 40, maxWidth: 320, multipleOf: 8 },
  { mode: "side", maxSide: 160, minSide: 96, multipleOf: 32 },
];
const SPECS: readonly Omit<ImageSpec, "resize">[] = [
  { channels: "rgb", layout: "nchw", mean: [0.485, 0.456, 0.406], std: [0.25, 0.25, 0.25] },
  { channels: "bgr", layout: "nhwc", scale: 1 },
  { channels: "gray", layout: "nchw", scale: 1 / 127.5, mean: [1] },
];
const EXACT: ImageSpec = { channels: "rgb", layout: "nhwc", resize: { mode: "exact", width: 64, height: 64 } };

test.beforeEach(async ({ page }) => {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/frames.html`);
  await page.waitForFunction("globalThis.framesPage !== undefined");
});

const PICTURES: readonly [name: string, pictures: readonly Picture[]][] = [
  ["noise", sizes(slice(3, 40)).map((size, seed) => ({ kind: "noise", ...size, alpha: false, seed, as: "bitmap" }))],
  [
    "noise as pixels",
    sizes(slice(2, 10)).map((size, seed) => ({ kind: "noise", ...size, alpha: seed % 2 === 0, seed, as: "pixels" })),
  ],
  [
    "partly transparent noise",
    sizes(slice(1, 10)).map((size, seed) => ({ kind: "noise", ...size, alpha: true, seed, as: "bitmap" })),
  ],
  ["one pixel", [{ kind: "noise", width: 1, height: 1, alpha: false, seed: 1, as: "bitmap" }]],
  ["a photographed page", [{ kind: "photograph", width: 799, height: 1131, alpha: false, seed: 0, as: "bitmap" }]],
];

for (const [name, pictures] of PICTURES) {
  test(`${name}: the GPU's tensor is the CPU's, in every mode, order and layout`, async ({ page }) => {
    let most = 0;
    for (const picture of pictures) {
      for (const resize of RESIZES) {
        for (const spec of SPECS) {
          const { largest, canvases } = await ask(page, "compare", picture, { ...spec, resize });
          const what = `${picture.width} × ${picture.height}, ${JSON.stringify(resize)}, ${spec.channels}`;
          expect.soft(largest, what).toBeLessThanOrEqual(TOLERANCE);
          expect.soft(canvases, `${what}: read by the CPU`).toBe(0);
          most = Math.max(most, largest);
        }
      }
    }
    await keep(test.info(), { largest: most });
  });
}

test("twelve megapixels: the GPU's tensor is the CPU's", async ({ page }) => {
  const size = { width: 4000, height: 3000 };
  const side: ResizeSpec = { mode: "side", maxSide: 960, multipleOf: 32 };
  const noise = { kind: "noise", ...size, alpha: false, seed: 7, as: "bitmap" } as const;
  const small = await ask(page, "compare", noise, EXACT);
  const large = await ask(page, "compare", { ...noise, kind: "photograph" }, { ...EXACT, resize: side });
  await keep(test.info(), { small: small.largest, large: large.largest });
  expect(Math.max(small.largest, large.largest)).toBeLessThanOrEqual(TOLERANCE);
  expect(small.canvases + large.canvases).toBe(0);
  expect(large.dims).toEqual([1, 736, 960, 3]);
});

test("an image wider than any texture is the CPU's, and right", async ({ page }) => {
  const wide = { kind: "noise", width: 16_384, height: 2, alpha: false, seed: 3, as: "bitmap" } as const;
  const { largest } = await ask(page, "compare", wide, EXACT);
  expect(largest).toBeLessThanOrEqual(TOLERANCE);
});

test("frames of one size use what the first one made, and an unload frees it", async ({ page }) => {
  const { afterWarmup, afterFrames, afterUnload } = await ask(page, "stream", slice(60, 1_000), {
    width: 320,
    height: 240,
  });
  expect(afterFrames.textures).toBe(1);
  expect(afterFrames.buffers).toBeLessThanOrEqual(afterWarmup.buffers);
  expect(afterUnload.textures).toBe(0);
});

test("1,000 frames of forty sizes hold no more than a few of them", async ({ page }) => {
  const { afterWarmup, afterFrames, afterUnload } = await ask(page, "streamHere", 1_000);
  expect(afterFrames).toEqual(afterWarmup);
  expect(afterFrames.textures).toBeLessThanOrEqual(17);
  expect(afterUnload).toEqual({ textures: 0, buffers: 0 });
});

test("a device that is lost while an image is on it fails the run", async ({ page }) => {
  expect(await ask(page, "lose")).toBe("device-lost");
});

test("ocr-cls and ocr-rec answer the same from a bitmap on WebGPU as on wasm", async ({ page }) => {
  const count = slice(1, 40);
  const corpus = await lines(count);
  const folder = basename(await corpusFolder());
  const urls = corpus.map(({ file }) => `/corpus/${folder}/lines/${basename(file)}`);
  for (const model of ["ocr-cls", "ocr-rec"]) {
    const wasm = await ask(page, "read", model, "wasm", urls);
    const webgpu = await ask(page, "read", model, "webgpu", urls);
    expect([wasm.backends, webgpu.backends]).toEqual([["wasm"], ["webgpu"]]);
    expect(webgpu.answers).toEqual(wasm.answers);
  }
});

function sizes(count: number): { width: number; height: number }[] {
  const random = new Random("frames");
  return Array.from({ length: count }, () => ({ width: random.whole(1, 300), height: random.whole(1, 300) }));
}

async function ask<Name extends keyof FramesPage>(
  page: Page,
  name: Name,
  ...given: Parameters<FramesPage[Name]>
): Promise<Awaited<ReturnType<FramesPage[Name]>>> {
  return page.evaluate<Awaited<ReturnType<FramesPage[Name]>>>(
    `globalThis.framesPage.${name}(...${JSON.stringify(given)})`,
  );
}
