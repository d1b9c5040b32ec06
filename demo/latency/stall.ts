// How long the main thread could do nothing: the longest gap between two ticks of a message channel, which fires as
// soon as the thread is free. The browser's own long-task entries stand beside it where it has them.

/** What the main thread suffered while something ran, in ms; `longTaskMs` is null where the browser does not tell. */
export interface Stall {
  readonly gapMs: number;
  readonly longTaskMs: number | null;
}

/** Runs something and watches the main thread until it has ended. */
export async function watchStalls<T>(run: () => Promise<T>): Promise<{ value: T; stall: Stall }> {
  const { port1, port2 } = new MessageChannel();
  const observer = observeLongTasks();
  let lastMs = performance.now();
  let gapMs = 0;
  const tick = (): void => {
    const nowMs = performance.now();
    gapMs = Math.max(gapMs, nowMs - lastMs);
    lastMs = nowMs;
  };
  port1.onmessage = () => {
    tick();
    port2.postMessage(null);
  };
  port2.postMessage(null);
  try {
    const value = await run();
    tick();
    return { value, stall: { gapMs, longTaskMs: observer.longestMs() } };
  } finally {
    port1.close();
    observer.stop();
  }
}

function observeLongTasks(): { longestMs: () => number | null; stop: () => void } {
  if (typeof PerformanceObserver === "undefined" || !PerformanceObserver.supportedEntryTypes.includes("longtask"))
    return { longestMs: () => null, stop: () => undefined };
  let longestMs = 0;
  const take = (entries: PerformanceEntryList): void => {
    for (const { duration } of entries) longestMs = Math.max(longestMs, duration);
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
