// Three classes of deadlines at once, on two lanes and an express lane, on a simulated clock: the load of the benchmark
// in real browsers, without their noise.
import { expect, test } from "vitest";
import { Random } from "../test-support/random.ts";
import { lane, Stage, step } from "../test-support/schedule-fixtures.ts";

const FAST = { model: 1, deadlineMs: 10 };
const CLASSES = [FAST, { model: 2, deadlineMs: 100 }, { model: 2, deadlineMs: 200 }] as const;
/** Cost in ms of ten requests of the mix that arrive at once: one of the first class, three and six of the others. */
const TEN_MS = 0.65 + 9 * (1.2 / 24 + 0.28);
const LANES = 2;

/** Plays the mix at a share of that load, on lanes that take so many times the learned cost. */
function play(share: number, slower = 1, untilMs = 700) {
  const random = new Random(7);
  let factor = 1;
  const cost = (model: number, rows: number): number =>
    factor *
    ((model === 1 ? 0.3 + 0.35 * rows : 1.2 + 0.28 * rows) * (0.95 + 0.2 * random.next()) +
      (random.chance(0.01) ? 3 : 0));
  const models = [1, 2];
  const express = lane("wasm-express", models, { kind: "express" });
  const stage = new Stage([lane("wasm-0", models), lane("wasm-1", models), express], cost);
  for (const model of models) stage.teach(model, [1, 2, 4, 8, 16, 32, 64]);
  factor = slower;
  const rate = (share * LANES * 10) / TEN_MS; // in requests per ms
  const asked: { readonly at: number; readonly which: number }[] = [];
  for (let at = 0; at < untilMs; at += -Math.log(1 - random.next()) / rate) {
    const turn = (asked.length * 7) % 10;
    const which = turn < 1 ? 0 : turn < 4 ? 1 : 2;
    const { model, deadlineMs } = CLASSES[which] ?? FAST;
    stage.arrives(step(asked.length, { model, shape: "a", arrivedMs: at, dueMs: at + deadlineMs }));
    asked.push({ at, which });
  }
  stage.play();
  const onTime = CLASSES.map(({ deadlineMs }, which) => {
    const own = [...asked.entries()].filter(([, x]) => x.which === which);
    const made = own.filter(([id, { at }]) => (stage.fates.get(id)?.endMs ?? Infinity) <= at + deadlineMs);
    return made.length / own.length;
  });
  const waitedMs = Math.max(...[...stage.rejected].map(([id, { atMs }]) => atMs - (asked[id]?.at ?? 0)));
  return { onTime, waitedMs };
}

test("at nine tenths of what the lanes can do, each class is on time", () => {
  expect(Math.min(...play(0.9).onTime)).toBeGreaterThanOrEqual(0.99);
});

test("at twice that most deadlines are still met, the shortest too, and no request waits past its deadline", () => {
  const { onTime, waitedMs } = play(2);
  expect(onTime[0]).toBeGreaterThanOrEqual(0.6);
  expect((onTime[0] as number) + 3 * (onTime[1] as number) + 6 * (onTime[2] as number)).toBeGreaterThan(6);
  expect(waitedMs).toBeLessThanOrEqual(201);
});

test("the same holds where lanes are slower than learned, once that is measured", () => {
  const { onTime, waitedMs } = play(2, 1.5, 1_200);
  expect((onTime[0] as number) + 3 * (onTime[1] as number) + 6 * (onTime[2] as number)).toBeGreaterThan(4);
  expect(waitedMs).toBeLessThanOrEqual(201);
});
