// Stalls of the main thread: the longest delay of a timer that is due every few milliseconds. A loop of messages would
// have a finer resolution, but it keeps a core busy that the workers under measurement then lack. The browser's own
// long-task entries are added where it has them.

/** Stalls of the main thread during a run, in ms; `longTaskMs` is null where the browser does not report long tasks. */
export interface Stall {
  readonly gapMs: number;
  readonly longTaskMs: number | null;
}

const TICK_MS = 5;

/** Runs something and watches the main thread until it has ended. */
export async function watchStalls<T>(run: () => Promise<T>): Promise<{ value: T; stall: Stall }> {
  const startMs = performance.now();
  const observer = observeLongTasks(startMs);
  let lastMs = startMs;
  let gapMs = 0;
  const tick = (): void => {
    const nowMs = performance.now();
    gapMs = Math.max(gapMs, nowMs - lastMs - TICK_MS);
    lastMs = nowMs;
  };
  const timer = setInterval(tick, TICK_MS);
  try {
    const value = await run();
    tick();
    // The task in which the run ended must itself end before the browser reports it.
    await new Promise((resolve) => setTimeout(resolve));
    return { value, stall: { gapMs, longTaskMs: observer.longestMs() } };
  } finally {
    clearInterval(timer);
    observer.stop();
  }
}

function observeLongTasks(sinceMs: number): { longestMs: () => number | null; stop: () => void } {
  if (typeof PerformanceObserver === "undefined" || !PerformanceObserver.supportedEntryTypes.includes("longtask"))
    return { longestMs: () => null, stop: () => undefined };
  let longestMs = 0;
  const take = (entries: PerformanceEntryList): void => {
    for (const { startTime, duration } of entries)
      if (startTime + duration > sinceMs) longestMs = Math.max(longestMs, duration);
  };
  const observer = new PerformanceObserver((list) => {
    take(list.getEntries());
  });
  observer.observe({ type: "longtask" });
  return {
    longestMs: () => {
      take(observer.takeRecords());
      return longestMs;
    },
    stop: () => {
      observer.disconnect();
    },
  };
}
