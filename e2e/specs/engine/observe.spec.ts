// Observability of an engine in a real browser: tracks for DevTools only on request and cleared at once, each result
// reported once, and consistent counters in `stats`.
import { expect, test } from "@playwright/test";
import type * as Selvedge from "selvedge";

test("draws tracks on request, keeps none, and counts requests", async ({ page }) => {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  const seen = await page.evaluate(async () => {
    const { selvedge } = globalThis as unknown as { selvedge: typeof Selvedge };
    const measures: PerformanceMeasure[] = [];
    const observer = new PerformanceObserver((list) => measures.push(...(list.getEntries() as PerformanceMeasure[])));
    observer.observe({ type: "measure" });
    const told: string[] = [];
    // Distinct inputs, or they would share an answer.
    const inputs = (value: number) =>
      ({ image: { dtype: "float32", dims: [1, 1, 28, 28], data: new Float32Array(784).fill(value) } }) as const;
    const runWith = async (observe: Selvedge.EngineOptions["observe"]) => {
      const engine = await selvedge.createEngine({ backends: ["wasm"], workers: 1, observe });
      // The module that draws is loaded on demand: what ends before it came has no track.
      if (typeof observe === "object")
        while (!performance.getEntriesByType("resource").some(({ name }) => name.includes("devtools-tracks")))
          await new Promise((resolve) => setTimeout(resolve, 5));
      const model = await engine.load("/models/fashion-cnn/bundle.json");
      const late = model.run(inputs(20), { signal: AbortSignal.abort(new Error("gone")) }).catch(() => null);
      await Promise.all([
        late,
        ...Array.from({ length: 9 }, (_, i) => model.run(inputs(i), { priority: "interactive" })),
      ]);
      await model.run(inputs(30));
      const stats = engine.stats();
      await engine.close();
      measures.push(...(observer.takeRecords() as PerformanceMeasure[]));
      return stats;
    };
    await runWith((settled) => told.push(`${settled.priority} ${settled.outcome}`));
    const silent = measures.length;
    const stats = await runWith({ devtools: true });
    const tracks = measures.map(
      ({ detail }) => (detail as { devtools?: { track: string } } | null)?.devtools?.track ?? "",
    );
    const kept = performance.getEntriesByType("measure").length;
    return { silent, tracks, kept, told, stats };
  });
  expect(seen.silent).toBe(0);
  expect(seen.kept).toBe(0);
  expect(new Set(seen.tracks)).toEqual(new Set(["wasm-0", "interactive", "normal"]));
  expect(seen.tracks.filter((track) => track === "interactive")).toHaveLength(9);
  expect(seen.told).toHaveLength(11);
  expect(seen.told.filter((x) => x === "interactive done")).toHaveLength(9);
  expect(seen.told.filter((x) => x === "normal cancelled")).toHaveLength(1);
  const { requests, classes, batches, lanes } = seen.stats;
  expect(requests).toMatchObject({ asked: 11, done: 10, cancelled: 1, failed: 0, rejected: 0 });
  expect(classes.interactive.done + classes.normal.done).toBe(10);
  expect(batches.requests).toBe(10);
  expect(batches.mean).toBe(batches.requests / batches.executions);
  expect(lanes[0]?.runs).toBe(batches.executions);
});
