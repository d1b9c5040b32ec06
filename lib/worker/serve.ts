// The worker's side of the thread line: one call in flight, in order, every call answered by a value or an error as a
// plain object. run-batch.ts executes a batch.
import * as Comlink from "comlink";
import { BUILD_ID } from "../core/build-id.ts";
import type { WorkerReady } from "../core/build-id.ts";
import type { Backend, CallBound, ModelFacts } from "../rpc/backend.ts";
import { isOutOfMemory } from "./backend/classify-error.ts";
import { createRemoteBackend } from "./backend/remote-backend.ts";
import { createNextTask } from "./backend/next-task.ts";
import { lockHolder } from "../effects/web-locks.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { checkTables } from "./processing/check-tables.ts";
import { createDecoder } from "./processing/decode.ts";
import type { Decoder } from "./processing/decode.ts";
import { GpuImages } from "./processing/gpu.ts";
import { createTextReaders } from "./processing/text.ts";
import { reply } from "../rpc/reply.ts";
import type { Reply } from "../rpc/reply.ts";
import type { BundleInput, ImageSpec, InputReader } from "../core/bundle.ts";
import { fitDecode, fitImage, fitSound, fitText, IMAGE_INPUT, isPicturePort, namesOf } from "../core/fit-steps.ts";
import { fixedSize } from "../core/image-spec.ts";
import type { Port } from "../core/tensor.ts";
import { batchingOf } from "./join-batch.ts";
import { isCallNotice } from "../rpc/messages.ts";
import type { CallNotice, LoadMessage, Ran, RanItem, TrafficNotice, WorkerApi, WorkerNotice } from "../rpc/messages.ts";
import { run } from "./run-batch.ts";
import type { Runner, WorkerModel } from "./run-batch.ts";
import { sendRan, takeRun } from "../rpc/pack-batch.ts";

/**
 * Serves a backend to the page at the other end; in a worker, that is `self`. A worker that is started for a server gets
 * the backend that `createRemote` makes in its place. `now` returns ms, for the reported times;
 * `nextTask` lets other events in between two calls.
 */
export function serve(
  local: Backend,
  endpoint: Comlink.Endpoint = self as unknown as Comlink.Endpoint,
  now: () => number = () => performance.now(),
  nextTask: () => Promise<void> = createNextTask(),
  createRemote: () => Backend = createRemoteBackend,
): void {
  const models = new Map<number, WorkerModel>();
  let backend = local;
  let reportedBytes = 0;
  const inOrder = createQueue(nextTask, () => {
    const { memoryBytes: bytes = 0 } = backend;
    if (bytes === reportedBytes) return;
    reportedBytes = bytes;
    notify({ selvedge: "memory", bytes });
  });
  const notify = (notice: WorkerNotice, moved: Transferable[] = []): void => {
    endpoint.postMessage(notice, moved);
  };
  endpoint.postMessage({ selvedge: "ready", build: BUILD_ID } satisfies WorkerReady);
  local.onLost = (reason) => {
    notify({ selvedge: "lost", reason });
  };
  local.onThread = (port) => {
    notify({ selvedge: "thread", port }, [port]);
  };
  local.onRest = (port) => {
    notify({ selvedge: "rest", port }, [port]);
  };
  local.onLinking = () => {
    notify({ selvedge: "linking" });
  };
  local.onLinked = (rest) => {
    notify({ selvedge: "linked", rest });
  };
  local.onLog = (line) => {
    notify({ selvedge: "log", line });
  };

  const calls = new Calls(now);
  endpoint.addEventListener("message", (event) => {
    calls.notice((event as MessageEvent<unknown>).data);
  });
  const hold = lockHolder();
  const api: WorkerApi = {
    hold: (name) => reply(() => hold(name)),
    start: (options) =>
      inOrder(() => {
        if (options.backend === "remote") {
          backend = createRemote();
          backend.onTraffic = (traffic) => {
            endpoint.postMessage({ traffic } satisfies TrafficNotice);
          };
        }
        return backend.start(options);
      }),
    foresee: (model) =>
      reply(async () => {
        await backend.foresee?.(model);
        return null;
      }),
    load: (message) => inOrder(() => load(backend, models, message)),
    run: (message) => {
      const call = calls.take();
      const work = async (): Promise<Ran> =>
        run(call?.bind(backend) ?? backend, served(models, message.modelId), takeRun(message), now);
      return inOrder(async () => pack(await work())).then((answer) => {
        call?.end();
        if (!answer.ok) return answer;
        const { ran, moved } = answer.value;
        return Comlink.transfer({ ok: true, value: ran }, moved);
      });
    },
    unload: (modelId) =>
      inOrder(async () => {
        removeModel(models, modelId);
        await backend.unload(modelId);
        return null;
      }),
    removeState: (stateId) =>
      inOrder(async () => {
        await backend.removeState(stateId);
        return null;
      }),
  };
  Comlink.expose(api, endpoint);
}

/** A run on a server, from its message on. */
interface RemoteCall {
  /** Returns the backend with the bound of this run. */
  bind(backend: Backend): Runner;
  end(): void;
}

/** Bounds of the runs on a server: the page announces each right before its message. */
class Calls {
  readonly #now: () => number;
  readonly #stops: Map<number, AbortController> = new Map();
  #next: (CallNotice & { readonly selvedge: "call" }) | null = null;

  constructor(now: () => number) {
    this.#now = now;
  }

  notice(data: unknown): void {
    if (!isCallNotice(data)) return;
    if (data.selvedge === "call") this.#next = data;
    else this.#stops.get(data.call)?.abort(new SelvedgeError("closed", "No request waits for the answer any more."));
  }

  /** Returns the announced run, whose message has come; null where none was announced. */
  take(): RemoteCall | null {
    const next = this.#next;
    this.#next = null;
    if (next === null) return null;
    const stop = new AbortController();
    this.#stops.set(next.call, stop);
    const now = this.#now;
    const dueMs = now() + next.leftMs;
    const bound: CallBound = { leftMs: () => dueMs - now(), signal: stop.signal };
    return {
      bind: (backend) => ({ run: (modelId, feeds, state) => backend.run(modelId, feeds, state, bound) }),
      end: () => this.#stops.delete(next.call),
    };
  }
}

/** Packs results; a browser refuses a buffer of more than some gigabytes. */
function pack(ran: Ran): ReturnType<typeof sendRan> {
  try {
    return sendRan(ran);
  } catch (error) {
    if (!isOutOfMemory(error)) throw error;
    const bytes = ran.items.reduce((sum, item) => sum + (item.ok ? sizeOf(item.value) : 0), 0);
    const text = `The outputs are too large to send: ${bytes} bytes. Run fewer rows at once, or a model with smaller outputs.`;
    throw new SelvedgeError("out-of-memory", text, { bytes }, error);
  }
}

function sizeOf({ outputs }: RanItem): number {
  const sizes = Object.values(outputs).map(({ data }) => ("byteLength" in data ? data.byteLength : 0));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function load(
  backend: Backend,
  models: Map<number, WorkerModel>,
  message: Omit<LoadMessage, "renew">,
): Promise<ModelFacts> {
  const create = (decodes: LoadMessage["decodes"]): Record<string, Decoder> =>
    Object.fromEntries(
      Object.entries(decodes).map(([name, spec]) => [name, createDecoder(name, spec, message.assets)]),
    );
  const asked = create(message.decodes);
  // A bundle says which steps its ports have, and so does an app of a bare model; a repository's go by names, and may not
  // fit.
  const isBare = message.declared == null;
  const isRepository = isBare && message.readers !== undefined;
  const isOwn = isBare && !isRepository;
  const loaded = await backend.load(message.modelId, message);
  const images = isRepository ? fittingImages(loaded, message) : message.images;
  const why = isRepository ? whyNoPicture(message, loaded, images) : undefined;
  const inputs = withReaders(loaded, message.readers ?? {}, images, why);
  const facts = { ...loaded, inputs };
  try {
    // An object can't carry this name: an assignment to it sets the prototype.
    if (facts.inputs.some(({ name }) => name === "__proto__"))
      throw new SelvedgeError("model-invalid", 'The model has an input "__proto__"; rename it in the model.');
    if (message.declared != null) {
      checkPorts("input", message.declared.inputs, facts.inputs);
      checkPorts("output", message.declared.outputs, facts.outputs);
    }
    if (!isRepository) checkTables(facts.outputs, message);
  } catch (error) {
    await backend.unload(message.modelId);
    if (isOwn) throw ofOption(error);
    throw message.remote === undefined ? error : otherModel(message.remote.model, error);
  }
  const decoders = isRepository ? create(fitting(message, facts, images)) : isOwn ? withOption(asked) : asked;
  const ports = Object.fromEntries((message.declared?.inputs ?? facts.inputs).map((port) => [port.name, port]));
  const gpu = backend.device == null ? null : new GpuImages(backend.device);
  const ported = message.declared ?? facts;
  const isRemote = message.remote !== undefined;
  const batching = batchingOf(ported.inputs, ported.outputs, message.declared != null, isRemote);
  // Requests that are batched for this device's lanes too run one by one on a server whose graph may mix their rows.
  batching.canJoin &&= message.remote?.mixesRows !== true;
  removeModel(models, message.modelId);
  const isByToken = Object.values(message.decodes).some(({ op }) => op === "tokens" || op === "pool");
  const texts = createTextReaders(message.declared?.inputs ?? facts.inputs, message.assets, isByToken);
  models.set(message.modelId, { images, texts, ports, decoders, batching, gpu });
  return facts;
}

/** Returns the error of an app's own labels for a table of another length than its output has classes. */
function ofOption(error: unknown): unknown {
  const { at, classes, known } = isSelvedgeError(error) ? error.details : {};
  if (known === undefined) return error;
  const text = `labels: ${String(known)} labels, but output "${String(at)}" has ${String(classes)} classes: give one label for each class, in the model's order`;
  return new TypeError(text, { cause: error });
}

/** Has decoders throw the errors of an app's own labels: what an output is was not known before. */
function withOption(decoders: Readonly<Record<string, Decoder>>): Record<string, Decoder> {
  const wrapped = (decoder: Decoder): Decoder => {
    return (...given) => {
      try {
        return decoder(...given);
      } catch (error) {
        throw ofOption(error);
      }
    };
  };
  return Object.fromEntries(Object.entries(decoders).map(([name, x]) => [name, wrapped(x)]));
}

/** Returns a repository's conversions of images by the names of the graph's own inputs. */
function fittingImages({ inputs }: ModelFacts, { images }: Pick<LoadMessage, "images">): LoadMessage["images"] {
  const fit = Object.entries(images).map(([name, image]) => fitImage(inputs, name, image));
  return Object.fromEntries(fit.flatMap((x) => (x === null ? [] : [[x.name, x.image] as const])));
}

/**
 * Returns the reason why an input takes no picture, where none does or another one.
 * @param images - the conversions that have an input
 */
function whyNoPicture(
  { images: asked, readers }: LoadMessage,
  { inputs }: ModelFacts,
  images: LoadMessage["images"],
): string {
  const own = readers?.[IMAGE_INPUT]?.unsupported;
  if (own !== undefined) return own;
  const [taker] = Object.keys(images);
  if (taker !== undefined) return `the picture goes to "${taker}"`;
  const [described] = Object.values(asked);
  const found = inputs.filter((x) => x.dims.length === 4).map((x) => `${x.name} is ${x.dtype} [${x.dims.join(", ")}]`);
  return described !== undefined
    ? `the repository's files describe ${pictureOf(described)}, which no input, or more than one, takes: ${found.join(", ")}`
    : "no picture is described: preprocessor_config.json of a repository does, or load(url, { image }) for an .onnx file";
}

/** Describes the pictures that a conversion makes. */
function pictureOf({ resize, channels }: ImageSpec): string {
  const { width, height } = fixedSize(resize) ?? {};
  const size = width === undefined ? "of any size" : `of ${width} × ${String(height)} pixels`;
  return `float32 pictures ${size} in ${channels === "gray" ? 1 : 3} channels`;
}

/**
 * Adds the conversions to the inputs; inputs beside a text that the model lacks are left out.
 * @param pictures - why an input that would take a picture takes none; undefined where that is the app's to say
 */
function withReaders(
  { inputs, outputs }: ModelFacts,
  readers: Readonly<Record<string, InputReader>>,
  images: LoadMessage["images"],
  pictures: string | undefined,
): readonly BundleInput[] {
  const names = namesOf(inputs, outputs);
  return inputs.map((port) => {
    const { text, sound, unsupported } = (Object.hasOwn(readers, port.name) ? readers[port.name] : null) ?? {};
    const [ownText, ownSound] = [text && fitText(port, text, names), sound && fitSound(port, sound, inputs)];
    const image = Object.hasOwn(images, port.name) ? images[port.name] : undefined;
    const isPicture = isPicturePort(port) || port.name === IMAGE_INPUT;
    const noText = text !== undefined && ownText === null ? whyNoText(port) : undefined;
    const why = unsupported ?? noText ?? (isPicture ? pictures : undefined);
    return {
      ...port,
      ...(image && { image }),
      ...(ownText && { text: ownText }),
      ...(ownSound && { sound: ownSound }),
      ...(why !== undefined && image === undefined && { unsupported: why }),
    };
  });
}

/** Returns the reason why an input that texts are described for takes none. */
function whyNoText({ dtype, dims }: Port): string {
  return `texts need an input of whole numbers, [batch, length] with an open batch, and this one is ${dtype} [${dims.join(", ")}]: export the model with dynamic axes`;
}

/** A repository's decodings that fit the graph: they go by the names that exporters use. */
function fitting(
  { decodes, assets }: Pick<LoadMessage, "decodes" | "assets">,
  facts: ModelFacts,
  images: LoadMessage["images"],
): LoadMessage["decodes"] {
  const names = namesOf(facts.inputs, facts.outputs);
  const [picture] = Object.keys(images);
  const fit = facts.outputs.flatMap((port) => {
    const asked = decodes[port.name];
    if (asked === undefined) return [];
    const spec = "image" in asked && picture !== undefined ? { ...asked, image: picture } : asked;
    // An output without dims has any.
    const own = port.dims.length === 0 ? spec : fitDecode(port, spec, names, assets);
    return own === null ? [] : [[port.name, own] as const];
  });
  return Object.fromEntries(fit);
}

/** Rejects a bundle whose ports differ from its model's: it would fail later and less clearly. */
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

/** Returns the error for a server's model whose ports are not the bundle's. */
function otherModel(model: string, error: unknown): SelvedgeError {
  const why = error instanceof Error ? error.message : String(error);
  const text = `The server's model "${model}" is not the bundle's: ${why} Name the right one in \`remote.models\`.`;
  return new SelvedgeError("remote-failed", text, { reason: "other-model", model }, error);
}

function served(models: ReadonlyMap<number, WorkerModel>, modelId: number): WorkerModel {
  const model = models.get(modelId);
  if (model !== undefined) return model;
  throw new SelvedgeError("internal", `Model ${modelId} is not loaded in this worker.`, { modelId });
}

function removeModel(models: Map<number, WorkerModel>, modelId: number): void {
  models.get(modelId)?.gpu?.close();
  models.delete(modelId);
}

/** Runs calls one after another, each to a reply; between queued calls the worker handles events. */
function createQueue(
  nextTask: () => Promise<void>,
  afterEach: () => void,
): <T>(call: () => Promise<T>) => Promise<Reply<T>> {
  let tail: Promise<void> = Promise.resolve();
  let pending = 0;
  return (call) => {
    const before = tail;
    const mustWait = pending > 0;
    pending += 1;
    const answer = before.then(async () => {
      if (mustWait) await nextTask();
      const answer = await reply(call);
      afterEach();
      return answer;
    });
    tail = answer.then(() => {
      pending -= 1;
    });
    return answer;
  };
}
