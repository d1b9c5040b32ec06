// One caller that awaits each answer, then two at once: the lanes that they run on, and the difference of their answers
// from those of an engine without a wide lane.
import { createEngine } from "selvedge";
import type { EngineOptions, Model } from "selvedge";
import { Random } from "../../lib/test-support/random.ts";

const DIMS = [1, 3, 48, 320] as const;
/** Limit on its requests until the wide lane has answered a few times. */
const TURNS_MAX = 400;
const WIDE_TURNS = 2;
const BOTH_TURNS = 12;

/** Distinct inputs: identical requests in flight would share one run. */
function inputsOf(seed: number) {
  const random = new Random(`line ${seed}`);
  const length = DIMS.reduce<number>((product, x) => product * x, 1);
  return {
    x: { dtype: "float32", dims: DIMS, data: Float32Array.from({ length }, () => random.between(-1, 1)) },
  } as const;
}

async function loaded(options: EngineOptions) {
  const engine = await createEngine({ backends: ["wasm"], ...options });
  return { engine, model: await engine.load("/models/ocr-rec/bundle.json", { variant: "f32" }) };
}

async function ask(model: Model, seed: number) {
  const startMs = performance.now();
  const { outputs, info } = await model.run(inputsOf(seed));
  const { lane, why, ranMs } = info;
  const answer = Object.values(outputs)[0]?.data as Float32Array;
  const isWhy = why.reasons.some(({ code }) => code === "wide-lane");
  return { seed, lane, answer, isWhy, ranMs, ms: performance.now() - startMs };
}
type Asked = Awaited<ReturnType<typeof ask>>;

const page = {
  async streams() {
    const { engine, model } = await loaded({});
    const one: Asked[] = [];
    const wide = (): Asked[] => one.filter(({ lane }) => lane === "wasm-wide");
    while (wide().length < WIDE_TURNS && one.length < TURNS_MAX) one.push(await ask(model, one.length));
    // Both end with the faster one: alone, the other one would be a single stream, which gets the wide lane.
    let isOver = false;
    const both = await Promise.all(
      [1_000, 2_000].map(async (from) => {
        const asked: Asked[] = [];
        while (!isOver && asked.length < BOTH_TURNS) asked.push(await ask(model, from + asked.length));
        isOver = true;
        return asked;
      }),
    );
    await engine.close();
    const usual = await loaded({ workers: 1 });
    let off = 0;
    for (const { seed, answer } of [...wide(), ...one.slice(0, 2), ...both.flatMap((asked) => asked.slice(0, 2))]) {
      const alone = await ask(usual.model, seed);
      for (const [i, value] of alone.answer.entries()) off = Math.max(off, Math.abs(value - (answer[i] ?? Number.NaN)));
    }
    await usual.engine.close();
    return {
      firstLanes: one.slice(0, 8).map(({ lane }) => lane),
      wide: wide().length,
      turns: one.length,
      isWhy: wide().every(({ isWhy }) => isWhy),
      // The first of each may have arrived before the other.
      bothLanes: [...new Set(both.flatMap((asked) => asked.slice(1, -1).map(({ lane }) => lane)))],
      off,
    };
  },
};
export type ThreadsPage = typeof page;

Object.assign(globalThis, { page });
