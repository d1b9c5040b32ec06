import fc from "fast-check";
import { expect, test } from "vitest";
import { calibrateCascade, measureCascade } from "./calibrate-cascade.ts";
import type { CascadeSample } from "./calibrate-cascade.ts";

/** Few values, so that samples share a confidence, 0 and 1 among them. */
const SAMPLES = fc.array(
  fc.record({
    confidence: fc.integer({ min: 0, max: 20 }).map((x) => x / 20),
    isLocalRight: fc.boolean(),
    isRemoteRight: fc.boolean(),
  }),
  { minLength: 1, maxLength: 60 },
);
const SHARE = fc.integer({ min: 0, max: 20 }).map((x) => x / 20);

/** Every threshold that differs in its effect. */
const thresholds = (samples: readonly CascadeSample[]): number[] => [0, ...samples.map((x) => x.confidence), 1];

test("no threshold that sends at most the target share sends more, and none that is allowed exceeds it", () => {
  fc.assert(
    fc.property(SAMPLES, SHARE, (samples, share) => {
      const found = calibrateCascade(samples, { share });
      expect(found.share.value).toBeLessThanOrEqual(share);
      for (const other of thresholds(samples)) {
        const { value } = measureCascade(samples, other).share;
        if (value <= share) expect(value).toBeLessThanOrEqual(found.share.value);
      }
    }),
  );
});

test("the lowest threshold that reaches the target agreement is chosen, and 1 where none does", () => {
  fc.assert(
    fc.property(SAMPLES, SHARE, (samples, agreement) => {
      const found = calibrateCascade(samples, { agreement });
      const reached = thresholds(samples).filter((x) => measureCascade(samples, x).agreement.value >= agreement);
      const least = Math.min(...reached.map((x) => measureCascade(samples, x).share.value));
      if (reached.length > 0) expect(found.share.value).toBe(least);
      else expect(found.share.value).toBe(measureCascade(samples, 1).share.value);
      expect(found.agreement.value >= agreement).toBe(reached.length > 0);
    }),
  );
});

test("the effect is what the option does: answers below the threshold are the larger model's", () => {
  fc.assert(
    fc.property(SAMPLES, SHARE, (samples, escalateBelow) => {
      const { count, share, agreement, accuracy } = measureCascade(samples, escalateBelow);
      const kept = samples.filter(({ confidence }) => confidence >= escalateBelow);
      const sent = samples.filter(({ confidence }) => confidence < escalateBelow);
      expect(count).toBe(kept.length + sent.length);
      expect(share.value * count).toBeCloseTo(sent.length);
      const right = kept.filter((x) => x.isLocalRight).length + sent.filter((x) => x.isRemoteRight).length;
      expect(accuracy.value * count).toBeCloseTo(right);
      const alike = kept.filter((x) => x.isLocalRight === x.isRemoteRight).length + sent.length;
      expect(agreement.value * count).toBeCloseTo(alike);
      for (const { value, low, high } of [share, agreement, accuracy]) {
        expect(low).toBeGreaterThanOrEqual(0);
        expect(low).toBeLessThanOrEqual(value + 1e-12);
        expect(high).toBeGreaterThanOrEqual(value - 1e-12);
        expect(high).toBeLessThanOrEqual(1);
      }
    }),
  );
});

test("the order of the samples does not matter, and more of them make the interval narrower", () => {
  fc.assert(
    fc.property(SAMPLES, SHARE, (samples, share) => {
      const found = calibrateCascade(samples, { share });
      expect(calibrateCascade([...samples].reverse(), { share })).toEqual(found);
      const { accuracy } = measureCascade([...samples, ...samples, ...samples], found.escalateBelow);
      expect(accuracy.value).toBeCloseTo(found.accuracy.value);
      expect(accuracy.high - accuracy.low).toBeLessThan(found.accuracy.high - found.accuracy.low);
    }),
  );
});

test("the interval is Wilson's", () => {
  const samples = Array.from({ length: 100 }, (_, i) => ({
    ...{ confidence: 0.5, isLocalRight: i < 90, isRemoteRight: true },
  }));
  const { accuracy, agreement } = measureCascade(samples, 0);
  expect(accuracy.value).toBe(0.9);
  expect(accuracy.low).toBeCloseTo(0.8256, 4);
  expect(accuracy.high).toBeCloseTo(0.9448, 4);
  expect(agreement).toEqual(accuracy);
});

test("what is no share or no confidence is named", () => {
  const sample = { confidence: 0.5, isLocalRight: true, isRemoteRight: true };
  expect(() => calibrateCascade([], { share: 0.1 })).toThrow(/^samples: expected at least one/);
  expect(() => calibrateCascade([sample], { share: 1.1 })).toThrow(/^share: /);
  expect(() => calibrateCascade([sample], { agreement: Number.NaN })).toThrow(/^agreement: /);
  expect(() => measureCascade([{ ...sample, confidence: 2 }], 0.5)).toThrow(/^samples: expected confidences/);
  expect(() => measureCascade([sample], -1)).toThrow(/^escalateBelow: /);
});
