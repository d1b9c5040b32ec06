import fc from "fast-check";
import { expect, test } from "vitest";
import { assign } from "./assign.ts";
import type { StatePlace } from "./assign.ts";

const lane = (id: string, backend: string, free: boolean, models: number[] = [], marks: number[] = []) => ({
  id,
  backend,
  free,
  holds: (modelId: number) => models.includes(modelId),
  stateCount: marks.length,
  keeps: (modelId: number, { after }: StatePlace) => models.includes(modelId) && marks.includes(after),
});
const step = (id: number, backend: string, modelId = 1) => ({ id, modelId, backend });
const shown = (decisions: ReturnType<typeof assign>): string[] => decisions.map((x) => `${x.step.id}@${x.lane.id}`);

test("the oldest steps start first, one on each free lane", () => {
  const lanes = [lane("a", "wasm", true), lane("b", "wasm", false), lane("c", "wasm", true)];
  expect(shown(assign([step(1, "wasm"), step(2, "wasm"), step(3, "wasm")], lanes))).toEqual(["1@a", "2@c"]);
});

test("a step goes to a lane that holds its model before one that must load it", () => {
  const lanes = [lane("a", "wasm", true), lane("b", "wasm", true, [7])];
  expect(shown(assign([step(1, "wasm", 7)], lanes))).toEqual(["1@b"]);
});

test("a step that must wait for its backend does not hold up one that need not", () => {
  const lanes = [lane("g", "webgpu", false), lane("w", "wasm", true)];
  expect(shown(assign([step(1, "webgpu"), step(2, "wasm")], lanes))).toEqual(["2@w"]);
});

test("a step of a state waits for the lane that keeps it, and holds nobody up", () => {
  const lanes = [lane("a", "wasm", true, [1]), lane("b", "wasm", false, [1], [7])];
  const bound = { ...step(1, "wasm"), state: { id: 3, after: 7 } };
  expect(shown(assign([bound, step(2, "wasm")], lanes))).toEqual(["2@a"]);
  expect(shown(assign([bound], [lanes[0]!, lane("b", "wasm", true, [1], [7])]))).toEqual(["1@b"]);
});

test("a state that no lane keeps as it was left goes to the lane with the fewest", () => {
  const lanes = [lane("a", "wasm", true, [1], [5, 6]), lane("b", "wasm", true, [], [4]), lane("c", "wasm", false)];
  expect(shown(assign([{ ...step(1, "wasm"), state: { id: 3, after: 7 } }], lanes))).toEqual(["1@b"]);
});

test("no lane gets two steps, no step two lanes, and nothing waits that could start", () => {
  const backends = fc.constantFrom("webgpu", "wasm");
  fc.assert(
    fc.property(
      fc.array(fc.tuple(backends, fc.integer({ min: 1, max: 3 })), { maxLength: 20 }),
      fc.array(fc.tuple(backends, fc.boolean()), { maxLength: 6 }),
      (queue, places) => {
        const steps = queue.map(([backend, modelId], id) => step(id, backend, modelId));
        const lanes = places.map(([backend, free], id) => lane(String(id), backend, free, [id % 3]));
        const decisions = assign(steps, lanes);
        const used = decisions.map((x) => x.lane.id);
        expect(new Set(used).size).toBe(used.length);
        expect(decisions.every((x) => x.lane.free && x.lane.backend === x.step.backend)).toBe(true);
        for (const backend of ["webgpu", "wasm"]) {
          const could = Math.min(
            steps.filter((x) => x.backend === backend).length,
            lanes.filter((x) => x.backend === backend && x.free).length,
          );
          const started = decisions.filter((x) => x.step.backend === backend).map((x) => x.step.id);
          expect(started).toEqual(
            steps
              .filter((x) => x.backend === backend)
              .slice(0, could)
              .map((x) => x.id),
          );
        }
      },
    ),
  );
});
