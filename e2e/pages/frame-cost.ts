// Main-thread cost of a video frame on its way to a model: passed directly, or read back through a canvas and
// normalised in JavaScript, as pages do by hand. It counts the work on the main thread that grows with the picture: the
// synchronous part of the way to `run`, and each message to a worker, which is where pictures and tensors are copied.
import { createEngine } from "selvedge";
import type { Inputs, Model } from "selvedge";
import { browserEffects } from "../../lib/effects/effects.ts";

/** Conversion of a frame to an input. */
export type Way = "handed over" | "getImageData and JavaScript";

/** Main-thread time per frame, and the backend that ran. */
export interface FrameCost {
  readonly ms: number;
  readonly backend: string;
}

/** Interface of this page for the benchmark. */
export interface FrameCostPage {
  /** Loads the model and starts a video of 1280 × 720. */
  setUp(): Promise<void>;
  /** Runs some frames; with `slowBy`, wastes that share of a frame's time in addition. */
  sample(way: Way, frames: number, slowBy: number): Promise<FrameCost>;
}

const SIDE = 128;
let model: Model | null = null;
let spentMs = 0;
const video = document.createElement("video");
const small = document.createElement("canvas");
small.width = SIDE;
small.height = SIDE;
const context = small.getContext("2d", { willReadFrequently: true });

const page: FrameCostPage = {
  async setUp() {
    const effects = browserEffects();
    const createWorker: typeof effects.createWorker = (url, name) => {
      const worker = effects.createWorker(url, name);
      const post = worker.postMessage.bind(worker);
      worker.postMessage = (...given: Parameters<typeof post>) => {
        spend(() => {
          post(...given);
        });
      };
      return worker;
    };
    const engine = await createEngine({ backends: ["webgpu"], effects: { ...effects, createWorker } });
    model = await engine.load("/models/face/bundle.json", { backend: "webgpu" });
    video.muted = true;
    video.srcObject = startPicture();
    await video.play();
  },
  async sample(way, frames, slowBy) {
    if (model === null) throw new Error("setUp comes first");
    let backend = "";
    let totalMs = 0;
    for (let frame = 0; frame < frames; frame++) {
      await nextFrame();
      spentMs = 0;
      const running = spend(() => (model as Model).run(way === "handed over" ? { "input:0": video } : readBack()));
      ({ backend } = (await running).info);
      waste(spentMs * slowBy);
      totalMs += spentMs * (1 + slowBy);
    }
    return { ms: totalMs / frames, backend };
  },
};

/** Runs something and adds its time; nested calls count once. */
function spend<T>(work: () => T): T {
  const before = spentMs;
  const began = performance.now();
  const result = work();
  spentMs = before + performance.now() - began;
  return result;
}

function readBack(): Inputs {
  if (context === null) throw new Error("no canvas");
  const scale = SIDE / Math.max(video.videoWidth, video.videoHeight);
  context.clearRect(0, 0, SIDE, SIDE);
  context.drawImage(video, 0, 0, video.videoWidth * scale, video.videoHeight * scale);
  const pixels = context.getImageData(0, 0, SIDE, SIDE).data;
  const data = new Float32Array(SIDE * SIDE * 3);
  for (let from = 0, to = 0; from < pixels.length; from += 4, to += 3) {
    data[to] = (pixels[from] ?? 0) / 127.5 - 1;
    data[to + 1] = (pixels[from + 1] ?? 0) / 127.5 - 1;
    data[to + 2] = (pixels[from + 2] ?? 0) / 127.5 - 1;
  }
  return { "input:0": { dtype: "float32", dims: [1, SIDE, SIDE, 3], data } };
}

function startPicture(): MediaStream {
  const canvas = document.createElement("canvas");
  canvas.width = 1280;
  canvas.height = 720;
  const drawing = canvas.getContext("2d");
  let step = 0;
  const draw = (): void => {
    if (drawing === null) return;
    drawing.fillStyle = `hsl(${String(++step % 360)} 60% 50%)`;
    drawing.fillRect((step * 7) % 1280, (step * 5) % 720, 200, 200);
    requestAnimationFrame(draw);
  };
  draw();
  return canvas.captureStream(30);
}

function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    video.requestVideoFrameCallback(() => {
      resolve();
    });
  });
}

function waste(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

Reflect.set(globalThis, "frameCost", page);
