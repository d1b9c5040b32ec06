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

/** Returns the ids of short steps, one each 100 ms, that miss their deadline beside long work for each usual lane. */
function missed(expressMs: (now: number) => number, usual: readonly string[] = ["wasm-0"]): number[] {
  let now = (): number => 0;
  const express = lane("wasm-express", [1, 2], { kind: "express" });
  const stage = new Stage([...usual.map((id) => lane(id, [1, 2])), express], (model, _rows, where) => {
    if (model === 2) return 50;
    return where === "wasm-express" ? expressMs(now()) : 1;
  });
  now = () => stage.now;
  stage.teach(1, [1]);
  stage.teach(2, [1]);
  for (let i = 0; i < 2_000 * usual.length; i += 1)
    stage.arrives(step(10_000 + i, { model: 2, ...at((50 * i) / usual.length) }));
  const steps = Array.from({ length: 1_000 }, (_, i) => step(i, at(1 + 100 * i, 10)));
  for (const each of steps) stage.arrives(each);
  stage.play();
  return steps.filter(({ id, dueMs }) => (stage.fates.get(id)?.endMs ?? Infinity) > dueMs).map(({ id }) => id);
}

test.each([
  ["first run", 0.5, 9],
  ["first run, with a pause of the page,", 0.2, 500],
  ["runs for a second", 1, 30],
  ["runs for half a minute", 30, 30],
])("an express lane whose %s took long is in use again within 21 s (sched-express)", (_, slowSeconds, slowMs) => {
  const late = missed((now) => (now < 1_000 * slowSeconds ? slowMs : 1));
  expect(late.filter((id) => id > 10 * (slowSeconds + 21))).toEqual([]);
});

test("an express lane that is too slow costs a short step in 10 s, where another lane has room (sched-express)", () => {
  const late = missed(() => 30, ["wasm-0", "wasm-1"]);
  expect(late.length).toBeLessThanOrEqual(11);
});
