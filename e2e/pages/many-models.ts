// Requests to sixteen models in sequence, in as much memory as a policy allows.
import { createEngine } from "selvedge";
import type { Engine, Model } from "selvedge";
import { Random } from "../../lib/test-support/random.ts";

/** Models kept in memory: all, the app's most recently loaded ones, or those that the engine keeps within a budget. */
export type Policy = "all" | "naive" | "budget";

/** Result of a policy. */
export interface Served {
  readonly requestsPerSecond: number;
  /** The share of the requests that had to load their model. */
  readonly misses: number;
  readonly variant: string;
}

/** Functions of the page for the benchmark, as `globalThis.manyModels`. */
export interface MemoryPage {
  /** Makes a hundred requests. */
  serve(policy: Policy): Promise<Served>;
}

const MODELS = 16;
const ROOM = 4;
const REQUESTS = 100;
const ADDRESS = "/models/fashion-mlp/bundle.json";
const VARIANT = "int8-dynamic";

/** Number of load messages to workers. */
let loads = 0;
globalThis.Worker = class extends Worker {
  override postMessage(message: unknown, ...rest: never[]): void {
    if ((message as { path?: readonly string[] }).path?.[0] === "load") loads += 1;
    super.postMessage(message, ...rest);
  }
};

/** Draws models by popularity; the same for every policy. */
function* questions(): Generator<number> {
  const random = new Random("sixteen models");
  const weights = Array.from({ length: MODELS }, (_, n) => 1 / (n + 1));
  const total = weights.reduce((sum, x) => sum + x, 0);
  for (let asked = 0; asked < REQUESTS; asked += 1) {
    let at = random.next() * total;
    let n = 0;
    for (; n < MODELS - 1 && at >= (weights[n] ?? 0); n += 1) at -= weights[n] ?? 0;
    yield n;
  }
}

const load = (engine: Engine): Promise<Model> => engine.load(ADDRESS, { variant: VARIANT, batching: false });

async function run(model: Model): Promise<void> {
  const x = new Float32Array(28 * 28).fill(0.5);
  const [port] = model.inputs;
  if (port === undefined) throw new Error("the model has no input");
  const dims = port.dims.map((dim) => (typeof dim === "number" ? dim : 1));
  await model.run({ [port.name]: { dtype: "float32", dims, data: x } });
}

/** Returns the growth of a worker per additional model. */
async function growth(): Promise<number> {
  const engine = await createEngine({ backends: ["wasm"], workers: 1 });
  const held = (): number => engine.stats().lanes[0]?.memoryBytes ?? 0;
  await run(await load(engine));
  const before = held();
  for (let n = 0; n < 3; n += 1) await run(await load(engine));
  const bytes = (held() - before) / 3;
  await engine.close();
  return bytes;
}

const page: MemoryPage = {
  async serve(policy) {
    // Half a model more than four: no two of them grow a worker equally.
    const memoryBudgetBytes = policy === "budget" ? Math.round((ROOM + 0.5) * (await growth())) : undefined;
    const engine = await createEngine({ backends: ["wasm"], workers: 1, memoryBudgetBytes });
    const models = new Map<number, Model>();
    // All are loaded before the requests; models without room have been evicted by then.
    if (policy !== "naive") for (let n = 0; n < MODELS; n += 1) models.set(n, await load(engine));
    else for (let n = 0; n < ROOM; n += 1) models.set(n, await load(engine));
    for (const model of models.values()) await run(model);
    loads = 0;
    const startMs = performance.now();
    for (const n of questions()) {
      let model = models.get(n);
      if (model === undefined) {
        const [[oldest, leaving] = []] = models;
        if (oldest !== undefined) models.delete(oldest);
        leaving?.unload();
        model = await load(engine);
        models.set(n, model);
      }
      await run(model);
    }
    const ms = performance.now() - startMs;
    await engine.close();
    return { requestsPerSecond: (REQUESTS / ms) * 1_000, misses: loads / REQUESTS, variant: VARIANT };
  },
};
Object.assign(globalThis, { manyModels: page });
