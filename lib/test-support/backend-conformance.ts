// Requirements on every backend, as one list of checks that run anywhere: on the reference backend in Node, over the
// thread line, and on ONNX Runtime in real browsers (e2e/specs/engine/backend.spec.ts). Each check gets a started
// backend, leaves nothing loaded, and throws where the backend fails it.
import { isSelvedgeError } from "../core/errors.ts";
import type { Dtype, DtypeArrays, Tensor } from "../core/tensor.ts";
import type { Backend, ModelFacts } from "../rpc/backend.ts";
import {
  addModel,
  externalModel,
  identityModel,
  sumModel,
  unknownOperatorModel,
  zerosModel,
} from "./backend-models.ts";

/** One requirement on a backend. */
export interface Requirement {
  /** The requirement, as a sentence about the backend. */
  readonly name: string;
  run(backend: Backend): Promise<void>;
}

const SAMPLES: { readonly [D in Dtype]: DtypeArrays[D] } = {
  float32: new Float32Array([1.5, -0, NaN, Infinity, 3e-39]),
  float64: new Float64Array([1.1, -0, NaN, -Infinity, 5e-324]),
  float16: new Uint16Array([0x3c00, 0x8000, 0x7e00, 0x7c00, 0x0001]),
  int8: new Int8Array([-128, 127, 0]),
  uint8: new Uint8Array([255, 0, 1]),
  int16: new Int16Array([-32768, 32767, 0]),
  uint16: new Uint16Array([65535, 0, 1]),
  int32: new Int32Array([-2147483648, 2147483647, 0]),
  uint32: new Uint32Array([4294967295, 0, 1]),
  int64: new BigInt64Array([-(2n ** 63n), 2n ** 63n - 1n, 0n]),
  uint64: new BigUint64Array([2n ** 64n - 1n, 0n, 1n]),
  bool: new Uint8Array([0, 1, 1]),
  string: ["", "naïve", "選"],
};
const DTYPES = Object.keys(SAMPLES) as Dtype[];

/** Every check, in the order in which they should run. */
export const CONFORMANCE: readonly Requirement[] = [
  ...DTYPES.map((dtype) => ({
    name: `returns ${dtype} unchanged`,
    async run(backend: Backend) {
      await withModel(backend, identityModel(dtype), async (id) => {
        const x = { dtype, dims: [SAMPLES[dtype].length], data: SAMPLES[dtype] } as Tensor;
        same(await backend.run(id, { x }), { y: x });
      });
    },
  })),
  {
    name: "describes inputs and outputs, symbolic dims by name",
    async run(backend) {
      await withModel(backend, addModel(), async (_id, facts) => {
        const port = { dtype: "float32", dims: ["n", 3], batchAxis: 0 };
        same(facts.inputs, [
          { ...port, name: "a" },
          { ...port, name: "b" },
        ]);
        same(facts.outputs, [{ ...port, name: "y" }]);
      });
    },
  },
  {
    name: "adds",
    async run(backend) {
      await withModel(backend, addModel(), async (id) => {
        const { y } = await backend.run(id, { a: floats([2, 3], [1, 2, 3, 4, 5, 6]), b: floats([2, 3], 10) });
        same(y, floats([2, 3], [11, 12, 13, 14, 15, 16]));
      });
    },
  },
  {
    name: "runs a batch of zero",
    async run(backend) {
      await withModel(backend, addModel(), async (id) => {
        same((await backend.run(id, { a: floats([0, 3], 0), b: floats([0, 3], 0) })).y, floats([0, 3], 0));
      });
    },
  },
  {
    name: "runs with another batch size each time",
    async run(backend) {
      await withModel(backend, addModel(), async (id) => {
        for (const n of [3, 1, 7]) {
          same((await backend.run(id, { a: floats([n, 3], n), b: floats([n, 3], 1) })).y, floats([n, 3], n + 1));
        }
      });
    },
  },
  {
    name: "neither changes, keeps nor detaches an input",
    async run(backend) {
      await withModel(backend, identityModel("float32"), async (id) => {
        const x = floats([2], [1, 2]);
        const { y } = await backend.run(id, { x });
        same(x, floats([2], [1, 2]));
        x.data[0] = 9;
        same(y, floats([2], [1, 2]));
      });
    },
  },
  {
    name: "leaves an output to the caller: later runs and the unload do not touch it",
    async run(backend) {
      let first: Tensor | undefined;
      await withModel(backend, addModel(), async (id) => {
        first = (await backend.run(id, { a: floats([1, 3], 1), b: floats([1, 3], 1) })).y;
        for (let i = 0; i < 3; i++) await backend.run(id, { a: floats([1, 3], 7), b: floats([1, 3], 7) });
      });
      same(first, floats([1, 3], 2));
    },
  },
  {
    name: "keeps two models apart",
    async run(backend) {
      await withModel(backend, addModel(), async (add) => {
        await withModel(backend, identityModel("float32"), async (identity) => {
          const three = floats([1, 3], 3);
          same((await backend.run(add, { a: three, b: three })).y, floats([1, 3], 6));
          same((await backend.run(identity, { x: floats([1], 3) })).y, floats([1], 3));
          same((await backend.run(add, { a: three, b: three })).y, floats([1, 3], 6));
        });
      });
    },
  },
  {
    name: "loads again after an unload, and replaces a model that is loaded under the same id",
    async run(backend) {
      await withModel(backend, addModel(), async (id) => {
        await backend.unload(id);
        await backend.load(id, files(addModel()));
        await backend.load(id, files(identityModel("int32")));
        const x: Tensor = { dtype: "int32", dims: [1], data: new Int32Array([5]) };
        same((await backend.run(id, { x })).y, x);
      });
    },
  },
  {
    name: "ignores the unload of a model that is not loaded",
    run: (backend) => backend.unload(987654),
  },
  {
    name: "rejects a run of a model that is not loaded",
    async run(backend) {
      await rejects("internal", backend.run(987654, {}));
    },
  },
  {
    name: "keeps a state from run to run, and returns it at a checkpoint alone",
    async run(backend) {
      await withSum(backend, async (id) => {
        const [x, stateId] = [floats([1, 3], [1, 2, 3]), nextId()];
        const first = await backend.run(
          id,
          { x },
          { stateId, restore: { sum: floats([1, 3], 10) }, checkpoint: false },
        );
        same(first, { y: floats([1, 3], [11, 12, 13]) });
        const second = await backend.run(id, { x }, { stateId, restore: null, checkpoint: true });
        same(second, { y: floats([1, 3], [12, 14, 16]), next: floats([1, 3], [12, 14, 16]) });
        (second["next"]?.data as Float32Array).fill(99);
        const third = await backend.run(id, { x }, { stateId, restore: null, checkpoint: false });
        same(third, { y: floats([1, 3], [13, 16, 19]) });
      });
    },
  },
  {
    name: "keeps two states of one model apart, and from runs without one",
    async run(backend) {
      await withSum(backend, async (id) => {
        const x = floats([1, 3], 1);
        const sum = floats([1, 3], 100);
        const states = [nextId(), nextId()];
        const restore = { sum: floats([1, 3], 0) };
        for (const stateId of states) await backend.run(id, { x }, { stateId, restore, checkpoint: false });
        same(await backend.run(id, { x, sum }), { y: floats([1, 3], 101), next: floats([1, 3], 101) });
        for (const [i, stateId] of [...states, states[0] ?? 0].entries()) {
          const step = await backend.run(id, { x }, { stateId, restore: null, checkpoint: false });
          same(step, { y: floats([1, 3], i < 2 ? 2 : 3) });
        }
      });
    },
  },
  {
    name: "replaces a state where it is restored",
    async run(backend) {
      await withSum(backend, async (id) => {
        const [x, stateId] = [floats([1, 3], 1), nextId()];
        for (const value of [5, 7]) {
          const restore = { sum: floats([1, 3], value) };
          same(await backend.run(id, { x }, { stateId, restore, checkpoint: false }), { y: floats([1, 3], value + 1) });
        }
        const last = await backend.run(id, { x }, { stateId, restore: null, checkpoint: false });
        same(last, { y: floats([1, 3], 9) });
      });
    },
  },
  {
    name: "has no state that was never set, was forgotten, or met a failed run",
    async run(backend) {
      await withSum(backend, async (id) => {
        const [x, stateId] = [floats([1, 3], 1), nextId()];
        const goOn = { stateId, restore: null, checkpoint: false };
        const begin = { ...goOn, restore: { sum: floats([1, 3], 0) } };
        await rejects("internal", backend.run(id, { x }, goOn));
        await backend.run(id, { x }, begin);
        await backend.removeState(stateId);
        await rejects("internal", backend.run(id, { x }, goOn));
        await backend.run(id, { x }, begin);
        await rejects("TypeError", backend.run(id, {}, goOn));
        await rejects("internal", backend.run(id, { x }, goOn));
        same(await backend.run(id, { x }, begin), { y: floats([1, 3], 1) });
      });
    },
  },
  {
    name: "returns an output of 64 MB whole",
    async run(backend) {
      await withModel(backend, zerosModel(2), async (id) => {
        const { y } = await backend.run(id, {
          x: { dtype: "int64", dims: [2], data: new BigInt64Array([4000n, 4000n]) },
        });
        same(y?.dims, [4000, 4000]);
        same(y?.data.length, 16_000_000);
      });
    },
  },
  {
    name: "reports an output that memory can't hold, and goes on",
    async run(backend) {
      await withModel(backend, zerosModel(1), async (id) => {
        const shape = (n: bigint): Tensor => ({ dtype: "int64", dims: [1], data: new BigInt64Array([n]) });
        await rejects("out-of-memory", backend.run(id, { x: shape(2n ** 33n) }));
        same((await backend.run(id, { x: shape(2n) })).y, floats([2], 0));
      });
    },
  },
  {
    name: "reads external data by its path",
    async run(backend) {
      const id = nextId();
      const weights = { path: "weights.bin", data: new Blob([new Float32Array([2.5])]) };
      const model = files(externalModel("weights.bin"));
      await backend.load(id, { ...model, files: [...model.files, weights] });
      same((await backend.run(id, { x: floats([2], [2, 4]) })).y, floats([2], [5, 10]));
      await backend.unload(id);
    },
  },
  {
    name: "rejects a model whose external data is missing or short",
    async run(backend) {
      const model = files(externalModel("weights.bin"));
      await rejects("model-invalid", backend.load(nextId(), model));
      const short = { path: "weights.bin", data: new Blob([new Uint8Array(2)]) };
      await rejects("model-invalid", backend.load(nextId(), { ...model, files: [...model.files, short] }));
    },
  },
  ...[
    { what: "no bytes", bytes: new Uint8Array(0) },
    { what: "garbage", bytes: new Uint8Array(100).fill(7) },
    { what: "an HTML page", bytes: new TextEncoder().encode("<!doctype html><title>Not found</title>") },
    { what: "half a model", bytes: addModel().slice(0, 60) },
    { what: "an operator that nobody knows", bytes: unknownOperatorModel() },
  ].map(({ what, bytes }) => ({
    name: `rejects ${what} as no model, and goes on`,
    async run(backend: Backend) {
      await rejects("model-invalid", backend.load(nextId(), files(bytes)));
      await withModel(backend, identityModel("float32"), async (id) => {
        same((await backend.run(id, { x: floats([1], 4) })).y, floats([1], 4));
      });
    },
  })),
  ...wrongFeeds().map(({ what, error, feeds }) => ({
    name: `rejects ${what} with a ${error}, and goes on`,
    async run(backend: Backend) {
      await withModel(backend, addModel(), async (id) => {
        await rejects(error, backend.run(id, feeds));
        same((await backend.run(id, { a: floats([1, 3], 1), b: floats([1, 3], 1) })).y, floats([1, 3], 2));
      });
    },
  })),
];

function wrongFeeds(): { what: string; error: string; feeds: Record<string, Tensor> }[] {
  const b = floats([1, 3], 0);
  const doubles: Tensor = { dtype: "float64", dims: [1, 3], data: new Float64Array(3) };
  return [
    { what: "a missing input", error: "TypeError", feeds: { b } },
    { what: "an unknown input", error: "TypeError", feeds: { a: b, b, c: b } },
    { what: "another dtype", error: "TypeError", feeds: { a: doubles, b } },
    {
      what: "another kind of array",
      error: "TypeError",
      feeds: { a: { ...b, data: doubles.data } as unknown as Tensor, b },
    },
    { what: "another rank", error: "RangeError", feeds: { a: floats([3], 0), b } },
    { what: "another size of a fixed dim", error: "RangeError", feeds: { a: floats([1, 4], 0), b } },
    { what: "two sizes of one symbolic dim", error: "RangeError", feeds: { a: floats([2, 3], 0), b } },
    { what: "too few values", error: "RangeError", feeds: { a: { ...b, data: new Float32Array(2) }, b } },
    { what: "a dim that is NaN", error: "RangeError", feeds: { a: { ...b, dims: [NaN, 3] }, b } },
    { what: "a negative dim", error: "RangeError", feeds: { a: { ...b, dims: [-1, 3] }, b } },
  ];
}

let lastId = 1000;

function nextId(): number {
  lastId += 1;
  return lastId;
}

async function withModel(
  backend: Backend,
  bytes: Uint8Array<ArrayBuffer>,
  use: (id: number, facts: ModelFacts) => Promise<void>,
): Promise<void> {
  const id = nextId();
  const facts = await backend.load(id, files(bytes));
  await use(id, facts);
  await backend.unload(id);
}

/** Loads the running sum, whose output `next` feeds `sum`. */
async function withSum(backend: Backend, use: (id: number) => Promise<void>): Promise<void> {
  const id = nextId();
  await backend.load(id, { ...files(sumModel()), states: { next: "sum" } });
  await use(id);
  await backend.unload(id);
}

function files(bytes: Uint8Array<ArrayBuffer>): {
  files: { path: string; data: Blob }[];
  session: Record<string, string>;
} {
  return { files: [{ path: "model.onnx", data: new Blob([bytes]) }], session: {} };
}

function floats(dims: number[], values: number | number[]): Tensor<"float32"> {
  const size = dims.reduce((product, dim) => product * dim, 1);
  const data = typeof values === "number" ? new Float32Array(size).fill(values) : new Float32Array(values);
  return { dtype: "float32", dims, data };
}

function same(actual: unknown, expected: unknown): void {
  const [left, right] = [show(actual), show(expected)];
  if (left !== right) throw new Error(`expected ${right}, got ${left}`);
}

/** Formats a value so that NaN, −0, BigInts and kinds of arrays differ. */
function show(value: unknown): string {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    if (ArrayBuffer.isView(value)) {
      const name = Object.prototype.toString.call(value);
      return `${name}${Array.from(value as unknown as ArrayLike<unknown>, show).join()}`;
    }
    const keys = Object.keys(value).sort();
    return `{${keys.map((key) => `${key}:${show(Reflect.get(value, key))}`).join()}}`;
  }
  if (Array.isArray(value)) return `[${value.map(show).join()}]`;
  if (typeof value === "string") return JSON.stringify(value);
  return Object.is(value, -0) ? "-0" : String(value);
}

async function rejects(expected: string, call: Promise<unknown>): Promise<void> {
  let got = "a result";
  try {
    await call;
  } catch (error) {
    const name = error instanceof Error ? error.name : "a value that is no error";
    got = isSelvedgeError(error) ? error.code : name;
    if (got === expected) return;
    got += error instanceof Error ? ` (${error.message})` : "";
  }
  throw new Error(`expected ${expected}, got ${got}`);
}
