import fc from "fast-check";
import { expect, test } from "vitest";
import { Stop } from "./abort.ts";
import type { Signal } from "./abort.ts";

/**
 * Observations on an AbortController and on a Stop after the same calls: listener 0 to 3 added or removed, or an abort.
 */
type Call =
  { readonly do: "add" | "remove"; readonly listener: number } | { readonly do: "abort"; readonly reason: string };

function play(signal: Signal, abort: (reason: unknown) => void, calls: readonly Call[]): unknown[] {
  const told: unknown[] = [];
  const listeners = [0, 1, 2, 3].map((i) => () => told.push(`${i} heard ${String(signal.reason)}`));
  for (const call of calls) {
    if (call.do === "abort") abort(call.reason);
    else if (call.do === "add")
      signal.addEventListener("abort", listeners[call.listener] as () => void, { once: true });
    else signal.removeEventListener("abort", listeners[call.listener] as () => void);
    let thrown: unknown = null;
    try {
      signal.throwIfAborted();
    } catch (error) {
      thrown = error;
    }
    told.push([signal.aborted, signal.reason, thrown]);
  }
  return told.sort();
}

test("a Stop behaves as an AbortController does", () => {
  const call = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({ do: fc.constantFrom("add" as const, "remove" as const), listener: fc.nat(3) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("abort" as const), reason: fc.string() }) },
  );
  fc.assert(
    fc.property(fc.array(call, { maxLength: 30 }), (calls) => {
      const real = new AbortController();
      const stop = new Stop();
      expect(play(stop, stop.abort.bind(stop), calls)).toEqual(play(real.signal, real.abort.bind(real), calls));
    }),
  );
});

test("a listener that listens again, or stops listening, while the signal is aborted is safe", () => {
  const stop = new Stop();
  const heard: string[] = [];
  const first = (): void => {
    heard.push("first");
    stop.removeEventListener("abort", first);
    stop.addEventListener("abort", first);
  };
  stop.addEventListener("abort", first);
  stop.addEventListener("abort", () => heard.push("second"));
  stop.abort("enough");
  stop.abort("again");
  expect(heard).toEqual(["first", "second"]);
  expect(stop.reason).toBe("enough");
});
