// How long the main thread could do nothing: the longest delay of a timer that is due every few milliseconds. A loop of
// messages would see finer, but it keeps a core busy, which the workers under measurement then lack. The browser's own
// long-task entries stand beside it where it has them.

/** What the main thread suffered while something ran, in ms; `longTaskMs` is null where the browser does not tell. */
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
    // The task that has just ended the run must end itself before the browser counts it.
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
