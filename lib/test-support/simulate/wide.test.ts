// The wide lane in an engine: whether it exists, its worker and its threads, and the fallback where those can't start.
import { expect, test } from "vitest";
import { createEngine } from "../../create-engine.ts";
import type { Engine } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/options.ts";
import { Random } from "../random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { World } from "./world.ts";

const URL_OF_BUNDLE = "https://app.test/m.json";

interface Scene {
  readonly world: World;
  readonly engine: Engine;
  /** Number of threads of each worker, in order of their starts. */
  readonly threads: number[];
  /** Each caller makes this many sequential requests; returns which lanes answered, or "wrong". */
  readonly talk: (turns: number, callers?: number) => Promise<string[]>;
}

async function scene(
  options: EngineOptions = {},
  {
    cores = 3,
    isolated = true,
    canThread = true,
  }: Partial<Record<"isolated" | "canThread", boolean>> & {
    readonly cores?: number;
  } = {},
): Promise<Scene> {
  const threads: number[] = [];
  const world = new World({
    random: new Random(7),
    ...{ gpu: null, cores, isolated, drawFault: () => null, log: null },
    files: new Map([
      ["https://app.test/" + TOY_CHUNK.path, TOY_CHUNK.content],
      [URL_OF_BUNDLE, toyBundle("m", 2)],
    ]),
    createBackend: (world, worker) => {
      const backend = createToyBackend(world, worker);
      const { start } = backend;
      backend.start = (given) => {
        threads.push(given.threads);
        return given.threads > 1 && !canThread ? Promise.reject(new Error("no threads here")) : start(given);
      };
      return backend;
    },
  });
  const engine = await createEngine({ effects: world.effects, idleMs: 10_000, ...options });
  const model = await world.finish(engine.load(URL_OF_BUNDLE));
  const caller = async (turns: number, from: number): Promise<string[]> => {
    const lanes: string[] = [];
    for (let i = from; i < from + turns; i += 1) {
      const x = { dtype: "float32", dims: [1, 2], data: Float32Array.of(i, i) } as const;
      const { outputs, info } = await model.run({ x });
      lanes.push(outputs["y"]?.data[0] === 2 * i && info.attempts === 1 ? info.lane : "wrong");
    }
    return lanes;
  };
  // Identical requests in flight would share one run.
  const talk = async (turns: number, callers = 1): Promise<string[]> => {
    const all = Array.from({ length: callers }, (_, i) => caller(turns, 1_000 * i));
    return (await world.finish(Promise.all(all))).flat();
  };
  return { world, engine, threads, talk };
}

const ids = ({ engine }: Scene): string[] => engine.stats().lanes.map(({ id }) => id);
const wideOf = ({ engine }: Scene) => engine.stats().lanes.find(({ id }) => id === "wasm-wide");

test("there is one where the page is isolated, the device has cores for it, and the app did not share them out", async () => {
  expect(ids(await scene())).toContain("wasm-wide");
  expect(ids(await scene({}, { isolated: false }))).not.toContain("wasm-wide");
  expect(ids(await scene({}, { cores: 1 }))).not.toContain("wasm-wide");
  expect(ids(await scene({ workers: 3 }))).not.toContain("wasm-wide");
  expect(ids(await scene({ threads: 1 }))).not.toContain("wasm-wide");
});

test("it starts for a single stream, with a thread a core and eight at most, and idles out like others", async () => {
  const it = await scene({}, { cores: 12 });
  expect(it.threads).toEqual([1]);
  const lanes = await it.talk(60);
  expect(lanes.slice(0, 9)).not.toContain("wasm-wide");
  expect(new Set(lanes.slice(40))).toEqual(new Set(["wasm-wide"]));
  expect(it.threads).toEqual([1, 8]);
  expect(wideOf(it)).toMatchObject({ state: "idle", starts: 1, crashes: 0 });
  await it.world.run(() => false, it.world.now + 20_000);
  expect(wideOf(it)?.state).toBe("off");
  expect(await it.talk(5)).not.toContain("wrong");
});

test("loading a model there has a cost of its own", async () => {
  const it = await scene();
  await import("../../observe/recorder.ts");
  const tracing = it.engine.trace({ seconds: 600 });
  expect(await it.talk(60)).toContain("wasm-wide");
  await it.engine.close();
  const told = JSON.stringify((await tracing).selvedge.told);
  expect(told).toContain('"type":"warm"');
  expect(told).not.toContain('"type":"loaded"');
});

test("two callers at once use the other lanes", async () => {
  const it = await scene();
  expect(await it.talk(60, 2)).not.toContain("wrong");
  expect(wideOf(it)?.runs).toBe(0);
});

test("where threads can't start nothing is lost or tried again, and they are not asked to any more", async () => {
  const it = await scene({}, { canThread: false });
  const lanes = await it.talk(300);
  expect(new Set(lanes)).toEqual(new Set(["wasm-0"]));
  await it.world.run(() => false, it.world.now + 3_600_000);
  await it.talk(60);
  expect(it.threads.filter((count) => count > 1)).toHaveLength(1);
  expect(wideOf(it)).toMatchObject({ state: "off", starts: 1, runs: 0 });
});
