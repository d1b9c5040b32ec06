// One story (a simulated run) from a seed: an engine with lanes, a hundred requests or more of all priorities,
// deadlines and sizes, cancels, frozen tabs, slow lanes and lanes that report wrong times, and a fault at every n-th
// message to a worker; or one caller that awaits each answer, and for a while a second one. Then the invariants are
// checked: no request is lost, answered twice or answered with anything but what it gets alone; none starves, and none
// is rejected beside a lane that was free for it; none runs on the wide lane beside another; no batch mixes shapes; no
// worker is leaked, retries and losses of the GPU are bounded, no healthy worker is ended; a trace's decisions repeat.
// Returns the violations as sentences.
import { createEngine } from "../../create-engine.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Model } from "../../engine/model.ts";
import { LOSS_WINDOW_MS } from "../../pool/gpu-loss-ledger.ts";
import { SPARED_MAX } from "../../engine/dispatcher.ts";
import { MAX_ATTEMPTS } from "../../schedule/recover.ts";
import { Random } from "../random.ts";
import { prepareTraces, traceFrom } from "./replay.ts";
import { SimulatedRequest } from "./requests.ts";
import { Stream } from "./stream.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { BEGIN_MS, World } from "./world.ts";
import type { WorkerFault } from "./world.ts";

const REQUESTS = 100;
const FAULTS: readonly WorkerFault[] = [
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
/** Multiplier of each model; batching makes rows of the first almost free, but not those of the second. */
const FACTORS = [2, 3];
const COSTS = ["together", "apart"] as const;
const PRIORITIES = ["interactive", "normal", "background"] as const;
const AGING_MS = 200;
/** A request of any priority is served after agingMs makes its flow the most urgent and the running batches end. */
const STARVED_MS = 4 * AGING_MS + 500;
/** Limit on how late after its deadline a request that can't meet it is rejected. */
const TOLD_MS = 10;
const SUM_URL = "https://app.test/sum.json";
const STREAMS = ["a", "b"];
/** Requests of the caller that awaits each answer: threads are tried after the first 30 or so. */
const TURNS = 80;
/** Limit on a story's duration: a hundred requests whose every attempt runs into the longest timeout. */
const END_MS = 3 * 3_600_000;
const TIMEOUT_MS = 5_000;
/** Coarse clocks, in ms: those of Firefox and Chromium, of 60 and of 600 Hz, and of a browser that resists fingerprinting. */
const CLOCKS = [0.02, 5 / 3, 0.1, 1_000 / 60, 0.005, 100];
/** Time in which a story makes its requests. */
const ASKED_MS = 3_000;

/** Options of a story. */
export interface SimulateOptions {
  readonly seed: number;
  /** Receives every event, to replay a seed that failed. */
  readonly log?: ((line: string) => void) | undefined;
}

/** Result of a story. */
export interface Story {
  /** Violated invariants; empty if all hold. */
  readonly broken: readonly string[];
  readonly answered: number;
  readonly failed: number;
  readonly cancelled: number;
  /** Rejected or dropped, as their deadlines and a full queue allow. */
  readonly refused: number;
  readonly faults: number;
  readonly runs: number;
  readonly rows: number;
}

/** Runs one story. */
export async function simulate({ seed, log }: SimulateOptions): Promise<Story> {
  const random = new Random(seed);
  // No faults in one story of eight: then no worker may end and no request may fail.
  const every = random.chance(1 / 8) ? 0 : 1 + random.below(30);
  // In one of eight, urgent requests crowd the lanes, and nothing else happens.
  const isCrowded = random.chance(1 / 8);
  const mayFail = every > 0 && !isCrowded;
  // In one of eight of the others, callers await each answer, so that the wide lane is used.
  const isTalk = !isCrowded && seed % 8 === 5;
  const isPaced = mayFail && random.chance(0.5);
  // In one of five clocks are coarse. Sums of their readings are rounded differently about a power of two, so one falls
  // into the requests.
  const isCoarse = seed % 10 === 4 || seed % 10 === 6;
  const clockMs = isCoarse ? (CLOCKS[Math.floor(seed / 10) % CLOCKS.length] as number) : 0;
  const uptimeMs = isCoarse ? 2 ** (17 + (seed % 19)) - BEGIN_MS - ((997 * seed) % ASKED_MS) : 0;
  let messages = 0;
  let faults = 0;
  const files = new Map<string, string>([["https://app.test/" + TOY_CHUNK.path, TOY_CHUNK.content]]);
  for (const [i, factor] of FACTORS.entries())
    files.set(`https://app.test/m${factor}.json`, toyBundle(`m${factor}`, factor, COSTS[i]));
  files.set(SUM_URL, toyBundle("sum", null));
  const world = new World({
    random,
    gpu: random.chance(0.7) && !isCrowded && !isTalk ? GPU : null,
    cores: isCrowded ? 1 : 1 + random.below(4),
    isolated: isTalk || seed % 2 === 0,
    files,
    createBackend: createToyBackend,
    drawFault: () => {
      messages += 1;
      if (!mayFail || messages % every !== 0) return null;
      faults += 1;
      return random.pick(FAULTS);
    },
    drawPace: () => (isPaced && random.chance(0.3) ? [random.pick([1, 4, 15]), random.pick([0.1, 1, 10])] : [1, 1]),
    ...(isCoarse ? { clockMs, uptimeMs } : {}),
    log: log ?? null,
  });
  const maxSize = random.chance(0.2) ? 20 : 100_000;
  const queue = { maxSize };
  const engine = await createEngine({
    effects: world.effects,
    callTimeoutMs: TIMEOUT_MS,
    idleMs: 2_000,
    agingMs: AGING_MS,
    queue,
    ...(isCrowded ? { workers: 1 } : {}),
  });
  const backend = world.random.chance(0.5) && engine.device.gpu !== null ? "webgpu" : undefined;
  const models: Model[] = [];
  for (const factor of FACTORS) {
    const batching = isCrowded
      ? { maxBatchSize: 4 }
      : random.pick([undefined, { maxBatchSize: 4 }, { maxQueueDelayMs: 5 }]);
    // Half of the stories use the GPU, by chance and not by the probe, so that both paths are covered.
    models.push(await world.finish(engine.load(`https://app.test/m${factor}.json`, { backend, batching })));
  }
  const sum = await world.finish(engine.load(SUM_URL, { backend }));
  await prepareTraces();
  await world.begin(seed);
  const decidedOtherwise = random.chance(1 / 8) ? traceFrom(world, engine, random.upTo(1_500)) : null;
  const startsBefore = world.started;
  const freezes = isCrowded ? 0 : random.below(3);
  // Some tabs are hidden all the while.
  if (random.chance(0.5)) world.clampMs = 1_000;
  for (let i = 0; i < freezes; i += 1)
    world.at(random.upTo(3_000), () => {
      world.freeze(random.upTo(3_600_000));
    });
  const requests = isCrowded
    ? crowd(world, engine, models)
    : isTalk
      ? talk(world, engine, models)
      : ask(world, engine, models, !mayFail && freezes === 0, clockMs);
  const streams = isCrowded || isTalk ? [] : STREAMS.map((name) => new Stream(world, name, sum));
  const broken: string[] = [];
  const lanes = engine.stats().lanes.length;
  await world.run(() => {
    const computing = [...world.alive].filter((worker) => worker.computes).length;
    if (computing > lanes) broken.push(`${computing} workers for ${lanes} lanes`);
    return requests.every((x) => x.settled > 0) && streams.every((x) => x.isDone);
  }, world.now + END_MS);
  if (world.isHung) broken.push(...world.wrong);
  else {
    broken.push(...requests.flatMap((x) => x.check()), ...world.wrong, ...wideBesideOthers(requests));
    broken.push(...streams.flatMap((x) => x.end(mayFail)));
    if (isCrowded) broken.push(...starved(requests));
    // A request that a lane failed was on time until then.
    if (!mayFail && freezes === 0) broken.push(...toldLate(requests, TOLD_MS + clockMs));
    if (!mayFail) {
      const failed = requests.find((x) => !x.answered && !x.cancelled && !x.refused);
      if (failed !== undefined) broken.push(`without a fault ${failed.asked.name} failed: ${String(failed.error)}`);
      const crashes = engine.stats().lanes.reduce((total, lane) => total + lane.crashes, 0);
      if (crashes > 0) broken.push(`${crashes} healthy workers were ended`);
    }
    // Failed starts beside a lane that holds or loads the model cost a request no attempt, up to SPARED_MAX.
    const startsMax = startsBefore + lanes * 4 + requests.length * (MAX_ATTEMPTS + SPARED_MAX);
    if (world.started > startsMax) broken.push(`${world.started} workers were started for ${requests.length} requests`);
    await end(world, engine, models, broken);
    broken.push(...overBudget(world.gpuLosses));
    const difference = (await decidedOtherwise?.()) ?? null;
    if (difference !== null) broken.push(`a trace's decisions differ on replay: ${difference}`);
  }
  const count = (is: (x: SimulatedRequest) => boolean): number => requests.filter(is).length;
  return {
    broken,
    answered: count((x) => x.answered),
    failed: count((x) => !x.answered && !x.cancelled && !x.refused),
    cancelled: count((x) => x.cancelled),
    refused: count((x) => x.refused),
    faults,
    runs: world.runs,
    rows: world.rows,
  };
}

/** Requests of all kinds, at random times. */
function ask(
  world: World,
  engine: Engine,
  models: readonly Model[],
  isCalm: boolean,
  clockMs: number,
): SimulatedRequest[] {
  const { random } = world;
  /** A deadline that the clock can show, so that a latest start may be one of its readings. */
  const shown = (ms: number): number => (clockMs === 0 ? ms : Math.ceil(ms / clockMs) * clockMs);
  let [which, startMs, dims] = [0, 0, [1, 2] as readonly [number, number]];
  return Array.from({ length: REQUESTS }, (_, i) => {
    const stop = random.chance(0.2) ? new AbortController() : null;
    // Now and then an identical request follows at once; both must share one run.
    if (i === 0 || !random.chance(0.2)) {
      which = random.below(models.length);
      startMs = random.upTo(ASKED_MS);
      dims = [random.chance(0.8) ? 1 : 2 + random.below(3), random.chance(0.8) ? 2 : 3];
    }
    const request = new SimulatedRequest(world, {
      name: `request ${i}`,
      model: models[which] as Model,
      factor: FACTORS[which] as number,
      dims,
      options: {
        priority: random.pick(PRIORITIES),
        deadlineMs: random.chance(0.4) ? shown(random.pick([40, 120, 500, 5_000])) : undefined,
        onLate: random.chance(0.2) ? "finish" : undefined,
        preempt: random.chance(0.2),
      },
      stop,
    });
    world.at(startMs, () => {
      void request.call(engine, isCalm);
    });
    if (stop !== null)
      world.at(startMs + random.upTo(100), () => {
        stop.abort(new Error(`cancel ${i}`));
      });
    return request;
  });
}

/** More urgent requests than the single lane can take, for three seconds, and now and then one that is not urgent. */
function crowd(world: World, engine: Engine, models: readonly Model[]): SimulatedRequest[] {
  const requests: SimulatedRequest[] = [];
  for (let atMs = 0; atMs < 3_000; atMs += 12) {
    const isPatient = atMs % 996 === 0;
    const request = new SimulatedRequest(world, {
      name: `${isPatient ? "patient" : "urgent"} request at ${atMs} ms`,
      model: models[isPatient ? 0 : 1] as Model,
      factor: FACTORS[isPatient ? 0 : 1] as number,
      dims: [1, 2],
      options: { priority: isPatient ? world.random.pick(["normal", "background"] as const) : "interactive" },
      stop: null,
    });
    requests.push(request);
    world.at(atMs, () => {
      void request.call(engine, false);
    });
  }
  return requests;
}

/** A caller that awaits each answer, and a second one that does the same for a while. */
function talk(world: World, engine: Engine, models: readonly Model[]): SimulatedRequest[] {
  const { random } = world;
  return [
    { atMs: 0, turns: TURNS },
    { atMs: 500 + random.upTo(1_500), turns: TURNS / 4 },
  ].flatMap(({ atMs, turns }, i) => {
    const requests = Array.from({ length: turns }, (_, turn) => {
      const name = `turn ${turn} of caller ${i}`;
      const [model, factor] = [models[i] as Model, FACTORS[i] as number];
      return new SimulatedRequest(world, { name, model, factor, dims: [1, 2], options: {}, stop: null });
    });
    const next = (turn: number): void => {
      void requests[turn]?.call(engine, false).then(() => {
        world.at(random.chance(0.5) ? 0 : random.upTo(20), () => {
          next(turn + 1);
        });
      });
    };
    world.at(atMs, () => {
      next(0);
    });
    return requests;
  });
}

/** A request that arrived during another one shares the cores with it, so it does not belong on the wide lane. */
function wideBesideOthers(requests: readonly SimulatedRequest[]): string[] {
  return requests
    .filter(({ lane, calledMs }) => {
      const isUnderWay = (x: SimulatedRequest): boolean => x.calledMs < calledMs && x.settledMs > calledMs;
      return lane === "wasm-wide" && requests.some(isUnderWay);
    })
    .map(({ asked }) => `${asked.name} ran on the wide lane beside others`);
}

function starved(requests: readonly SimulatedRequest[]): string[] {
  return requests
    .filter(({ asked, settledMs, calledMs }) => asked.name.startsWith("patient") && settledMs - calledMs > STARVED_MS)
    .map(({ asked, settledMs, calledMs }) => `${asked.name} starved for ${Math.round(settledMs - calledMs)} ms`);
}

/** A request that can't meet its deadline is rejected once that is clear, in a hidden tab too. */
function toldLate(requests: readonly SimulatedRequest[], toldMs: number): string[] {
  return requests
    .filter(({ refused, asked: { options }, calledMs, settledMs }) => {
      const { deadlineMs = Infinity } = options;
      return refused && settledMs - calledMs > deadlineMs + toldMs;
    })
    .map(({ asked, settledMs, calledMs }) => `${asked.name} was rejected late: after ${settledMs - calledMs} ms`);
}

/** Browsers take the GPU away after the second loss within a window, so no window may have a third. */
function overBudget(losses: readonly number[]): string[] {
  return losses
    .filter((at, i) => at - (losses[i - 2] ?? -Infinity) < LOSS_WINDOW_MS)
    .map((at) => `the GPU was lost three times within ${LOSS_WINDOW_MS} ms, the last at ${at}`);
}

/** After the faults the same models must still answer, and closing must leave nothing behind. */
async function end(world: World, engine: Engine, models: readonly Model[], broken: string[]): Promise<void> {
  world.faults = false;
  // Faults drawn earlier still happen; then the GPU has no faults for a while.
  let isOver = false;
  world.at(TIMEOUT_MS + LOSS_WINDOW_MS, () => {
    isOver = true;
  });
  await world.run(() => isOver, Infinity);
  for (const [i, model] of models.entries()) {
    const name = `request after the faults to ${model.name}`;
    const factor = FACTORS[i] as number;
    const request = new SimulatedRequest(world, { name, model, factor, dims: [1, 2], options: {}, stop: null });
    void request.call(engine, false);
    await world.run(() => request.settled > 0, world.now + END_MS);
    if (!request.answered) broken.push(`after the faults ${model.name} answers no more: ${String(request.error)}`);
  }
  const { queued, running } = engine.stats().requests;
  if (queued + running > 0) broken.push(`${queued} queued and ${running} running are left over`);
  await engine.close();
  if (world.alive.size > 0) broken.push(`${world.alive.size} workers were leaked`);
  await world.run(() => false, world.now + END_MS);
  if (world.alive.size > 0) broken.push(`${world.alive.size} workers were leaked later`);
}
