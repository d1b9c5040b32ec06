// Images through the shipped worker, on both backends, by an identity model: the GPU's tensor of an image against the
// CPU's. The worker is instrumented from inside: a canvas read-back or a leaked texture would show.
import { createEngine } from "selvedge";
import type { BackendName } from "../../lib/rpc/backend.ts";
import { identityModel } from "../../lib/test-support/backend-models.ts";
import type { ImageSpec } from "../../lib/core/bundle.ts";
import { browserEffects } from "../../lib/effects/effects.ts";
import { isSelvedgeError } from "../../lib/core/errors.ts";
import type { StillImage } from "../../lib/rpc/messages.ts";
import { runAlone } from "../../lib/test-support/through-worker.ts";
import { WorkerClient } from "../../lib/pool/worker-client.ts";
import { GpuImages } from "../../lib/worker/processing/gpu.ts";
import { Random } from "../../lib/test-support/random.ts";
import photograph from "../../demo/ocr/sample.jpg?url";

/** Parameters of a picture. */
export interface Picture {
  readonly kind: "noise" | "photograph";
  readonly width: number;
  readonly height: number;
  /** Whether its pixels are partly transparent. */
  readonly alpha: boolean;
  readonly seed: number;
  /** Type of the input. */
  readonly as: "bitmap" | "pixels";
}

/** Difference of two backends' tensors of one picture. */
export interface Difference {
  readonly dims: readonly number[];
  /** The largest difference before normalising, of 255. */
  readonly largest: number;
  /** Canvas read-backs of the WebGPU worker. */
  readonly canvases: number;
}

/** Resources of a worker's device after frames. */
export interface Held {
  readonly afterWarmup: Counts;
  readonly afterFrames: Counts;
  readonly afterUnload: Counts;
}

/** Resources created and not destroyed. */
export interface Counts {
  readonly textures: number;
  readonly buffers: number;
}

/** Texts or labels read by one backend. */
export interface Reading {
  readonly backends: readonly string[];
  readonly answers: readonly string[];
}

/** Interface of this page for its tests. */
export interface FramesPage {
  /** Converts one picture to a tensor on both backends. */
  compare(picture: Picture, spec: ImageSpec): Promise<Difference>;
  /** Runs frames through the WebGPU worker. */
  stream(frames: number, size: { width: number; height: number }): Promise<Held>;
  /** Converts frames of several sizes to tensors on a device of the page's own, and counts its resources. */
  streamHere(frames: number): Promise<Held>;
  /** Returns the error code of a run whose device was destroyed meanwhile. */
  lose(): Promise<string>;
  /** Reads pictures with a bundle. */
  read(model: string, backend: BackendName, urls: readonly string[]): Promise<Reading>;
}

const BOUND_MS = 240_000;

/** Counts, inside a worker and before its own script, the device's resources and canvas read-backs. */
const WATCH = `
const counts = { textures: 0, buffers: 0, canvases: 0 };
const devices = [];
const request = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (...given) {
  const device = await request.apply(this, given);
  devices.push(device);
  return device;
};
for (const [name, kind] of [["createTexture", "textures"], ["createBuffer", "buffers"]]) {
  const make = GPUDevice.prototype[name];
  GPUDevice.prototype[name] = function (...given) {
    const made = make.apply(this, given);
    counts[kind] += 1;
    const destroy = made.destroy;
    made.destroy = function () {
      counts[kind] -= 1;
      made.destroy = destroy;
      return destroy.call(made);
    };
    return made;
  };
}
const getContext = OffscreenCanvas.prototype.getContext;
OffscreenCanvas.prototype.getContext = function (...given) {
  counts.canvases += 1;
  return getContext.apply(this, given);
};
const channel = new BroadcastChannel("watch");
channel.onmessage = ({ data }) => {
  if (data === "count") channel.postMessage({ ...counts });
  if (data === "destroy") for (const device of devices) device.destroy();
};
`;

let modelId = 0;
const clients = new Map<BackendName, Promise<WorkerClient>>();

/** Starts one worker per backend; the one on WebGPU is instrumented. */
function clientOn(backend: BackendName): Promise<WorkerClient> {
  const known = clients.get(backend) ?? startClient(backend);
  clients.set(backend, known);
  return known;
}

async function startClient(backend: BackendName): Promise<WorkerClient> {
  const { href } = new URL("/dist/worker-jspi.js", location.href);
  const wasmUrl = new URL("/dist/ort-jspi.wasm", location.href).href;
  const restUrl = new URL("/dist/ort-jspi-rest.wasm", location.href).href;
  const watched = URL.createObjectURL(new Blob([WATCH, `importScripts(${JSON.stringify(href)});`]));
  const effects = browserEffects();
  const createWorker = (): Worker => new Worker(watched, { name: "selvedge" });
  const client = new WorkerClient(backend === "webgpu" ? { ...effects, createWorker } : effects, {
    href,
    script: href,
  });
  await client.start({ backend, wasmUrl, restUrl, threads: 1, verbose: false }, BOUND_MS);
  return client;
}

/** Loads y = x, with a picture's rank; returns its id. */
async function loadIdentity(client: WorkerClient, spec: ImageSpec): Promise<number> {
  const files = [{ path: "m", data: new Blob([identityModel("float32", ["n", "a", "b", "c"])]) }];
  const message = { modelId: ++modelId, files, session: {}, images: { x: spec }, decodes: {}, assets: {} };
  await client.load(message, BOUND_MS);
  return modelId;
}

async function imageOf({ kind, width, height, alpha, seed, as }: Picture): Promise<StillImage> {
  if (kind === "photograph") {
    const response = await fetch(photograph);
    const resize = { resizeWidth: width, resizeHeight: height };
    return createImageBitmap(await response.blob(), { ...resize, premultiplyAlpha: "none" });
  }
  const random = new Random(String(seed));
  const words = Uint32Array.from({ length: width * height }, () => random.whole(0, 0xffffffff));
  const data = new Uint8ClampedArray(words.buffer);
  if (!alpha) for (let i = 3; i < data.length; i += 4) data[i] = 255;
  if (as === "pixels") return { width, height, data };
  return createImageBitmap(new ImageData(data, width, height), { premultiplyAlpha: "none" });
}

const watch = new BroadcastChannel("watch");

function ask(): Promise<Counts & { canvases: number }> {
  return new Promise((resolve) => {
    watch.onmessage = ({ data }: MessageEvent<Counts & { canvases: number }>) => {
      resolve(data);
    };
    watch.postMessage("count");
  });
}

const page: FramesPage = {
  async compare(picture, spec) {
    const image = await imageOf(picture);
    const made: { dims: readonly number[]; data: Float32Array }[] = [];
    const before = await clientOn("webgpu").then(ask);
    for (const backend of ["wasm", "webgpu"] as const) {
      const client = await clientOn(backend);
      const id = await loadIdentity(client, spec);
      const { outputs } = await runAlone(
        client,
        { modelId: id, items: [{ tensors: {}, others: { x: { kind: "image", image } } }] },
        BOUND_MS,
      );
      await client.unload(id, BOUND_MS);
      if (outputs["y"] === undefined) throw new Error("there is no output");
      made.push({ dims: outputs["y"].dims, data: outputs["y"].data as Float32Array });
    }
    const [cpu, gpu] = made;
    if (cpu === undefined || gpu === undefined) throw new Error("a backend returned nothing");
    if (String(cpu.dims) !== String(gpu.dims)) throw new Error(`${String(cpu.dims)} against ${String(gpu.dims)}`);
    const unit = (spec.std?.[0] ?? 1) / (spec.scale ?? 1 / 255); // of a normalised value, in 1/255
    const largest =
      cpu.data.reduce((most, value, i) => Math.max(most, Math.abs(value - (gpu.data[i] ?? NaN))), 0) * unit;
    return { dims: cpu.dims, largest, canvases: (await ask()).canvases - before.canvases };
  },
  async stream(frames, size) {
    const client = await clientOn("webgpu");
    const spec: ImageSpec = { channels: "rgb", layout: "nchw", resize: { mode: "exact", width: 32, height: 32 } };
    const id = await loadIdentity(client, spec);
    const image = await imageOf({ kind: "noise", ...size, alpha: false, seed: 1, as: "bitmap" });
    const run = async (count: number): Promise<void> => {
      for (let frame = 0; frame < count; frame++)
        await client.run({ modelId: id, items: [{ tensors: {}, others: { x: { kind: "image", image } } }] }, BOUND_MS);
    };
    await run(5);
    const afterWarmup = await ask();
    await run(frames);
    const afterFrames = await ask();
    await client.unload(id, BOUND_MS);
    return { afterWarmup, afterFrames, afterUnload: await ask() };
  },
  async streamHere(frames) {
    const adapter = await navigator.gpu.requestAdapter();
    if (adapter === null) throw new Error("no adapter");
    const device = await adapter.requestDevice();
    const errors: string[] = [];
    device.addEventListener("uncapturederror", ({ error }) => errors.push(error.message));
    const counts = count(device);
    const images = new GpuImages(device);
    const spec: ImageSpec = { channels: "rgb", layout: "nchw", resize: { mode: "height", height: 48 } };
    const pictures = await Promise.all(
      Array.from({ length: 40 }, (_, at) =>
        imageOf({ kind: "noise", width: 60 + at, height: 50, alpha: false, seed: at, as: "pixels" }),
      ),
    );
    const run = (from: number, to: number): void => {
      for (let frame = from; frame < to; frame++) {
        images.trim();
        const picture = pictures[frame % pictures.length];
        if (picture === undefined || images.prepare("x", picture, spec) === null) throw new Error("not on the device");
      }
    };
    run(0, 40);
    const afterWarmup = { ...counts };
    run(40, 40 + frames);
    const afterFrames = { ...counts };
    images.close();
    await device.queue.onSubmittedWorkDone();
    device.destroy();
    if (errors.length > 0) throw new Error(errors[0]);
    return { afterWarmup, afterFrames, afterUnload: { ...counts } };
  },
  async lose() {
    const client = await startClient("webgpu");
    const spec: ImageSpec = { channels: "rgb", layout: "nchw", resize: { mode: "exact", width: 640, height: 640 } };
    const id = await loadIdentity(client, spec);
    const image = await imageOf({ kind: "noise", width: 900, height: 900, alpha: false, seed: 1, as: "bitmap" });
    const runs: Promise<string>[] = [];
    for (let i = 0; i < 4; i++) {
      const run = client.run(
        { modelId: id, items: [{ tensors: {}, others: { x: { kind: "image", image } } }] },
        BOUND_MS,
      );
      runs.push(run.then(() => "ended", codeOf));
    }
    watch.postMessage("destroy");
    return (await Promise.all(runs)).at(-1) ?? "";
  },
  async read(name, backend, urls) {
    const engine = await createEngine({ backends: [backend] });
    try {
      const model = await engine.load(`/models/${name}/bundle.json`, { backend, variant: "f32" });
      const input = model.inputs[0]?.name ?? "";
      const output = model.outputs[0]?.name ?? "";
      const answers: string[] = [];
      const backends = new Set<string>();
      for (const url of urls) {
        const response = await fetch(url);
        const bitmap = await createImageBitmap(await response.blob());
        const { decoded, info } = await model.run({ [input]: bitmap });
        const [answer] = decoded[output] ?? [];
        if (answer?.kind === "text") answers.push(answer.text);
        else if (answer?.kind === "labels") answers.push(answer.labels[0]?.label ?? "");
        else throw new Error("the bundle decodes its output to neither text nor labels");
        backends.add(info.backend);
      }
      return { backends: [...backends], answers };
    } finally {
      await engine.close();
    }
  },
};

/** Counts a device's resources. */
function count(device: GPUDevice): { textures: number; buffers: number } {
  const counts = { textures: 0, buffers: 0 };
  const counted = <Given extends unknown[], Made extends GPUTexture | GPUBuffer>(
    kind: keyof typeof counts,
    make: (...given: Given) => Made,
  ): ((...given: Given) => Made) => {
    return (...given) => {
      const made = make(...given);
      const destroy = made.destroy.bind(made);
      counts[kind] += 1;
      made.destroy = (): undefined => {
        counts[kind] -= 1;
        destroy();
      };
      return made;
    };
  };
  device.createTexture = counted("textures", device.createTexture.bind(device));
  device.createBuffer = counted("buffers", device.createBuffer.bind(device));
  return counts;
}

function codeOf(error: unknown): string {
  return isSelvedgeError(error) ? error.code : String(error);
}

Reflect.set(globalThis, "framesPage", page);
