// Concurrent pictures: they run in one batch, and each gets the same answer as alone.
import { createEngine } from "selvedge";
import type { ImageInput, RunResult } from "selvedge";
import { Random } from "../../lib/test-support/random.ts";

const SIZES = [28, 40, 61, 100] as const;

function picture(seed: number): ImageData {
  const random = new Random(`picture ${seed}`);
  const [width, height] = [random.pick(SIZES), random.pick(SIZES)];
  const data = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < data.length; i += 1) data[i] = i % 4 === 3 ? 255 : random.whole(0, 255);
  return new ImageData(data, width, height);
}

async function fileOf(image: ImageData): Promise<Blob> {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

const page = {
  async pictures(backend: "webgpu" | "wasm", count: number) {
    const engine = await createEngine({ workers: 1 });
    const model = await engine.load("/models/fashion-cnn/bundle.json", { backend, variant: "f32" });
    const images: ImageInput[] = [];
    for (let i = 0; i < count; i += 1) images.push(i % 3 === 0 ? await fileOf(picture(i)) : picture(i));
    const valuesOf = ({ outputs }: RunResult) => Array.from(Object.values(outputs)[0]?.data as Float32Array);
    const alone: number[][] = [];
    for (const image of images) alone.push(valuesOf(await model.run({ image })));
    let off = 0;
    let joined = 0;
    let failed = "";
    // On a busy machine the scheduler may measure at first that a batch gains nothing: then more rounds are asked.
    for (let round = 0; round < 3 || (joined <= 1 && round < 20); round += 1) {
      const corrupt = model.run({ image: new Blob(["no picture"], { type: "image/png" }) }).then(
        () => "answered",
        (error: unknown) => (error as Error).name,
      );
      const answers = await Promise.all(images.map((image) => model.run({ image })));
      failed = await corrupt;
      for (const [i, answer] of answers.entries()) {
        joined = Math.max(joined, answer.info.batchSize);
        for (const [at, value] of valuesOf(answer).entries())
          off = Math.max(off, Math.abs(value - (alone[i]?.[at] ?? NaN)));
      }
    }
    await engine.close();
    return { off, joined, failed };
  },
};
export type BatchesPage = typeof page;

Object.assign(globalThis, { page });
