// One story from a seed: an engine with lanes, a hundred requests and more, cancels, frozen tabs, and a fault at every
// n-th message to a worker. Afterwards the invariants: no request lost, answered twice or answered wrongly, no worker
// leaked, tries bounded, and no healthy worker ended. Returns what was broken, as sentences.
import { createEngine } from "../engine.ts";
import type { Engine } from "../engine.ts";
import { isSelvedgeError } from "../errors.ts";
import type { Model } from "../model.ts";
import { MAX_ATTEMPTS } from "../schedule/recover.ts";
import { Random } from "./random.ts";
import { Stream } from "./stream.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy.ts";
import { World } from "./world.ts";
import type { Fault } from "./world.ts";

const REQUESTS = 100;
const FAULTS: readonly Fault[] = [
  "crash",
  "hang",
  "lost",
  "out-of-memory",
  "error",
  "slow",
  "never-starts",
  "messageerror",
];
const GPU = { vendor: "toy", architecture: "", description: "", software: false, features: [], limits: {} };
const FACTORS = [2, 3];
const SUM_URL = "https://app.test/sum.json";
const STREAMS = ["a", "b", "c"];
/** All that a story may take: a hundred requests whose every try runs into the longest bound. */
const END_MS = 3 * 3_600_000;
const TIMEOUT_MS = 5_000;

/** How a story is told. */
export interface SimulateOptions {
  readonly seed: number;
  /** Gets every event, to replay a seed that failed. */
  readonly log?: ((line: string) => void) | undefined;
}

/** What came of a story. */
export interface Story {
  /** Invariants that did not hold; empty where all is well. */
  readonly broken: readonly string[];
  readonly answered: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly faults: number;
}

interface Outcome {
  settled: number;
  answered: boolean;
  error: Error | null;
  cancelled: boolean;
}

/** Tells one story. */
export async function simulate({ seed, log }: SimulateOptions): Promise<Story> {
  const random = new Random(seed);
  // No faults in one story of eight: then no worker may end, no request fail.
  const every = random.chance(1 / 8) ? 0 : 1 + random.whole(30);
  let messages = 0;
  let faults = 0;
  const files = new Map<string, string>([["https://app.test/" + TOY_CHUNK.path, TOY_CHUNK.content]]);
  for (const factor of FACTORS) files.set(`https://app.test/m${factor}.json`, toyBundle(`m${factor}`, factor));
  files.set(SUM_URL, toyBundle("sum", null));
  const world = new World({
    random,
    gpu: random.chance(0.7) ? GPU : null,
    cores: 1 + random.whole(4),
    files,
    createBackend: createToyBackend,
    drawFault: () => {
      messages += 1;
      if (every === 0 || messages % every !== 0) return null;
      faults += 1;
      return random.pick(FAULTS);
    },
    log: log ?? null,
  });
  const engine = await createEngine({ effects: world.effects, callTimeoutMs: TIMEOUT_MS, idleMs: 2_000 });
  const backend = world.random.chance(0.5) && engine.device.gpu !== null ? "webgpu" : undefined;
  const models: Model[] = [];
  for (const factor of FACTORS) {
    // Half of the stories on the GPU, by chance and not by the probe, so that both paths are walked.
    models.push(await world.finish(engine.load(`https://app.test/m${factor}.json`, backend && { backend })));
  }
  const sum = await world.finish(engine.load(SUM_URL, backend && { backend }));
  await world.begin(seed);
  const startsBefore = world.started;
  const outcomes = ask(world, models);
  const streams = STREAMS.map((name) => new Stream(world, name, sum));
  const broken: string[] = [];
  const lanes = engine.stats().lanes.length;
  await world.run(() => {
    const computing = [...world.alive].filter((worker) => worker.computes).length;
    if (computing > lanes) broken.push(`${computing} workers for ${lanes} lanes`);
    return outcomes.every((x) => x.settled > 0) && streams.every((x) => x.isDone);
  }, world.now + END_MS);
  check(outcomes, broken);
  broken.push(...streams.flatMap((x) => x.end(every > 0)));
  if (every === 0) {
    const failed = outcomes.find((x) => !x.answered && !x.cancelled);
    if (failed !== undefined) broken.push(`without a fault a request failed: ${String(failed.error)}`);
    const crashes = engine.stats().lanes.reduce((sum, lane) => sum + lane.crashes, 0);
    if (crashes > 0) broken.push(`${crashes} healthy workers were ended`);
  }
  const startsMax = startsBefore + lanes * 4 + REQUESTS * MAX_ATTEMPTS;
  if (world.started > startsMax) broken.push(`${world.started} workers were started for ${REQUESTS} requests`);
  await end(world, engine, models, broken);
  const count = (is: (x: Outcome) => boolean): number => outcomes.filter(is).length;
  return {
    broken,
    answered: count((x) => x.answered),
    failed: count((x) => !x.answered && !x.cancelled),
    cancelled: count((x) => x.cancelled),
    faults,
  };
}

function ask(world: World, models: readonly Model[]): Outcome[] {
  const { random } = world;
  const outcomes: Outcome[] = [];
  for (let i = 0; i < REQUESTS; i += 1) {
    const outcome: Outcome = { settled: 0, answered: false, error: null, cancelled: false };
    outcomes.push(outcome);
    const which = random.whole(models.length);
    const stop = random.chance(0.1) ? new AbortController() : null;
    const startMs = random.upTo(3_000);
    world.at(startMs, () => {
      run(world, models[which] as Model, FACTORS[which] as number, i, stop, outcome);
    });
    if (stop !== null)
      world.at(startMs + random.upTo(100), () => {
        stop.abort(new Error(`cancel ${i}`));
      });
  }
  for (let i = random.whole(3); i > 0; i -= 1)
    world.at(random.upTo(3_000), () => {
      world.freeze(random.upTo(3_600_000));
    });
  return outcomes;
}

function run(world: World, model: Model, factor: number, i: number, stop: AbortController | null, out: Outcome): void {
  const data = Float32Array.of(i, i + 0.5);
  const options = stop === null ? {} : { signal: stop.signal };
  model.run({ x: { dtype: "float32", dims: [1, 2], data } }, options).then(
    ({ outputs, info }) => {
      out.settled += 1;
      const y = outputs["y"]?.data as Float32Array | undefined;
      out.answered = y?.length === 2 && y[0] === i * factor && y[1] === (i + 0.5) * factor;
      if (!out.answered) out.error = new Error(`request ${i} was answered wrongly: ${String(y)}`);
      if (info.attempts > MAX_ATTEMPTS || info.attempts !== info.history.length)
        out.error = new Error(`request ${i} took ${info.attempts} tries`);
      world.log(`request ${i} answered by ${info.lane} after ${info.attempts}`);
    },
    (error: unknown) => {
      out.settled += 1;
      out.error = error instanceof Error ? error : new Error("something else than an error was thrown");
      out.cancelled = stop?.signal.aborted === true && error === stop.signal.reason;
      world.log(`request ${i} failed: ${String(error)}`);
    },
  );
}

function check(outcomes: readonly Outcome[], broken: string[]): void {
  for (const [i, { settled, answered, cancelled, error }] of outcomes.entries()) {
    if (settled === 0) broken.push(`request ${i} was lost`);
    if (settled > 1) broken.push(`request ${i} was answered ${settled} times`);
    if (answered && error !== null) broken.push(String(error));
    if (!answered && !cancelled && settled > 0 && !isSelvedgeError(error))
      broken.push(`request ${i}: ${String(error)}`);
  }
}

/** After the faults the same models must still answer, and closing must leave nothing behind. */
async function end(world: World, engine: Engine, models: readonly Model[], broken: string[]): Promise<void> {
  world.faults = false;
  await world.run(() => false, world.now + TIMEOUT_MS); // faults that were drawn before still happen
  for (const [i, model] of models.entries()) {
    const outcome: Outcome = { settled: 0, answered: false, error: null, cancelled: false };
    run(world, model, FACTORS[i] as number, 1_000, null, outcome);
    await world.run(() => outcome.settled > 0, world.now + END_MS);
    if (!outcome.answered) broken.push(`after the faults ${model.name} answers no more: ${String(outcome.error)}`);
  }
  const { queued, running } = engine.stats().requests;
  if (queued + running > 0) broken.push(`${queued} queued and ${running} running are left over`);
  await engine.close();
  if (world.alive.size > 0) broken.push(`${world.alive.size} workers were leaked`);
  await world.run(() => false, world.now + END_MS);
  if (world.alive.size > 0) broken.push(`${world.alive.size} workers were leaked later`);
}
