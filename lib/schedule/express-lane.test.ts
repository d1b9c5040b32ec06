// The express lane: kept free for short steps with short deadlines.
import { expect, test } from "vitest";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";

/** A time of arrival, and a deadline so many ms later. */
const at = (arrivedMs: number, deadlineMs = Infinity) => ({ arrivedMs, dueMs: arrivedMs + deadlineMs });

test("it takes a step that is due soon from behind one of a higher priority that is not (sched-hidden)", () => {
  const express = lane("wasm-express", [1, 2], { kind: "express" });
  const stage = new Stage([lane("wasm-0", [1, 2]), express], (model) => (model === 1 ? 1 : 50));
  stage.teach(1, [1]);
  stage.teach(2, [1]);
  stage.arrives(step(999, at(0, 10)));
  for (let i = 0; i < 10; i += 1) stage.arrives(step(i, { model: 2, ...at(2) }));
  stage.arrives(step(100, { priority: 0, ...at(3, 2_000) }));
  for (let i = 0; i < 10; i += 1) stage.arrives(step(1_000 + i, at(4 + 5 * i, 10)));
  stage.play();
  expect(stage.rejected.size).toBe(0);
});

test.each([
  ["first run", 0.5],
  ["runs for a second", 1],
  ["runs for half a minute", 30],
])("an express lane whose %s took long is tried again within 10 s (sched-express)", (_, slowSeconds) => {
  let now = (): number => 0;
  const express = lane("wasm-express", [1, 2], { kind: "express" });
  const stage = new Stage([lane("wasm-0", [1, 2]), express], (model, _rows, where) => {
    if (model === 2) return 50;
    return where === "wasm-express" && now() < 1_000 * slowSeconds ? 9 : 1;
  });
  now = () => stage.now;
  stage.teach(1, [1]);
  stage.teach(2, [1]);
  for (let i = 0; i < 2_000; i += 1) stage.arrives(step(i, { model: 2, ...at(50 * i) }));
  for (let i = 0; i < 1_000; i += 1) stage.arrives(step(10_000 + i, at(1 + 100 * i, 10)));
  stage.play();
  const late = [...stage.rejected].filter(([id]) => id > 10_000 + 10 * (slowSeconds + 10));
  expect(late.length).toBe(0);
});
