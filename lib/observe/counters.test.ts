import fc from "fast-check";
import { expect, test } from "vitest";
import { PRIORITIES } from "../schedule/events.ts";
import { Counters } from "./counters.ts";

const settled = fc.record({
  of: fc.constantFrom(...PRIORITIES),
  outcome: fc.constantFrom("done" as const, "failed" as const, "rejected" as const, "cancelled" as const),
  ms: fc.double({ min: 0, max: 1e5, noNaN: true }),
  isLate: fc.boolean(),
});

test("counts add up: by outcome, by priority and in the histogram", () => {
  fc.assert(
    fc.property(fc.array(settled), fc.array(fc.integer({ min: 1, max: 64 })), (all, sizes) => {
      const counters = new Counters(PRIORITIES);
      for (const { of, outcome, ms, isLate } of all) {
        counters.asked(of);
        counters.settled(of, outcome, ms, isLate);
      }
      for (const size of sizes) counters.ran(size);
      const total = counters.read();
      expect(total.done + total.failed + total.rejected + total.cancelled).toBe(total.asked);
      expect(total.asked).toBe(all.length);
      expect(total.late).toBe(all.filter((x) => x.outcome === "done" && x.isLate).length);
      for (const counts of [total, ...PRIORITIES.map((x) => counters.read(x))])
        expect(counts.latencies.reduce((sum, { count }) => sum + count, 0)).toBe(counts.done);
      for (const key of ["asked", "done", "failed", "rejected", "cancelled", "late"] as const)
        expect(PRIORITIES.reduce((sum, x) => sum + counters.read(x)[key], 0)).toBe(total[key]);
      const { executions, requests, mean } = counters.batches();
      expect([executions, requests]).toEqual([sizes.length, sizes.reduce((sum, x) => sum + x, 0)]);
      expect(mean).toBe(executions === 0 ? 0 : requests / executions);
    }),
  );
});

test("quantiles are exact to a tenth, at any scale", () => {
  const ms = fc.double({ min: 0.02, max: 1e6, noNaN: true });
  fc.assert(
    fc.property(fc.array(ms, { minLength: 1 }), fc.constantFrom("p50", "p95", "p99"), (all, name) => {
      const counters = new Counters(PRIORITIES);
      for (const each of all) counters.settled("normal", "done", each, false);
      const sorted = [...all].sort((a, b) => a - b);
      const exact = sorted[Math.ceil((Number(name.slice(1)) / 100) * all.length) - 1] as number;
      const told = counters.read("normal").latencyMs[name as "p50"];
      expect(told / exact).toBeGreaterThan(0.999);
      expect(told / exact).toBeLessThan(1.101);
    }),
  );
});
