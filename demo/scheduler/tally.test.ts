import { expect, test } from "vitest";
import { CLASSES } from "./classes.ts";
import type { Class, Settled } from "./classes.ts";
import { Tally } from "./tally.ts";

const [camera, fraud] = CLASSES as [Class, Class];
const settled = (of: Class, calledMs: number, ms: number, outcome: Settled["outcome"] = "answered"): Settled => {
  return { of, calledMs, endMs: calledMs + ms, outcome, ran: null, why: "" };
};

test("counts on-time, late and rejected requests by class, over the last seconds only", () => {
  const tally = new Tally(1_000);
  tally.add(settled(camera, 0, 5)); // too long ago
  tally.add(settled(camera, 1_000, 5));
  tally.add(settled(camera, 1_000, 15));
  tally.add(settled(camera, 1_000, 1, "refused"));
  tally.add(settled(fraud, 1_000, 99));
  tally.add(settled(fraud, 1_000, 5_000)); // not settled yet
  const counts = tally.counts(1_200);
  expect(counts.get(camera)).toEqual({ asked: 3, onTime: 1, refused: 1, p99Ms: 15 });
  expect(counts.get(fraud)).toEqual({ asked: 1, onTime: 1, refused: 0, p99Ms: 99 });
  tally.clear();
  expect(tally.counts(1_200).get(fraud)).toEqual({ asked: 0, onTime: 0, refused: 0, p99Ms: null });
});
