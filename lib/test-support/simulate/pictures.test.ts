// Images as inputs, in the simulated world: a bitmap made of one is alive exactly as long as something posts it.
import { expect, test } from "vitest";
import type { ModelFacts } from "../../rpc/backend.ts";
import { createEngine } from "../../create-engine.ts";
import type { ImageInput } from "../../engine/inputs.ts";
import type { Model } from "../../engine/model.ts";
import { Random } from "../random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { World } from "./world.ts";

const BASE = "https://app.test/";
const GPU = { vendor: "toy", architecture: "", description: "", software: false, features: [], limits: {} };

/** A bitmap as the page has it: its pixels can't be posted after it is closed. */
class Bitmap {
  readonly width = 2;
  readonly height = 1;
  data: Uint8ClampedArray | (() => void) = new Uint8ClampedArray(8).fill(255);
  closes = 0;

  close(): void {
    this.closes += 1;
    this.data = () => undefined; // no message may hold a function
  }
}

interface Scene {
  readonly world: World;
  readonly model: Model;
  readonly made: Bitmap[];
  /** Decodes the waiting images; set where decoding takes time. */
  readonly decode: (() => void)[];
}

/** A model of two images without a fixed size: it can only be measured with a first request. */
async function start({ takesTime = false, failsAt = Infinity } = {}): Promise<Scene> {
  const made: Bitmap[] = [];
  const decode: (() => void)[] = [];
  const image = { resize: { mode: "exact", width: 2, height: 1 }, channels: "gray", layout: "nchw" };
  const bundle = JSON.parse(toyBundle("m", 2, "apart", "slow")) as { model: Record<string, unknown> };
  const port = { dtype: "float32", dims: ["n", 1, "h", "w"], batchAxis: 0 };
  bundle.model["inputs"] = [
    { ...port, name: "x", image },
    { ...port, name: "z", image },
  ];
  bundle.model["outputs"] = [{ ...port, name: "y" }];
  bundle.model["typical"] = {};
  const world = new World({
    random: new Random(1),
    gpu: GPU,
    cores: 2,
    files: new Map([
      [`${BASE}${TOY_CHUNK.path}`, TOY_CHUNK.content],
      [`${BASE}m.json`, JSON.stringify(bundle)],
    ]),
    createBackend: (inWorld, worker) => {
      const toy = createToyBackend(inWorld, worker);
      const { inputs, outputs } = bundle.model as unknown as ModelFacts;
      return { ...toy, load: async (...args) => ({ ...(await toy.load(...args)), inputs, outputs }) };
    },
    drawFault: () => null,
    log: null,
  });
  world.effects.createImageBitmap = async () => {
    if (takesTime) await new Promise<void>((resolve) => decode.push(resolve));
    if (made.length >= failsAt) throw new DOMException("no image", "InvalidStateError");
    const bitmap = new Bitmap();
    made.push(bitmap);
    return bitmap;
  };
  const engine = await createEngine({ effects: world.effects });
  const model = await world.finish(engine.load(`${BASE}m.json`));
  return { world, model, made, decode };
}

const picture = {} as ImageInput;
const pictures = { x: picture, z: picture };

async function turns(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

test("are measured with as long as that takes, and freed once after it (core-A3)", async () => {
  const { world, model, made } = await start();
  expect(model.why.code).toBe("not-measured");
  const { outputs } = await world.finish(model.run(pictures));
  expect(outputs["y"]?.data).toEqual(Float32Array.of(2, 2));
  expect(made.map(({ closes }) => closes)).toEqual([0, 0]);
  await world.run(() => model.why.code !== "not-measured", world.now + 10_000);
  await turns();
  expect([model.backend, model.why.code]).toEqual(["webgpu", "measured"]);
  expect(made.map(({ closes }) => closes)).toEqual([1, 1]);
  await world.finish(model.run(pictures));
  expect(made.map(({ closes }) => closes)).toEqual([1, 1, 1, 1]);
});

test("those before one that can't be decoded are freed (core-C4)", async () => {
  const { world, model, made } = await start({ failsAt: 1 });
  await expect(world.finish(model.run(pictures))).rejects.toThrow(/"z": expected an image/);
  expect(made.map(({ closes }) => closes)).toEqual([1]);
});

test("those of a model that is unloaded while they are decoded are freed (core-C4)", async () => {
  const { model, made, decode } = await start({ takesTime: true });
  const ran = expect(model.run(pictures)).rejects.toMatchObject({ code: "closed" });
  await turns();
  decode.shift()?.();
  await turns();
  model.unload();
  decode.shift()?.();
  await ran;
  expect(made.map(({ closes }) => closes)).toEqual([1, 1]);
});

test("a cancel does not wait until they are decoded, and frees them then (core-C4)", async () => {
  const { model, made, decode } = await start({ takesTime: true });
  const stop = new AbortController();
  const ran = model.run(pictures, { signal: stop.signal });
  await turns();
  stop.abort(new Error("gone"));
  await expect(ran).rejects.toThrow("gone");
  for (let i = 0; i < 2; i += 1) {
    decode.shift()?.();
    await turns();
  }
  expect(made.map(({ closes }) => closes)).toEqual([1, 1]);
});
