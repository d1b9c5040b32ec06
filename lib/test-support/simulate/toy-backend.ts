// Backend of a simulated worker: y = factor · x, or a step of a state if the model is loaded with one, after a time
// drawn from the seed; it acts out the fault that the worker drew. A row of a batch costs as much as one alone or
// almost nothing, as the model's session says; that also holds the model itself, since reading a blob would be real
// I/O.
import type { Backend, ModelFacts } from "../../rpc/backend.ts";
import type { BundleInput, BundleOutput } from "../../core/bundle.ts";
import { SelvedgeError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { SimulatedWorker, World } from "./world.ts";

/** Next sum of the state, which is also the answer. It decays, so that no step can stand for two others. */
export function toyStep(sum: number, x: number): number {
  return Math.fround(Math.fround(sum / 2) + x);
}

/** Session entries in which a toy model's factor and cost travel: bundles may set only entries that ONNX Runtime has. */
export const FACTOR_ENTRY = "session.qdq_matmulnbits_accuracy_level";
export const COST_ENTRY = "optimization.disable_specified_optimizers";

const PORT = { dtype: "float32", dims: ["n", "w"], batchAxis: 0 } as const;
const STATE_PORT = { dtype: "float32", dims: ["n", 2], batchAxis: 0 } as const;
/** Cost of a run in ms: all of it per row, or most of it per run. */
const COST = { apart: { run: 0, row: 20 }, together: { run: 18, row: 2 }, slow: { run: 0, row: 100 } } as const;
/** Factor on the cost with threads. */
const THREADED = 0.6;

/** Creates the backend of one simulated worker. */
export function createToyBackend(world: World, worker: SimulatedWorker): Backend {
  const models = new Map<number, { readonly factor: number; readonly cost: keyof typeof COST }>();
  const sums = new Map<number, { readonly modelId: number; readonly sum: Float32Array<ArrayBuffer> }>();
  let isLost = false;
  let name = "";
  let share = 1;
  const act = async (usualMs: number, backend: Backend): Promise<void> => {
    const { fault } = worker;
    worker.fault = null;
    const slow = (fault === "slow" ? 50 : 1) * worker.slowness;
    worker.isBusy = true;
    await new Promise<void>((resolve) => {
      if (fault !== "hang") world.at(slow * usualMs * (0.5 + world.random.next()), resolve);
    });
    worker.isBusy = false;
    // A device is lost once.
    if (fault === "lost" && !isLost) {
      isLost = true;
      // A worker that dies of something else never reports its loss, so it can't be counted; one that was ended has none.
      if (name === "webgpu" && !worker.isDying && world.alive.has(worker)) {
        worker.lostMs = world.effects.wallClock();
        world.gpuLosses.push(worker.lostMs);
      }
      backend.onLost?.("simulated");
    }
    if (isLost) throw new SelvedgeError("device-lost", "The GPU device was lost: simulated");
    if (fault === "out-of-memory") throw new SelvedgeError("out-of-memory", "simulated");
    if (fault === "error") throw new SelvedgeError("internal", "simulated");
  };
  const backend: Backend = {
    onLost: null,
    onLog: null,
    async start(options) {
      name = options.backend;
      if (options.threads > 1) share = THREADED;
      await act(300, backend);
      return { backend: options.backend, gpu: null, version: "toy", startMs: 0 };
    },
    async load(modelId, { session, states = {} }): Promise<ModelFacts> {
      await act(80, backend);
      const cost = session[COST_ENTRY] as keyof typeof COST;
      models.set(modelId, { factor: Number(session[FACTOR_ENTRY]), cost });
      worker.models.add(modelId);
      const { inputs, outputs } = portsOf("next" in states);
      return { inputs, outputs, loadMs: 0, assignment: null };
    },
    async run(modelId, feeds: Readonly<Record<string, Tensor>>, state): Promise<Record<string, Tensor>> {
      const before = state && (state.restore?.["sum"]?.data ?? sums.get(state.stateId)?.sum);
      if (state !== undefined) sums.delete(state.stateId);
      const model = models.get(modelId);
      const cost = COST[model?.cost ?? "apart"];
      const rows = Object.values(feeds)[0]?.dims[0] ?? 1;
      world.noteBatch(rows);
      await act(share * (cost.run + cost.row * rows), backend);
      if (state !== undefined) {
        const { data, dims } = feeds["x"] as Tensor<"float32">;
        if (before === undefined) throw new SelvedgeError("internal", "the state is not kept");
        const sum = Float32Array.from(data, (x, i) => toyStep(before[i] as number, x));
        sums.set(state.stateId, { modelId, sum });
        const y: Tensor = { dtype: "float32", dims, data: sum.slice() };
        return state.checkpoint ? { y, next: { ...y, data: sum.slice() } } : { y };
      }
      const x = feeds["x"];
      if (model === undefined || x === undefined) throw new SelvedgeError("internal", "not loaded");
      const data = Float32Array.from(x.data as Float32Array, (value) => value * model.factor);
      return { y: { dtype: "float32", dims: x.dims, data } };
    },
    unload(modelId) {
      models.delete(modelId);
      worker.models.delete(modelId);
      for (const [stateId, kept] of sums) if (kept.modelId === modelId) sums.delete(stateId);
      return Promise.resolve();
    },
    removeState(stateId) {
      sums.delete(stateId);
      return Promise.resolve();
    },
  };
  return backend;
}

function portsOf(hasState: boolean): { inputs: readonly BundleInput[]; outputs: readonly BundleOutput[] } {
  const port = hasState ? STATE_PORT : PORT;
  const [x, y] = [
    { ...port, name: "x" },
    { ...port, name: "y" },
  ];
  if (!hasState) return { inputs: [x], outputs: [y] };
  return { inputs: [x, { ...port, name: "sum" }], outputs: [y, { ...port, name: "next", feeds: "sum" }] };
}

/** Builds a bundle of one toy model: a factor, or a running sum. */
export function toyBundle(
  name: string,
  factor: number | null,
  cost: keyof typeof COST = "apart",
  onWasm = cost,
): string {
  const sessionOf = (cost: string) => ({ [FACTOR_ENTRY]: String(factor), [COST_ENTRY]: cost });
  // One byte "m": the file is fetched and verified like any other, and then ignored.
  const sha256 = "62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a";
  return JSON.stringify({
    schema: "selvedge/bundle@1",
    model: {
      name,
      version: "1",
      licence: "MIT",
      ...portsOf(factor === null),
      typical: { w: 2 },
    },
    variants: [
      {
        id: "f32",
        needs: [],
        session: { wasm: sessionOf(onWasm), webgpu: sessionOf(cost) },
        files: [{ path: "m.onnx", bytes: 1, chunks: [{ sha256, bytes: 1 }] }],
      },
    ],
  });
}

/** The chunk that every toy bundle names: its path below the bundle, and its content. */
export const TOY_CHUNK = {
  path: "chunks/62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a",
  content: "m",
} as const;
