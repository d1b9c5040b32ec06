// Many concurrent requests of several models, of all priorities, some with deadlines, some cancelled, while workers die
// under them. The expected answers are computed before, one by one.
import { createEngine } from "selvedge";
import type { Model } from "selvedge";
import { browserEffects } from "../../lib/effects/effects.ts";
import { Random } from "../../lib/test-support/random.ts";

/** Result of a crowd. */
export interface Crowd {
  readonly answered: number;
  readonly cancelled: number;
  /** Rejected or dropped for their deadlines. */
  readonly refused: number;
  /** Violations, as sentences. */
  readonly wrong: string[];
  readonly deaths: number;
  /** Mean number of requests per batch. */
  readonly meanBatch: number;
  /** Requests that were retried. */
  readonly again: number;
  readonly left: { readonly queued: number; readonly running: number };
}

interface Asked {
  readonly model: Model;
  readonly inputs: Readonly<Record<string, { dtype: "float32"; dims: readonly number[]; data: Float32Array }>>;
  readonly answer: Float32Array;
}

/** Share of each model in a crowd; the large one is rare, as it is slow. */
const MODELS = [
  { name: "fashion-cnn", input: "image", dims: [1, 1, 28, 28], share: 0.75 },
  { name: "fashion-mlp", input: "image", dims: [1, 1, 28, 28], share: 0.23 },
  { name: "ocr-rec", input: "x", dims: [1, 3, 48, 96], share: 0.02 },
] as const;
/** So many that few of those in flight are identical: identical ones share a run. */
const SAMPLES = [96, 96, 4] as const;
const NEAR = 1e-5;

/** Returns an answer's error, relative to its largest value where that is above 1. */
function distance(a: ArrayLike<number>, b: Float32Array): number {
  if (a.length !== b.length) return Infinity;
  let largest = 1;
  let most = 0;
  for (const [i, value] of b.entries()) {
    largest = Math.max(largest, Math.abs(value));
    most = Math.max(most, Math.abs((a[i] ?? Number.NaN) - value));
  }
  return Number.isNaN(most) ? Infinity : most / largest;
}

const page = {
  async crowd(count: number, deaths: number, seed: string): Promise<Crowd> {
    const random = new Random(seed);
    const workers = new Set<Worker>();
    const effects = browserEffects();
    const createWorker: typeof effects.createWorker = (url, name) => {
      const worker = effects.createWorker(url, name) as Worker;
      if (!String(url).includes("cache")) workers.add(worker);
      return worker;
    };
    const engine = await createEngine({ backends: ["wasm"], effects: { ...effects, createWorker } });
    const samples: Asked[][] = [];
    for (const [which, { name, input, dims }] of MODELS.entries()) {
      const model = await engine.load(`/models/${name}/bundle.json`, { variant: "f32" });
      const asked: Asked[] = [];
      for (let i = 0; i < (SAMPLES[which] ?? 0); i += 1) {
        const length = dims.reduce<number>((a, b) => a * b, 1);
        const data = Float32Array.from({ length }, () => random.between(-1, 1));
        const inputs = { [input]: { dtype: "float32", dims, data } } as const;
        const { outputs } = await model.run(inputs);
        asked.push({ model, inputs, answer: Object.values(outputs)[0]?.data as Float32Array });
      }
      samples.push(asked);
    }
    const told = { answered: 0, cancelled: 0, refused: 0, batches: 0, again: 0, died: 0 };
    const wrong: string[] = [];
    const ask = async (i: number): Promise<void> => {
      const share = random.next();
      const which = share < MODELS[2].share ? 2 : share < MODELS[2].share + MODELS[1].share ? 1 : 0;
      const { model, inputs, answer } = samples[which]?.[random.whole(0, SAMPLES[which] - 1)] as Asked;
      const deadlineMs = random.chance(0.1) ? random.pick([20, 200, 2_000]) : undefined;
      const stop = random.chance(0.1) ? new AbortController() : undefined;
      const reason = new Error(`cancel ${i}`);
      if (stop !== undefined)
        setTimeout(
          () => {
            stop.abort(reason);
          },
          random.between(0, 60),
        );
      const priority = random.pick(["interactive", "normal", "background"] as const);
      try {
        const { outputs, info } = await model.run(inputs, { priority, deadlineMs, signal: stop?.signal });
        const off = distance(Object.values(outputs)[0]?.data as Float32Array, answer);
        if (off > NEAR) wrong.push(`request ${i} of ${model.name} is off by ${off}, ${info.batchSize} together`);
        told.answered += 1;
        told.batches += 1 / info.batchSize;
        if (info.attempts > 1) told.again += 1;
      } catch (error) {
        const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
        if (error === reason) told.cancelled += 1;
        else if (code === "deadline-exceeded" && deadlineMs !== undefined) told.refused += 1;
        else wrong.push(`request ${i} of ${model.name}: ${String(error)}`);
      }
    };
    const kill = (): void => {
      const worker = random.pick([...workers]);
      workers.delete(worker);
      worker.terminate();
      worker.dispatchEvent(new ErrorEvent("error", { message: "it was killed" }));
      told.died += 1;
    };
    const asked: Promise<void>[] = [];
    for (let i = 0; i < count; i += 1) {
      asked.push(ask(i));
      if (told.died < deaths && i >= ((told.died + 1) * count) / (deaths + 1)) kill();
      if (i % 25 === 24) await new Promise((resolve) => setTimeout(resolve, random.between(0, 20)));
    }
    await Promise.all(asked);
    const { queued, running } = engine.stats().requests;
    await engine.close();
    const { answered, cancelled, refused, batches, again, died } = told;
    return {
      answered,
      cancelled,
      refused,
      wrong,
      deaths: died,
      meanBatch: answered / batches,
      again,
      left: { queued, running },
    };
  },
};
export type MixedLoadPage = typeof page;

Object.assign(globalThis, { page });
