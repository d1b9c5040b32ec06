import fc from "fast-check";
import { expect, test } from "vitest";
import { quantile as ofPackage } from "../lib/core/quantile.ts";
import { quantile } from "./quantile.ts";

const values = fc.array(fc.double({ min: 0.01, max: 5000, noNaN: true }), { maxLength: 80 });

test("the quantile of the demo is that of the package", () => {
  fc.assert(
    fc.property(values, fc.constantFrom(0.5, 0.95, 0.99, 1), (samples, q) => {
      expect(quantile(samples, q)).toBe(ofPackage(samples, q));
    }),
  );
});
