// Out of memory, in the simulated world.
import { expect, test } from "vitest";
import { createEngine } from "../../create-engine.ts";
import { Random } from "../random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { World } from "./world.ts";
import type { Fault } from "./world.ts";

const BASE = "https://app.test/";

test("where a worker runs out of memory its work is run again, and idle workers give theirs back", async () => {
  const faults: Fault[] = [];
  const world = new World({
    random: new Random(1),
    gpu: null,
    cores: 2,
    files: new Map([
      [`${BASE}${TOY_CHUNK.path}`, TOY_CHUNK.content],
      [`${BASE}double.json`, toyBundle("double", 2)],
    ]),
    createBackend: createToyBackend,
    drawFault: () => faults.shift() ?? null,
    log: null,
  });
  const engine = await createEngine({ effects: world.effects, workers: 2 });
  const model = await world.finish(engine.load(`${BASE}double.json`, { batching: false }));
  const run = (value: number) =>
    model.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(value, value) } });
  const up = (): number => engine.stats().lanes.filter(({ state }) => state !== "off").length;
  await world.finish(Promise.all([run(1), run(2), run(3), run(4)]));
  expect(up()).toBe(2);
  world.faults = true;
  faults.push("out-of-memory");
  const { outputs, info } = await world.finish(run(5));
  expect(outputs["y"]?.data[0]).toBe(10);
  expect(info.attempts).toBe(2);
  expect(up()).toBe(1);
  await engine.close();
});
