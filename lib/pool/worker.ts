// The worker's side of the thread line: one call in flight, in order, every call answered by a value or an error as a
// plain object. Images become tensors and outputs become answers here, so that the page's thread does neither.
import * as Comlink from "comlink";
import type { Backend, BackendFacts, DeviceTensor, ModelFacts, StartOptions } from "../backend/backend.ts";
import { createNextTask } from "../backend/task.ts";
import type { ImageSpec } from "../bundle.ts";
import { SelvedgeError } from "../errors.ts";
import { createDecoder } from "../postprocess/decode.ts";
import type { Decoder } from "../postprocess/decode.ts";
import { GpuImages } from "../preprocess/gpu.ts";
import { prepareImage } from "../preprocess/prepare.ts";
import { reply } from "../reply.ts";
import type { Reply } from "../reply.ts";
import type { Dtype, Port, Tensor } from "../tensor.ts";
import type {
  Decoded,
  LoadMessage,
  Ran,
  RunMessage,
  StillImage,
  WireImage,
  WorkerApi,
  WorkerNotice,
} from "./protocol.ts";

/** What the worker keeps of a loaded model, beside the backend's own. */
interface ServedModel {
  readonly images: Readonly<Record<string, ImageSpec>>;
  readonly dtypes: Readonly<Record<string, Dtype>>;
  readonly decoders: Readonly<Record<string, Decoder>>;
  /** Brings its images to tensors on the backend's own device, where there is one. */
  readonly gpu: GpuImages | null;
}

/** Serves a backend to the page at the other end; in a worker, that is `self`. `now` gives ms, for the times told. */
export function serve(
  backend: Backend,
  endpoint: Comlink.Endpoint = self as unknown as Comlink.Endpoint,
  now: () => number = () => performance.now(),
): void {
  const models = new Map<number, ServedModel>();
  const inOrder = createQueue();
  const notify = (notice: WorkerNotice): void => {
    endpoint.postMessage(notice);
  };
  backend.onLost = (reason) => {
    notify({ selvedge: "lost", reason });
  };
  backend.onLog = (line) => {
    notify({ selvedge: "log", line });
  };

  const api: WorkerApi = {
    start: (options) => inOrder(() => start(backend, options)),
    load: (message) => inOrder(() => load(backend, models, message)),
    run: (message) =>
      inOrder(async () => run(backend, models, message, now)).then((answer) =>
        answer.ok ? Comlink.transfer(answer, buffersOf(answer.value)) : answer,
      ),
    unload: (modelId) =>
      inOrder(async () => {
        forget(models, modelId);
        await backend.unload(modelId);
        return null;
      }),
    forget: (stateId) =>
      inOrder(async () => {
        await backend.forget(stateId);
        return null;
      }),
  };
  Comlink.expose(api, endpoint);
}

function start(backend: Backend, options: StartOptions): Promise<BackendFacts> {
  if (options.threads > 1) vouchForThreads();
  return backend.start(options);
}

async function load(backend: Backend, models: Map<number, ServedModel>, message: LoadMessage): Promise<ModelFacts> {
  const decoders: Record<string, Decoder> = {};
  for (const [name, spec] of Object.entries(message.decodes))
    decoders[name] = createDecoder(name, spec, message.assets);
  const facts = await backend.load(message.modelId, message);
  if (message.declared !== undefined) {
    try {
      checkPorts("input", message.declared.inputs, facts.inputs);
      checkPorts("output", message.declared.outputs, facts.outputs);
    } catch (error) {
      await backend.unload(message.modelId);
      throw error;
    }
  }
  const dtypes = Object.fromEntries(facts.inputs.map((port) => [port.name, port.dtype]));
  const gpu = backend.device == null ? null : new GpuImages(backend.device);
  forget(models, message.modelId);
  models.set(message.modelId, { images: message.images, dtypes, decoders, gpu });
  return facts;
}

/** A bundle that declares other ports than its model has would fail later and less clearly. */
function checkPorts(kind: string, ports: readonly Port[], real: readonly Port[]): void {
  const say = ({ dtype, dims }: Port): string => `${dtype} [${dims.join(", ")}]`;
  for (const port of ports) {
    const match = real.find(({ name }) => name === port.name);
    if (match?.dtype === port.dtype && match.dims.length === port.dims.length) continue;
    const got = match === undefined ? "none" : say(match);
    const message = `The bundle declares ${kind} "${port.name}" as ${say(port)}, the model has ${got}.`;
    throw new SelvedgeError("bundle-invalid", message, { at: port.name });
  }
}

function forget(models: Map<number, ServedModel>, modelId: number): void {
  models.get(modelId)?.gpu?.close();
  models.delete(modelId);
}

async function run(
  backend: Backend,
  models: ReadonlyMap<number, ServedModel>,
  message: RunMessage,
  now: () => number,
): Promise<Ran> {
  const model = models.get(message.modelId);
  if (model === undefined) {
    const details = { modelId: message.modelId };
    throw new SelvedgeError("internal", `Model ${message.modelId} is not loaded in this worker.`, details);
  }
  const began = now();
  const feeds: Record<string, Tensor | DeviceTensor> = {};
  model.gpu?.trim();
  for (const [name, value] of Object.entries(message.feeds)) {
    feeds[name] = value.kind === "tensor" ? value.tensor : tensorOf(model, name, await still(name, value.image));
  }
  const prepared = now();
  const outputs = await backend.run(message.modelId, feeds, message.state);
  const ran = now();
  const decoded: Record<string, readonly Decoded[]> = {};
  for (const [name, decode] of Object.entries(model.decoders)) {
    const output = outputs[name];
    if (output === undefined) throw new SelvedgeError("bundle-invalid", `The model has no output "${name}" to decode.`);
    decoded[name] = decode(output);
  }
  const decodeMs = now() - ran;
  return { outputs, decoded, preprocessMs: prepared - began, runMs: ran - prepared, decodeMs };
}

/** Decodes a file, or takes the picture of a frame and closes it, here, where that costs the page nothing. */
async function still(input: string, image: WireImage): Promise<StillImage> {
  if (!(image instanceof Blob) && !("displayWidth" in image)) return image;
  try {
    return await createImageBitmap(image, {
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
      colorSpaceConversion: "default",
    });
  } catch (error) {
    throw new TypeError(`input "${input}": this browser can't decode it as an image`, { cause: error });
  } finally {
    if ("close" in image) image.close();
  }
}

function tensorOf(model: ServedModel, input: string, image: StillImage): Tensor | DeviceTensor {
  const spec = model.images[input];
  const dtype = model.dtypes[input];
  if (spec === undefined) throw new TypeError(`Input "${input}" takes a tensor; its bundle declares no image there.`);
  if (dtype === undefined) throw new TypeError(`The model has no input "${input}".`);
  return prepareImage(model.gpu, image, { input, spec, dtype });
}

/** Runs calls one after another, each to a reply; calls that wait let the worker's events in between. */
function createQueue(): <T>(call: () => Promise<T>) => Promise<Reply<T>> {
  let tail: Promise<void> = Promise.resolve();
  let pending = 0;
  const nextTask = createNextTask();
  return (call) => {
    const before = tail;
    const mustWait = pending > 0;
    pending += 1;
    const answer = before.then(async () => {
      if (mustWait) await nextTask();
      return reply(call);
    });
    tail = answer.then(() => {
      pending -= 1;
    });
    return answer;
  };
}

/** Lists what a result is made of, each buffer once; shared memory cannot be moved. */
function buffersOf(ran: Ran): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  const add = (data: Tensor["data"]): void => {
    if (!Array.isArray(data) && data.buffer instanceof ArrayBuffer) buffers.add(data.buffer);
  };
  for (const output of Object.values(ran.outputs)) add(output.data);
  for (const items of Object.values(ran.decoded)) {
    for (const item of items) if (item.kind === "probabilities") add(item.probabilities);
  }
  return [...buffers];
}

/** What is used of `trustedTypes`; not every TypeScript knows it. */
interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL: (url: string) => string },
  ): {
    createScriptURL(url: string): string;
  };
}

/**
 * ONNX Runtime starts its threads by `new Worker` with this script's own address, which a page that enforces Trusted
 * Types refuses. Vouches for that one address, under the policy name `selvedge#worker`.
 */
function vouchForThreads(): void {
  const trustedTypes = Reflect.get(globalThis, "trustedTypes") as TrustedTypes | undefined;
  if (trustedTypes === undefined) return;
  const own = self.location.href;
  let vouch: (url: string) => string;
  try {
    const policy = trustedTypes.createPolicy("selvedge#worker", {
      createScriptURL(url) {
        if (url !== own) throw new TypeError(`Selvedge's worker starts no script but itself, so not ${url}.`);
        return url;
      },
    });
    vouch = (url) => policy.createScriptURL(url);
  } catch {
    return; // the page's policy does not list the name: if it enforces Trusted Types, the browser says so next
  }
  globalThis.Worker = class extends Worker {
    constructor(url: string | URL, options?: WorkerOptions) {
      super(vouch(String(url)), options);
    }
  };
}
