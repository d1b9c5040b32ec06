import { expect, test } from "vitest";
import { fitBaseline } from "./baseline.ts";
import { fitLinear } from "./linear.ts";

const texts = [
  "free money now",
  "free prize money",
  "meeting on monday",
  "notes of the meeting",
  "money for the prize",
];
const isSpam = [true, true, false, false, true];

test("training texts are classified correctly, and words have the sign of their class", () => {
  const counts = texts.map((x) => new Map(x.split(" ").map((word) => [word, 1])));
  const { score, feature } = fitLinear(counts, isSpam);
  expect(counts.map((x) => score(x) > 0)).toEqual(isSpam);
  expect(feature("money")?.weight).toBeGreaterThan(0);
  expect(feature("meeting")?.weight).toBeLessThan(0);
  expect(feature("monday")).toBeUndefined(); // only one text has it
});

test("at the optimum each text's share in the weights is its cost times its remaining error", () => {
  const counts = [new Map([["a", 1]]), new Map([["a", 1]]), new Map([["b", 1]]), new Map([["b", 1]])];
  const { score, feature, bias } = fitLinear(counts, [true, true, false, false], 1);
  const [odds = 0] = counts.map(score);
  const wrong = 1 / (1 + Math.exp(odds));
  expect(feature("a")?.weight).toBeCloseTo(2 * wrong, 4);
  expect(bias).toBeCloseTo(0, 4);
});

test("the baseline uses word pairs", () => {
  const pairs = ["not good", "not good", "good not", "good not"];
  const score = fitBaseline(pairs, [true, true, false, false]);
  expect(pairs.map((x) => score(x) > 0)).toEqual([true, true, false, false]);
});
