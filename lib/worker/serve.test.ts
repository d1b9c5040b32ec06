import { afterEach, describe, expect, test } from "vitest";
import type { Backend, StartOptions } from "../rpc/backend.ts";
import { CONFORMANCE } from "../test-support/backend-conformance.ts";
import { addModel, identityModel } from "../test-support/backend-models.ts";
import { createReferenceBackend } from "../test-support/reference-backend.ts";
import type { BundleInput, DecodeSpec, ImageSpec } from "../core/bundle.ts";
import type { Effects, WorkerHandle } from "../effects/effects.ts";
import { ERROR_CODES, SelvedgeError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Feeds, LoadMessage, WirePixels } from "../rpc/messages.ts";
import { runAlone, throughWorker } from "../test-support/through-worker.ts";
import { logMel } from "./processing/log-mel.ts";
import { serve } from "./serve.ts";
import { WorkerClient } from "../pool/worker-client.ts";

const START: StartOptions = { backend: "wasm", wasmUrl: "", restUrl: "", threads: 1, verbose: false };
const BOUND_MS = 10_000;
const open: MessagePort[] = [];

/** A page and a worker that share only a channel; `onAnswer` gets the buffers of each message of the worker. */
function connect(backend: Backend, onAnswer: (moved: readonly Transferable[]) => void = () => undefined): WorkerClient {
  const { port1, port2 } = new MessageChannel();
  open.push(port1, port2);
  serve(backend, {
    postMessage(value: unknown, moved: Transferable[] = []) {
      onAnswer(moved);
      port1.postMessage(value, moved);
    },
    addEventListener: port1.addEventListener.bind(port1),
    removeEventListener: port1.removeEventListener.bind(port1),
    start: port1.start.bind(port1),
  });
  port2.start();
  const worker = Object.assign(port2, { terminate: () => undefined }) as unknown as WorkerHandle;
  const effects: Partial<Effects> = {
    createWorker: () => worker,
    now: () => performance.now(),
    setTimer(callback, ms) {
      const timer = setTimeout(callback, ms);
      return () => {
        clearTimeout(timer);
      };
    },
  };
  return new WorkerClient(effects as Effects, { href: "worker.js", script: "worker.js" });
}

afterEach(() => {
  for (const port of open.splice(0)) port.close();
});

function message(
  bytes: Uint8Array<ArrayBuffer>,
  more: {
    images?: Record<string, ImageSpec>;
    decodes?: Record<string, DecodeSpec>;
    assets?: Record<string, string>;
  } = {},
): LoadMessage {
  const files = [{ path: "model.onnx", data: new Blob([bytes]) }];
  return { modelId: 1, files, session: {}, images: {}, decodes: {}, assets: {}, ...more };
}

function floats(dims: number[], values: number[]): Feeds {
  return { tensors: { x: { dtype: "float32", dims, data: new Float32Array(values) } }, others: null };
}

/** Outputs that say to be larger than any buffer. */
function huge(): Backend {
  const backend = createReferenceBackend();
  return {
    ...backend,
    run: async (...call) => {
      const outputs = await backend.run(...call);
      for (const { data } of Object.values(outputs)) Object.defineProperty(data, "byteLength", { value: 2 ** 53 - 8 });
      return outputs;
    },
  };
}

describe("outputs that no browser can send", () => {
  test("a buffer that can't be allocated is out-of-memory, with the bytes, and the worker serves on", async () => {
    const client = connect(huge());
    await client.start(START, BOUND_MS);
    await client.load(message(identityModel("float32")), BOUND_MS);
    const error = await client.run({ modelId: 1, items: [floats([1], [5])] }, BOUND_MS).catch((x: unknown) => x);
    expect(error).toMatchObject({ code: "out-of-memory", details: { bytes: 2 ** 53 - 8 } });
    expect(String(error)).toMatch(/9007199254740984 bytes.*fewer rows/);
    await expect(client.unload(1, BOUND_MS)).resolves.toBe(null);
  });

  test("a message that can't be copied is out-of-memory", async () => {
    const client = connect(createReferenceBackend(), (moved) => {
      if (moved.length > 0) throw new DOMException("no room", "DataCloneError");
    });
    await client.start(START, BOUND_MS);
    await client.load(message(identityModel("float32")), BOUND_MS);
    const error = await client.run({ modelId: 1, items: [floats([1], [5])] }, BOUND_MS).catch((x: unknown) => x);
    expect(error).toMatchObject({ code: "out-of-memory" });
    expect(String(error)).toMatch(/answer is too large to send/);
  });
});

describe("a backend behind the thread line", () => {
  test.each(CONFORMANCE)("$name", async ({ run }) => {
    await run(throughWorker(connect(createReferenceBackend())));
  });
});

describe("errors on the thread line", () => {
  test.each(ERROR_CODES)("%s arrives with class, code, details, cause and retryable", async (code) => {
    const cause = new RangeError("the cause");
    const thrown = new SelvedgeError(code, "the message", { count: 3, list: ["a", 1], none: null }, cause);
    const client = connect(createReferenceBackend({ beforeCall: () => Promise.reject(thrown) }));
    const error = await client.start(START, BOUND_MS).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SelvedgeError);
    expect(error).toMatchObject({
      code,
      message: "the message",
      details: thrown.details,
      retryable: thrown.retryable,
      stack: thrown.stack,
    });
    expect((error as Error).cause).toBeInstanceOf(RangeError);
    expect((error as Error).cause).toMatchObject({ message: "the cause" });
  });

  test.each([new TypeError("t"), new RangeError("r"), new DOMException("a", "AbortError"), new Error("e")])(
    "%s keeps its class",
    async (thrown) => {
      const client = connect(createReferenceBackend({ beforeCall: () => Promise.reject(thrown) }));
      const error = (await client.start(START, BOUND_MS).catch((reason: unknown) => reason)) as Error;
      expect(error).toBeInstanceOf(thrown.constructor);
      expect([error.name, error.message]).toEqual([thrown.name, thrown.message]);
    },
  );

  test("something thrown that is no error arrives as one", async () => {
    const backend = createReferenceBackend({
      beforeCall: () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- ONNX Runtime throws numbers
        throw 42;
      },
    });
    await expect(connect(backend).start(START, BOUND_MS)).rejects.toThrow("42");
  });
});

test("calls run one at a time, in order, and a failed one does not stop the next", async () => {
  const order: string[] = [];
  const gate = deferred();
  const backend = createReferenceBackend({
    async beforeCall(call, modelId) {
      order.push(`${call} ${modelId} begins`);
      if (call === "run" && modelId === 1) await gate.promise;
      order.push(`${call} ${modelId} goes on`);
    },
  });
  const client = connect(backend);
  await client.load(message(identityModel("float32")), BOUND_MS);
  order.length = 0;
  const arrived = messages(4);
  const items = [floats([1], [1])];
  const first = runAlone(client, { modelId: 1, items }, BOUND_MS);
  const missing = client.run({ modelId: 7, items }, BOUND_MS);
  const wrong = client.run({ modelId: 1, items: [{ tensors: {}, others: null }] }, BOUND_MS);
  const unload = client.unload(1, BOUND_MS);
  await arrived;
  gate.resolve();
  expect((await first).outputs["y"]?.data).toEqual(new Float32Array([1]));
  await expect(missing).rejects.toMatchObject({ code: "internal" });
  await expect(wrong).rejects.toBeInstanceOf(TypeError);
  await unload;
  expect(order).toEqual([
    "run 1 begins",
    "run 1 goes on",
    "run 1 begins",
    "run 1 goes on",
    "unload 1 begins",
    "unload 1 goes on",
  ]);
});

test("outputs are transferred to the page, not copied", async () => {
  const reference = createReferenceBackend();
  let kept: Record<string, Tensor> = {};
  const backend: Backend = {
    ...reference,
    async run(modelId, feeds) {
      kept = await reference.run(modelId, feeds);
      return kept;
    },
  };
  const client = connect(backend);
  await client.load(message(identityModel("float32")), BOUND_MS);
  const { outputs } = await runAlone(client, { modelId: 1, items: [floats([3], [1, 2, 3])] }, BOUND_MS);
  expect(outputs["y"]?.data).toEqual(new Float32Array([1, 2, 3]));
  expect(kept["y"]?.data).toHaveLength(0);
});

test("two outputs over one buffer arrive both", async () => {
  const data = new Float32Array([1, 2]);
  const y: Tensor = { dtype: "float32", dims: [2], data };
  const backend: Backend = { ...createReferenceBackend(), run: () => Promise.resolve({ y, z: y }) };
  const client = connect(backend);
  await client.load(message(identityModel("float32")), BOUND_MS);
  const { outputs } = await runAlone(client, { modelId: 1, items: [{ tensors: {}, others: null }] }, BOUND_MS);
  expect([outputs["y"]?.data, outputs["z"]?.data]).toEqual([new Float32Array([1, 2]), new Float32Array([1, 2])]);
});

test("a lost device ends the worker with its reason", async () => {
  const backend = createReferenceBackend();
  const client = connect(backend);
  await client.start(START, BOUND_MS);
  const ended = new Promise((resolve) => {
    client.onEnd = resolve;
  });
  backend.onLost?.("the driver was reset");
  expect(await ended).toMatchObject({ code: "device-lost", details: { message: "the driver was reset" } });
});

test("the runtime's log reaches the page line by line", async () => {
  const backend = createReferenceBackend();
  const client = connect(backend);
  await client.start(START, BOUND_MS);
  const lines: string[] = [];
  const two = new Promise<void>((resolve) => {
    client.onLog = (line) => {
      if (lines.push(line) === 2) resolve();
    };
  });
  backend.onLog?.("one");
  backend.onLog?.("two");
  await two;
  expect(lines).toEqual(["one", "two"]);
});

describe("images and answers", () => {
  const image: WirePixels = { width: 2, height: 1, data: new Uint8ClampedArray([255, 0, 0, 255, 0, 0, 255, 255]) };
  const spec: ImageSpec = { channels: "rgb", layout: "nchw", resize: { mode: "exact", width: 2, height: 1 } };
  const model = identityModel("float32", [1, 3, 1, 2]);

  test("an image becomes the tensor that the bundle declares", async () => {
    const client = connect(createReferenceBackend());
    await client.load(message(model, { images: { x: spec } }), BOUND_MS);
    const { outputs, preprocessMs } = await runAlone(
      client,
      { modelId: 1, items: [{ tensors: {}, others: { x: { kind: "image", image } } }] },
      BOUND_MS,
    );
    expect(outputs["y"]).toEqual({ dtype: "float32", dims: [1, 3, 1, 2], data: new Float32Array([1, 0, 0, 0, 0, 1]) });
    expect(preprocessMs).toBeGreaterThan(0);
  });

  test("an image fills its pixel mask where the model has one", async () => {
    const feeds: Readonly<Record<string, unknown>>[] = [];
    const ports = [
      { name: "x", dtype: "float32", dims: [1, 3, "h", "w"], batchAxis: null },
      { name: "pixel_mask", dtype: "int64", dims: [1, "h", "w"], batchAxis: null },
    ] as const;
    const backend = createReferenceBackend();
    const client = connect({
      ...backend,
      load: async (...call) => ({ ...(await backend.load(...call)), inputs: ports }),
      run: (_, given) => {
        feeds.push(given);
        return Promise.resolve({});
      },
    });
    await client.start(START, BOUND_MS);
    const images = { x: { ...spec, mask: "pixel_mask" } };
    await client.load(message(identityModel("float32"), { images }), BOUND_MS);
    await runAlone(client, { modelId: 1, items: [{ tensors: {}, others: { x: { kind: "image", image } } }] }, BOUND_MS);
    expect(feeds[0]?.["pixel_mask"]).toEqual({ dtype: "int64", dims: [1, 1, 2], data: new BigInt64Array(2).fill(1n) });
  });

  test("a repository's picture goes to the graph's own input, and else the reason stands there", async () => {
    const unsupported = "nothing says so";
    const asked = { images: { pixel_values: spec }, readers: { pixel_values: { unsupported } } };
    const client = connect(createReferenceBackend());
    const { inputs } = await client.load({ ...message(model), ...asked }, BOUND_MS);
    expect(inputs).toMatchObject([{ name: "x", image: spec }]);
    expect(inputs[0]).not.toHaveProperty("unsupported");
    const feeds: Feeds = { tensors: {}, others: { x: { kind: "image", image } } };
    const { outputs } = await runAlone(client, { modelId: 1, items: [feeds] }, BOUND_MS);
    expect(outputs["y"]?.data).toEqual(new Float32Array([1, 0, 0, 0, 0, 1]));
    const other = connect(createReferenceBackend());
    const unfit = await other.load({ ...message(identityModel("float32", [1, 3, 2, 2])), ...asked }, BOUND_MS);
    expect(unfit.inputs).toMatchObject([{ name: "x", unsupported }]);
    expect(unfit.inputs[0]).not.toHaveProperty("image");
    const reasonOf = async (images: Record<string, ImageSpec>): Promise<unknown> => {
      const third = connect(createReferenceBackend());
      const bytes = identityModel("float32", [1, 3, 2, 2]);
      const { inputs } = await third.load({ ...message(bytes), images, readers: {} }, BOUND_MS);
      return (inputs[0] as BundleInput | undefined)?.unsupported;
    };
    expect(await reasonOf({})).toContain("or load(url, { image }) for an .onnx file");
    expect(await reasonOf({ pixel_values: spec })).toMatch(
      /^the repository's files describe float32 pictures of .* in 3 channels, which no input, or more than one, takes: x is float32 \[1, 3, 2, 2\]$/,
    );
  });

  test("an input that takes no text of a repository says why: a graph of a fixed batch takes tensors", async () => {
    const text = { tokenizer: "tokenizer.json", maxLength: 8 };
    const loaded = async (dims: readonly (number | string)[]): Promise<unknown> => {
      const asked = { ...message(identityModel("int64", dims)), readers: { x: { text } }, images: {} };
      return (await connect(createReferenceBackend()).load(asked, BOUND_MS)).inputs[0];
    };
    expect(await loaded(["batch", "length"])).toMatchObject({ text });
    expect(await loaded(["batch", "length"])).not.toHaveProperty("unsupported");
    expect(await loaded([1, 8])).not.toHaveProperty("text");
    expect(await loaded([1, 8])).toMatchObject({
      unsupported:
        "texts need an input of whole numbers, [batch, length] with an open batch, and this one is int64 [1, 8]: export the model with dynamic axes",
    });
  });

  test("samples become the spectrogram that a repository or a bundle declares", async () => {
    const sound = { op: "log-mel", sampleRate: 16_000, bands: 4, seconds: 0.05 } as const;
    const dims = ["b", 4, 5];
    const port = { name: "x", dtype: "float32", dims, batchAxis: 0, sound } as const;
    const declared = { inputs: [port], outputs: [{ ...port, name: "y", sound: undefined }] };
    const samples = Float32Array.from({ length: 500 }, (_, i) => Math.sin(i));
    const feeds: Feeds = { tensors: {}, others: { x: { kind: "sound", samples } } };
    for (const more of [{ declared }, { readers: { x: { sound } } }]) {
      const client = connect(createReferenceBackend());
      const { inputs } = await client.load({ ...message(identityModel("float32", dims)), ...more }, BOUND_MS);
      if ("readers" in more) expect(inputs).toMatchObject([{ name: "x", sound }]);
      const { outputs } = await runAlone(client, { modelId: 1, items: [feeds] }, BOUND_MS);
      expect(outputs["y"]).toEqual(logMel(samples, sound));
    }
  });

  test("samples fill the mask beside them", async () => {
    const samples = Float32Array.of(0.5, -1, 2);
    const sound = { op: "samples", sampleRate: 16_000, mask: "b" } as const;
    const client = connect(createReferenceBackend());
    const { inputs } = await client.load({ ...message(addModel()), readers: { a: { sound } } }, BOUND_MS);
    expect(inputs[0]).toMatchObject({ name: "a", sound });
    const feeds: Feeds = { tensors: {}, others: { a: { kind: "sound", samples } } };
    const { outputs } = await runAlone(client, { modelId: 1, items: [feeds] }, BOUND_MS);
    expect(outputs["y"]).toEqual({ dtype: "float32", dims: [1, 3], data: samples.map((x) => x + 1) });
  });

  test("a sound that is shorter than a frame is a RangeError", async () => {
    const client = connect(createReferenceBackend());
    const readers = { x: { sound: { op: "log-mel", sampleRate: 16_000, bands: 4 } } } as const;
    await client.load({ ...message(identityModel("float32", ["b", 4, "n"])), readers }, BOUND_MS);
    const feeds: Feeds = { tensors: {}, others: { x: { kind: "sound", samples: new Float32Array(9) } } };
    await expect(client.run({ modelId: 1, items: [feeds] }, BOUND_MS)).rejects.toThrow(
      'input "x": 9 samples are less than one frame',
    );
  });

  test("an image where none is declared is a TypeError", async () => {
    const client = connect(createReferenceBackend());
    await client.load(message(model), BOUND_MS);
    const run = client.run({ modelId: 1, items: [{ tensors: {}, others: { x: { kind: "image", image } } }] }, BOUND_MS);
    await expect(run).rejects.toThrow(new TypeError('Input "x" takes a tensor; its bundle declares no image there.'));
  });

  test.each([
    [0, 5],
    [5, 0],
    [20_000, 1],
    [NaN, 1],
  ])("an image of %d × %d is a RangeError", async (width, height) => {
    const client = connect(createReferenceBackend());
    await client.load(message(model, { images: { x: spec } }), BOUND_MS);
    const empty = { width, height, data: new Uint8ClampedArray(0) };
    const run = client.run(
      { modelId: 1, items: [{ tensors: {}, others: { x: { kind: "image", image: empty } } }] },
      BOUND_MS,
    );
    await expect(run).rejects.toBeInstanceOf(RangeError);
  });

  test("an image whose bytes do not fit its size is a RangeError", async () => {
    const client = connect(createReferenceBackend());
    await client.load(message(model, { images: { x: spec } }), BOUND_MS);
    const short = { ...image, width: 3 };
    const run = client.run(
      { modelId: 1, items: [{ tensors: {}, others: { x: { kind: "image", image: short } } }] },
      BOUND_MS,
    );
    await expect(run).rejects.toThrow("An image of 3 × 1 has 12 bytes of RGBA, not 8.");
  });

  test("an output is decoded to one answer per item", async () => {
    const client = connect(createReferenceBackend());
    const decodes = { y: { op: "labels", asset: "labels.txt", top: 1 } } as const;
    const assets = { "labels.txt": "cat\ndog" };
    await client.load(message(identityModel("float32", ["n", 2]), { decodes, assets }), BOUND_MS);
    const { decoded } = await runAlone(client, { modelId: 1, items: [floats([2, 2], [1, 0, 0.25, 0.75])] }, BOUND_MS);
    expect(decoded["y"]).toEqual([
      { kind: "labels", labels: [{ label: "cat", index: 0, score: 1 }] },
      { kind: "labels", labels: [{ label: "dog", index: 1, score: 0.75 }] },
    ]);
  });

  test("a repository's decoding that does not fit the graph is left out, and the tensors stay", async () => {
    const client = connect(createReferenceBackend());
    const decodes = { y: { op: "labels", asset: "labels.txt" } } as const;
    const assets = { "labels.txt": "cat\ndog\nfox\n" };
    const asked = { ...message(identityModel("float32", ["n", 2]), { decodes, assets }), readers: {} };
    await client.load(asked, BOUND_MS);
    const { outputs, decoded } = await runAlone(client, { modelId: 1, items: [floats([1, 2], [1, 0])] }, BOUND_MS);
    expect(decoded).toEqual({});
    expect(outputs["y"]?.data).toEqual(Float32Array.of(1, 0));
  });

  describe("labels of an app, or of a bundle, whose count is not that of the classes", () => {
    const decodes = { y: { op: "labels", asset: "labels.txt" } } as const;
    const own = (dims: readonly (number | string)[], labels: number): LoadMessage => {
      const assets = { "labels.txt": "a\n".repeat(labels) };
      return message(identityModel("float32", [...dims]), { decodes, assets });
    };
    const bundled = (dims: readonly (number | string)[], labels: number): LoadMessage => {
      const port = { dtype: "float32", dims: dims.map((x, i) => (i === 0 ? "n" : String(x))), batchAxis: 0 } as const;
      const declared = { inputs: [{ name: "x", ...port }], outputs: [{ name: "y", ...port }] };
      return { ...own(dims, labels), declared };
    };
    const mine = 'labels: 4 labels, but output "y" has 5 classes: give one label for each class, in the model\'s order';
    const five = [floats([1, 5], [1, 0, 0, 0, 0])];

    test("are refused at the load where the model's dims are known", async () => {
      const client = connect(createReferenceBackend());
      const loading = client.load(own(["n", 5], 4), BOUND_MS);
      await expect(loading).rejects.toThrow(mine);
      await expect(loading).rejects.toBeInstanceOf(TypeError);
      await expect(client.load(bundled(["n", 5], 6), BOUND_MS)).rejects.toMatchObject({
        ...{ code: "bundle-invalid", message: 'Output "y" has 5 classes, "labels.txt" is for 6.' },
      });
      await client.load(bundled(["n", 5], 5), BOUND_MS);
    });

    test("are refused at the first answer elsewhere", async () => {
      const client = connect(createReferenceBackend());
      for (const dims of [["n", "m"], []] as const) {
        await client.load(own(dims, 4), BOUND_MS);
        const running = runAlone(client, { modelId: 1, items: five }, BOUND_MS);
        await expect(running).rejects.toThrow(mine);
        await expect(running).rejects.toBeInstanceOf(TypeError);
      }
      await client.load(bundled(["n", "m"], 6), BOUND_MS);
      await expect(runAlone(client, { modelId: 1, items: five }, BOUND_MS)).rejects.toMatchObject({
        ...{ code: "bundle-invalid", message: 'Output "y" has 5 classes, "labels.txt" is for 6.' },
      });
    });

    test("are compared at the axis, and with the blank, of each step", async () => {
      const client = connect(createReferenceBackend());
      const with_ = (spec: DecodeSpec, dims: (number | string)[], labels: number): Promise<unknown> =>
        client.load({ ...own(dims, labels), decodes: { y: spec } }, BOUND_MS);
      const asset = "labels.txt";
      await with_({ op: "ctc", asset }, ["n", "t", 5], 4);
      await expect(with_({ op: "ctc", asset }, ["n", "t", 5], 5)).rejects.toThrow(TypeError);
      await with_({ op: "segment", asset, image: "x" }, ["n", 5, 8, 8], 5);
      await expect(with_({ op: "segment", asset, image: "x" }, ["n", 5, 8, 8], 8)).rejects.toThrow(TypeError);
      await with_({ op: "detect", form: "queries", asset, image: "x", boxes: "b" }, ["n", "q", 6], 5);
    });
  });

  test("a model with an input that no object can carry is refused by name (processing-L7)", async () => {
    const backend = createReferenceBackend();
    const { load } = backend;
    const named: Backend = Object.assign(backend, {
      load: async (...given: Parameters<Backend["load"]>) => {
        const facts = await load.apply(backend, given);
        return { ...facts, inputs: facts.inputs.map((x) => ({ ...x, name: "__proto__" })) };
      },
    });
    const loading = connect(named).load(message(identityModel("float32")), BOUND_MS);
    await expect(loading).rejects.toMatchObject({ code: "model-invalid" });
    await expect(loading).rejects.toThrow('input "__proto__"; rename it');
  });

  test("a bundle's decoding is the one that it declares", async () => {
    const client = connect(createReferenceBackend());
    const decodes = { y: { op: "ctc", asset: "keys.txt" } } as const;
    const port = { dtype: "float32", dims: ["n", 1, 3], batchAxis: 0 } as const;
    const declared = { inputs: [{ name: "x", ...port }], outputs: [{ name: "y", ...port }] };
    const asked = message(identityModel("float32", ["n", 1, 3]), { decodes, assets: { "keys.txt": "a\nb" } });
    await client.load({ ...asked, declared, readers: {} }, BOUND_MS);
    const items = [floats([1, 1, 3], [0, 0.25, 0.75])];
    const { decoded } = await runAlone(client, { modelId: 1, items }, BOUND_MS);
    expect(decoded["y"]).toEqual([{ kind: "text", text: "b", confidence: 0.75 }]);
  });

  test("a bundle that decodes an output that is not there is invalid", async () => {
    const client = connect(createReferenceBackend());
    await client.load(message(identityModel("float32"), { decodes: { z: { op: "argmax" } } }), BOUND_MS);
    const run = client.run({ modelId: 1, items: [floats([1], [1])] }, BOUND_MS);
    await expect(run).rejects.toMatchObject({ code: "bundle-invalid" });
  });
});

/** Resolves when so many messages have reached the worker, whether or not it handled them. */
function messages(count: number): Promise<void> {
  const { promise, resolve } = deferred();
  let seen = 0;
  open[0]?.addEventListener("message", () => {
    seen += 1;
    if (seen === count) resolve();
  });
  return promise;
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

test("images of several sizes run as one, each as it does alone; one that can't be decoded fails by itself", async () => {
  const client = connect(createReferenceBackend());
  await client.start(START, BOUND_MS);
  const resize = { mode: "fit", width: 2, height: 2 } as const;
  const x: ImageSpec = { layout: "nchw", channels: "gray", resize };
  const dims = ["n", 1, 2, 2];
  const port = { dtype: "float32", dims, batchAxis: 0 } as const;
  const declared = { inputs: [{ ...port, name: "x" }], outputs: [{ ...port, name: "y" }] };
  await client.load({ ...message(identityModel("float32", dims), { images: { x } }), declared }, BOUND_MS);
  const picture = (width: number, height: number, seed: number): Feeds => {
    const data = Uint8ClampedArray.from({ length: 4 * width * height }, (_, i) => (i * 37 + seed) % 256);
    return { tensors: {}, others: { x: { kind: "image", image: { width, height, data } } } };
  };
  const pictures = [picture(3, 5, 1), picture(2, 2, 2), picture(7, 4, 3)];
  const corrupt: Feeds = { tensors: {}, others: { x: { kind: "image", image: new Blob(["no picture"]) } } };
  const ask = (items: Feeds[]) => client.run({ modelId: 1, items }, BOUND_MS);
  const { items, runs } = await ask([...pictures.slice(0, 2), corrupt, ...pictures.slice(2)]);
  expect(runs).toBe(1);
  expect(items.map(({ ok }) => ok)).toEqual([true, true, false, true]);
  expect(items[2]).toMatchObject({
    error: { message: expect.stringMatching(/can't decode .* \(no type, 10 bytes\)$/) as string },
  });
  const errorOf = (image: Blob): Promise<string> =>
    ask([{ tensors: {}, others: { x: { kind: "image", image } } }]).then(() => "none", String);
  expect(await errorOf(new Blob([], { type: "image/png" }))).toMatch(/input "x": the file is empty \(0 bytes\)$/);
  expect(await errorOf(new Blob(["<svg/>"], { type: "image/svg+xml" }))).toMatch(
    /can't decode .* \(image\/svg\+xml, 6 bytes\): give an SVG to an img \(`img\.src`\), and pass that$/,
  );
  const [a, b, , c] = items;
  for (const [i, item] of [a, b, c].entries()) {
    const alone = await ask(pictures.slice(i, i + 1));
    expect(item).toEqual(alone.items[0]);
  }
});

test("each run names the places of its requests, beside one that failed before it (golden groups)", async () => {
  const client = connect(createReferenceBackend());
  await client.start(START, BOUND_MS);
  const x: ImageSpec = { layout: "nchw", channels: "gray", resize: { mode: "side", maxSide: 64 } };
  const dims = ["n", 1, "h", "w"];
  const port = { dtype: "float32", dims, batchAxis: 0 } as const;
  const declared = { inputs: [{ ...port, name: "x" }], outputs: [{ ...port, name: "y" }] };
  await client.load({ ...message(identityModel("float32", dims), { images: { x } }), declared }, BOUND_MS);
  const picture = (width: number, height: number): Feeds => {
    const data = new Uint8ClampedArray(4 * width * height);
    return { tensors: {}, others: { x: { kind: "image", image: { width, height, data } } } };
  };
  const corrupt: Feeds = { tensors: {}, others: { x: { kind: "image", image: new Blob(["no picture"]) } } };
  const items = [picture(3, 5), corrupt, picture(4, 4), picture(3, 5)];
  const ran = await client.run({ modelId: 1, items }, BOUND_MS);
  expect([ran.runs, ran.groups]).toEqual([2, [[0, 3], [2]]]);
  expect((await client.run({ modelId: 1, items: [picture(3, 5), picture(3, 5)] }, BOUND_MS)).groups).toBeUndefined();
});

test("answers about pixels have the size of the picture that the request brought", async () => {
  const run: Backend["run"] = (_, { x }) => Promise.resolve({ y: x as Tensor });
  const client = connect({ ...createReferenceBackend(), run });
  const spec: ImageSpec = { channels: "rgb", layout: "nchw", resize: { mode: "exact", width: 2, height: 2 } };
  const decode: DecodeSpec = { op: "segment", image: "x", asset: "labels.txt" };
  const assets = { "labels.txt": "red\ngreen\nblue\n" };
  await client.load(
    message(identityModel("float32"), { images: { x: spec }, decodes: { y: decode }, assets }),
    BOUND_MS,
  );
  const data = new Uint8ClampedArray(6 * 4 * 4).map((_, i) => (i % 4 === 1 || i % 4 === 3 ? 255 : 0));
  const image = { kind: "image", image: { width: 6, height: 4, data } } as const;
  const { decoded } = await runAlone(client, { modelId: 1, items: [{ tensors: {}, others: { x: image } }] }, BOUND_MS);
  const labels = [{ label: "green", index: 1, share: 1 }];
  expect(decoded["y"]).toEqual([
    { kind: "segments", width: 6, height: 4, classes: new Uint16Array(24).fill(1), labels },
  ]);
});
