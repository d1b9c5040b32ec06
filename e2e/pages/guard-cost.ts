// Subjects of the benchmark, in the page: the cost of safety without faults. The same calls with the watchdog and
// without, the same steps of a recurrent state with checkpoints and without.
import { createEngine } from "selvedge";
import type { Stateful } from "selvedge";
import { addModel } from "../../lib/test-support/backend-models.ts";
import { browserEffects } from "../../lib/effects/effects.ts";
import type { Effects } from "../../lib/effects/effects.ts";

/** Names a subject. */
export type Guard = "watchdog" | "no watchdog" | "checkpoints" | "no checkpoints";

/** The watchdog's tick (lib/rpc/watchdog.ts). */
const TICK_MS = 1_000;
const CHUNK = { type: "float32", samples: 576 } as const;

const subjects = new Map<Guard, () => Promise<string>>();

/** Prepares all subjects. */
async function setUp(): Promise<void> {
  const real = browserEffects();
  // Only the watchdog sets timers of a whole tick, so those are omitted.
  const unwatched: Effects = {
    ...real,
    setTimer: (callback, ms) => (ms === TICK_MS ? () => undefined : real.setTimer(callback, ms)),
  };
  subjects.set("watchdog", await runs(real));
  subjects.set("no watchdog", await runs(unwatched));
  const engine = await createEngine({ backends: ["wasm"], workers: 1 });
  const model = await engine.load("/models/vad/bundle.json");
  subjects.set("checkpoints", steps(model.stateful()));
  subjects.set("no checkpoints", steps(model.stateful({ checkpointEvery: 1_024 })));
}

async function runs(effects: Effects): Promise<() => Promise<string>> {
  const engine = await createEngine({ backends: ["wasm"], workers: 1, effects });
  const model = await engine.load(addModel());
  const tensor = { dtype: "float32", dims: [8, 3], data: new Float32Array(24) } as const;
  return async () => (await model.run({ a: tensor, b: tensor })).info.backend;
}

function steps(state: Stateful): () => Promise<string> {
  const data = Float32Array.from({ length: CHUNK.samples }, (_, i) => Math.sin(i / 9) / 4);
  const input = { dtype: CHUNK.type, dims: [1, CHUNK.samples], data } as const;
  return async () => (await state.run({ input })).info.backend;
}

/** Calls a subject so many times in sequence; returns ms per call. `slowBy` adds that share of busy waiting. */
async function sample(name: Guard, count: number, slowBy: number): Promise<{ ms: number; backend: string }> {
  const call = subjects.get(name);
  if (call === undefined) throw new Error(`there is no subject "${name}"`);
  const startMs = performance.now();
  let backend = "";
  for (let i = 0; i < count; i += 1) backend = await call();
  const ms = performance.now() - startMs;
  for (const endMs = performance.now() + ms * slowBy; performance.now() < endMs;);
  return { ms: (ms * (1 + slowBy)) / count, backend };
}

Object.assign(globalThis, { guardCost: { setUp, sample } });
