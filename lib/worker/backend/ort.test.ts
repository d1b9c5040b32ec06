// Tests of ort.ts that need a GPU failing on demand: fakes of the device and of onnxruntime-web. All else is covered by
// the conformance suite in real browsers (e2e/specs/engine/backend.spec.ts).
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Backend, ModelFiles } from "../../rpc/backend.ts";
import { floatTensor } from "../../compress/onnx/tensor-proto.ts";
import { smallModel } from "../../test-support/compress/fixtures.ts";
import { identityModel, tableModel } from "../../test-support/backend-models.ts";
import { createOrtBackend } from "./ort.ts";
import type { OrtModule } from "./ort.ts";

class StandInMemoryError {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

class StandInDevice extends EventTarget {
  createBuffer = ({ size }: { size: number }) => ({ size, destroy: (): void => undefined });

  lose: (info: { reason: string; message: string }) => void = () => undefined;
  readonly lost = new Promise((resolve) => {
    this.lose = resolve;
  });
  report(error: { message: string }): void {
    this.dispatchEvent(Object.assign(new Event("uncapturederror", { cancelable: true }), { error }));
  }
}

let device: StandInDevice;
/** Called while a session runs. */
let duringRun: () => void | Promise<void>;
let created: Record<string, unknown>[];

beforeEach(() => {
  device = new StandInDevice();
  duringRun = () => undefined;
  created = [];
  const limits = new Proxy({}, { get: () => 1 });
  const adapter = {
    info: { vendor: "v", architecture: "a", description: "d" },
    limits,
    features: new Set(["shader-f16", "unheard-of"]),
    requestDevice: vi.fn(() => Promise.resolve(device)),
  };
  vi.stubGlobal("navigator", { gpu: { requestAdapter: () => Promise.resolve(adapter) } });
  vi.stubGlobal("GPUOutOfMemoryError", StandInMemoryError);
});

afterEach(() => {
  vi.unstubAllGlobals();
});

class StandInTensor {
  readonly type: string;
  readonly data: unknown;
  readonly dims: readonly number[];
  constructor(type: string, data: unknown, dims: readonly number[]) {
    this.type = type;
    this.data = data;
    this.dims = dims;
  }
  dispose(): void {
    Reflect.set(this, "data", null);
  }
}

function standIn(type = "float32"): OrtModule {
  const metadata = [{ name: "x", isTensor: true, type, shape: ["n"] }];
  const session = {
    inputMetadata: metadata,
    outputMetadata: [{ ...metadata[0], name: "y" }],
    release: () => Promise.resolve(),
    async run({ x }: { x: StandInTensor }) {
      await duringRun();
      return { y: new StandInTensor("float32", (x.data as Float32Array).slice(), x.dims) };
    },
  };
  const module = {
    env: { wasm: {}, webgpu: {}, versions: { common: "0", web: "1.30.0" } },
    Tensor: StandInTensor,
    InferenceSession: {
      create(bytes: Uint8Array, options: Record<string, unknown>) {
        created.push({ ...options, graph: new TextDecoder("latin1").decode(bytes) });
        return Promise.resolve(session);
      },
    },
  };
  return module as unknown as OrtModule;
}

const MODEL: ModelFiles = {
  files: [{ path: "m", data: new Blob([identityModel("float32")]) }],
  session: { "session.disable_quant_qdq": "1" },
};
const FEEDS = { x: { dtype: "float32", dims: [1], data: new Float32Array([5]) } } as const;

/** A module without anything in it. */
const EMPTY_WASM = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));

async function loaded(ort = standIn(), model = MODEL): Promise<Backend> {
  const backend = createOrtBackend(ort);
  await backend.start({
    backend: "webgpu",
    wasmUrl: "https://example.com/ort.wasm",
    restUrl: "rest.wasm",
    modules: { first: EMPTY_WASM, rest: null },
    threads: 1,
    verbose: false,
  });
  await backend.load(1, model);
  return backend;
}

test("one provider is requested, on our own device, with the model's session options", async () => {
  await loaded();
  for (const { executionProviders } of created) expect(executionProviders).toEqual([{ name: "webgpu", device }]);
  expect(created.at(-1)?.["extra"]).toEqual({ "session.disable_quant_qdq": "1" });
});

test.each([
  ["webgpu", "Equal", "IsNaN"],
  ["wasm", "IsNaN", "Equal"],
] as const)("a model with an operator that WebGPU lacks is given to %s with %s", async (backend, has, lacks) => {
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n"] },
    outputs: ["y"],
    nodes: [
      { opType: "IsNaN", input: ["x"], output: ["bad"] },
      { opType: "Where", input: ["bad", "zero", "x"], output: ["y"] },
    ],
    initializers: [floatTensor("zero", [], Float32Array.of(0))],
  });
  const made = createOrtBackend(standIn());
  const [wasmUrl, restUrl] = ["https://example.com/ort.wasm", "rest.wasm"];
  await made.start({
    backend,
    wasmUrl,
    restUrl,
    modules: { first: EMPTY_WASM, rest: null },
    threads: 1,
    verbose: false,
  });
  await made.load(1, { files: [{ path: "m", data: new Blob([model.write()]) }], session: {} });
  expect(created.at(-1)?.["graph"]).toContain(has);
  expect(created.at(-1)?.["graph"]).not.toContain(lacks);
});

test("whether rows of a batch influence each other is read from the graph only where the bundle does not say it", async () => {
  const mixing = smallModel({
    opset: 13,
    inputs: { x: ["batch", 4] },
    outputs: ["y"],
    nodes: [{ opType: "Softmax", input: ["x"], output: ["y"], attributes: { axis: 0 } }],
    initializers: [],
  });
  const files = [{ path: "m", data: new Blob([mixing.write()]) }];
  const backend = await loaded();
  const load = async (id: number, mixesRows?: boolean): Promise<unknown> =>
    (await backend.load(id, { files, session: {}, mixesRows })).mixesRows;
  expect([await load(2), await load(3, false), await load(4, true)]).toEqual([true, false, true]);
});

test("an id that the model's table has no row for is refused before the run", async () => {
  const files = [{ path: "m", data: new Blob([tableModel(10)]) }];
  const backend = await loaded(standIn("int64"), { files, session: {} });
  const ran = vi.fn();
  duringRun = ran;
  const run = (id: bigint): Promise<unknown> =>
    backend.run(1, { x: { dtype: "int64", dims: [1], data: BigInt64Array.of(id) } });
  await expect(run(10n)).rejects.toThrow(
    new RangeError('input "x": element 0 is 10, and the model\'s table "table" has 10 rows'),
  );
  expect(ran).not.toHaveBeenCalled();
  await run(9n);
  expect(ran).toHaveBeenCalledOnce();
});

/** A blob whose bytes the browser has lost. */
class LostBlob extends Blob {
  override arrayBuffer(): Promise<ArrayBuffer> {
    return Promise.reject(new DOMException("The requested file could not be read.", "NotReadableError"));
  }
  override slice(): Blob {
    return this;
  }
}

test.each([
  ["the model", [new LostBlob(["m"])], null],
  ["its weights", [new Blob([identityModel("float32")]), new LostBlob(["w"])], "ERROR_CODE: 1, ERROR_MESSAGE: 5"],
])("a load for which the browser has lost %s may be made again, and says how", async (_, blobs, reason) => {
  const module = standIn();
  const backend = createOrtBackend(module);
  await backend.start({
    backend: "wasm",
    wasmUrl: "https://example.com/ort.wasm",
    restUrl: "rest.wasm",
    modules: { first: EMPTY_WASM, rest: null },
    threads: 1,
    verbose: false,
  });
  if (reason !== null) module.InferenceSession.create = () => Promise.reject(new Error(reason));
  const files = blobs.map((data, i) => ({ path: String(i), data }));
  await expect(backend.load(1, { files, session: {} })).rejects.toMatchObject({
    code: "download-failed",
    retryable: true,
    message: expect.stringMatching(/can't read the model's bytes any more. Load it again/) as string,
    details: { reason: "unreadable" },
  });
});

describe("a file of 17 MB whose weights lie inside", () => {
  const large = new Blob([tableModel(1_420_000)]);
  const files = [{ path: "m", data: large }];
  let calls: { bytes: number; external: unknown }[];

  async function load(failWith: string | null): Promise<unknown> {
    const module = standIn();
    const create = module.InferenceSession.create.bind(module.InferenceSession) as unknown as (
      graph: Uint8Array,
      options: Record<string, unknown>,
    ) => Promise<never>;
    const backend = createOrtBackend(module);
    await backend.start({
      backend: "wasm",
      wasmUrl: "https://example.com/ort.wasm",
      restUrl: "rest.wasm",
      modules: { first: EMPTY_WASM, rest: null },
      threads: 1,
      verbose: false,
    });
    calls = [];
    module.InferenceSession.create = ((graph: Uint8Array, options: Record<string, unknown>) => {
      calls.push({ bytes: graph.length, external: options["externalData"] });
      return calls.length === 1 && failWith !== null
        ? Promise.reject(new Error(`ERROR_CODE: 6, ERROR_MESSAGE: ${failWith}`))
        : create(graph, options);
    }) as never;
    return backend.load(1, { files, session: {} });
  }

  test("is passed to the runtime as a small graph over the file itself", async () => {
    await load(null);
    expect(calls).toEqual([
      { bytes: expect.any(Number) as number, external: [{ path: "the-model-itself", data: large }] },
    ]);
    expect(calls[0]?.bytes).toBeLessThan(400);
  });

  test("is loaded as one buffer where the runtime refuses that", async () => {
    await load("refused");
    expect(calls.map((x) => x.bytes)).toEqual([expect.any(Number), large.size]);
    expect(calls[1]?.external).toEqual([]);
  });

  test("is not tried as one buffer, which takes more, where memory is short", async () => {
    await expect(load("std::bad_alloc")).rejects.toMatchObject({ code: "out-of-memory" });
    expect(calls).toHaveLength(1);
  });
});

describe("an error that the GPU reports", () => {
  test("during a run fails that run, and that run alone", async () => {
    const backend = await loaded();
    duringRun = () => {
      device.report({ message: "Invalid BindGroup" });
    };
    await expect(backend.run(1, FEEDS)).rejects.toMatchObject({
      code: "internal",
      message: "The GPU reported an error during a run: Invalid BindGroup",
    });
    duringRun = () => undefined;
    expect((await backend.run(1, FEEDS))["y"]?.data).toEqual(new Float32Array([5]));
  });

  test("just after a run still fails that run", async () => {
    const backend = await loaded();
    let left = 50;
    const later = (): void => {
      left -= 1;
      if (left > 0) queueMicrotask(later);
      else device.report({ message: "Late" });
    };
    duringRun = later;
    await expect(backend.run(1, FEEDS)).rejects.toMatchObject({ code: "internal" });
  });

  test("for lack of memory is reported as such", async () => {
    const backend = await loaded();
    duringRun = () => {
      device.report(new StandInMemoryError("no room"));
    };
    await expect(backend.run(1, FEEDS)).rejects.toMatchObject({ code: "out-of-memory" });
  });
});

describe("a lost device", () => {
  test("is reported at once, with its reason", async () => {
    const backend = await loaded();
    const told = new Promise((resolve) => {
      backend.onLost = resolve;
    });
    device.lose({ reason: "unknown", message: "The driver was reset." });
    expect(await told).toBe("The driver was reset.");
  });

  test("fails a run, even one that seems to have gone well", async () => {
    const backend = await loaded();
    duringRun = async () => {
      device.lose({ reason: "destroyed", message: "" });
      await device.lost;
    };
    await expect(backend.run(1, FEEDS)).rejects.toMatchObject({
      code: "device-lost",
      details: { message: "destroyed" },
    });
  });
});

describe("without WebGPU", () => {
  test.each([
    ["there is no adapter", { gpu: { requestAdapter: () => Promise.resolve(null) } }],
    ["asking for one throws, as in Firefox", { gpu: { requestAdapter: () => Promise.reject(new Error("off")) } }],
    ["the browser has none", {}],
  ])("the start rejects with no-backend: %s", async (_, navigator) => {
    vi.stubGlobal("navigator", navigator);
    const start = createOrtBackend(standIn()).start({
      backend: "webgpu",
      wasmUrl: "",
      restUrl: "rest.wasm",
      threads: 1,
      verbose: false,
    });
    await expect(start).rejects.toMatchObject({ code: "no-backend" });
  });
});
