// The speech model over model.stateful(), in real browsers: a long stream whose workers are killed on the way equals
// one uninterrupted run in onnxruntime-node, and clips are classified. The speech is synthesised (sounds.ts).
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { InferenceSession, Tensor } from "onnxruntime-node";
import type * as Selvedge from "selvedge";
import { keep } from "../../support/suite.ts";
import { clips, join as joined } from "../../../models/sounds.ts";
import { writeWhole } from "../../../lib/test-support/write-whole.ts";
import { slice } from "../../../lib/test-support/slice.ts";
import { ROOT } from "../../support/prepare.ts";

const MODEL = join(dirname(createRequire(import.meta.url).resolve("@ricky0123/vad-web")), "silero_vad_v5.onnx");
const FOLDER = join(ROOT, "e2e/.cache/vad");
const CHUNK = 512;
const CONTEXT = 64;
const MAX_DIFFERENCE = 1e-4;
/** A clip is speech if this many consecutive chunks, a quarter of a second, are more likely speech than not. */
const SPEECH_CHUNKS = 8;

/** Runs a sound through the bundle chunk by chunk; kills every worker that computes before these chunks. */
async function listen(page: Page, file: string, count: number, deaths: readonly number[]): Promise<Heard> {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  return page.evaluate(
    async ({ file, count, deaths, chunk, context }) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const workers: Worker[] = [];
      const Usual = globalThis.Worker;
      globalThis.Worker = class extends Usual {
        constructor(url: string | URL, options?: WorkerOptions) {
          super(url, options);
          if (!String(url).includes("cache")) workers.push(this);
        }
      };
      // A worker that is terminated from outside fires no event: the watchdog detects it, and this is its timeout.
      const engine = await createEngine({ workers: 2, callTimeoutMs: 10_000 });
      const model = await engine.load("/models/vad/bundle.json");
      const state = model.stateful();
      const sound = new Float32Array(await (await fetch(file)).arrayBuffer());
      const heard: number[] = [];
      let again = 0;
      const startMs = performance.now();
      for (let i = 0; i < count; i += 1) {
        const data = new Float32Array(context + chunk);
        const from = i * chunk - context;
        data.set(sound.subarray(Math.max(0, from), (i + 1) * chunk), from < 0 ? context : 0);
        const step = state.run({ input: { dtype: "float32", dims: [1, data.length], data } });
        if (deaths.includes(i)) for (const worker of workers.splice(0)) worker.terminate();
        const { outputs, info } = await step;
        heard.push((outputs["output"]?.data as Float32Array | undefined)?.[0] ?? Number.NaN);
        if (info.attempts > 1) again += 1;
      }
      const ms = performance.now() - startMs;
      state.close();
      const crashes = engine.stats().lanes.reduce((sum, lane) => sum + lane.crashes, 0);
      await engine.close();
      return { heard, again, crashes, ms };
    },
    { file: `/corpus/vad/${file}`, count, deaths: [...deaths], chunk: CHUNK, context: CONTEXT },
  );
}

interface Heard {
  readonly heard: readonly number[];
  readonly again: number;
  readonly crashes: number;
  readonly ms: number;
}

function save(name: string, samples: Float32Array): void {
  mkdirSync(FOLDER, { recursive: true });
  writeWhole(join(FOLDER, name), new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
}

/** The same stream in onnxruntime-node, without a break. */
async function reference(sound: Float32Array, count: number): Promise<number[]> {
  const session = await InferenceSession.create(MODEL, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const sr = new Tensor("int64", BigInt64Array.of(16_000n), []);
  let state: Tensor = new Tensor("float32", new Float32Array(256), [2, 1, 128]);
  const heard: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const data = new Float32Array(CONTEXT + CHUNK);
    const from = i * CHUNK - CONTEXT;
    data.set(sound.subarray(Math.max(0, from), (i + 1) * CHUNK), from < 0 ? CONTEXT : 0);
    const results = await session.run({ input: new Tensor("float32", data, [1, data.length]), state, sr });
    heard.push((results["output"]?.data as Float32Array)[0] ?? Number.NaN);
    state = results["stateN"] as Tensor;
  }
  await session.release();
  return heard;
}

test("a stream with three lane deaths equals one uninterrupted run in onnxruntime-node", async ({ page }) => {
  const count = slice(1_000, 10_000);
  const part = joined(clips(24).map((clip) => clip.samples));
  const sound = new Float32Array(count * CHUNK);
  for (let at = 0; at < sound.length; at += part.length) sound.set(part.subarray(0, sound.length - at), at);
  save("stream.f32", sound);
  const deaths = [0.2, 0.5, 0.8].map((share) => Math.round(count * share) + 5);
  const { heard, again, crashes, ms } = await listen(page, "stream.f32", count, deaths);
  const expected = await reference(sound, count);
  const largest = Math.max(...expected.map((value, i) => Math.abs(value - (heard[i] ?? Number.NaN))));
  await keep(test.info(), { chunks: count, deaths: crashes, largest, msPerChunk: ms / count });
  expect(heard).toHaveLength(count);
  expect(again).toBe(deaths.length);
  expect(largest).toBeLessThanOrEqual(MAX_DIFFERENCE);
  expect(Math.max(...expected)).toBeGreaterThan(0.9);
  expect(Math.min(...expected)).toBeLessThan(0.1);
});

test("synthesised speech is distinguished from noise", async ({ page }) => {
  const all = clips(slice(40, 200));
  // Clips of whole chunks, so that one stream holds them all; after five seconds of silence the state has decayed.
  const gap = 156;
  const lengths = all.map((clip) => Math.floor(clip.samples.length / CHUNK));
  const parts = all.flatMap((clip, i) => [
    clip.samples.subarray(0, (lengths[i] ?? 0) * CHUNK),
    new Float32Array(gap * CHUNK),
  ]);
  const sound = joined(parts);
  save("clips.f32", sound);
  const { heard } = await listen(page, "clips.f32", sound.length / CHUNK, []);
  const wrong: string[] = [];
  let at = 0;
  for (const [i, { name, isSpeech }] of all.entries()) {
    let inARow = 0;
    let longest = 0;
    for (const probability of heard.slice(at, at + (lengths[i] ?? 0))) {
      inARow = probability > 0.5 ? inARow + 1 : 0;
      longest = Math.max(longest, inARow);
    }
    if (longest >= SPEECH_CHUNKS !== isSpeech) wrong.push(name);
    at += (lengths[i] ?? 0) + gap;
  }
  await keep(test.info(), { clips: all.length, right: 1 - wrong.length / all.length, wrong: wrong.join(", ") });
  expect(wrong.length / all.length).toBeLessThanOrEqual(0.03);
});

test("the page detects the two sentences of its sample", async ({ page }) => {
  await page.goto("/vad/");
  const status = page.getByTestId("status");
  await expect(status).toHaveAttribute("data-state", "ready", { timeout: 60_000 });
  await page.getByTestId("sample").click();
  await expect(status).toHaveAttribute("data-state", "done", { timeout: 60_000 });
  const probability = page.getByTestId("probability");
  const count = Number(await probability.getAttribute("data-count"));
  const mean = Number(await probability.getAttribute("data-mean"));
  expect(count).toBeGreaterThan(100);
  expect(mean).toBeGreaterThan(0.2);
  expect(mean).toBeLessThan(0.8);
  await expect(status).toContainText(/% of it speech/);
  await expect(page.getByTestId("heard")).toHaveText("No speech");
  const drawn = await page.locator("#plot").evaluate((canvas: HTMLCanvasElement) => {
    const pixels = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
    return pixels.some((value) => value > 0);
  });
  expect(drawn).toBe(true);
});

test("without a microphone the page says what works instead (processing-L14)", async ({ page }) => {
  await page.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error("Requested device not found"));
  });
  await page.goto("/vad/?backend=wasm");
  await page.getByRole("button", { name: "Use the microphone" }).click({ timeout: 120_000 });
  await expect(page.getByTestId("status")).toContainText("The sample and sound files work without one.");
  await expect(page.getByTestId("sample")).toBeEnabled();
});
