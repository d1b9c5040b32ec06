// Draws lanes and requests as live tracks in the performance panel of DevTools: `performance.measure` with
// `detail.devtools`, as Chromium reads it; Firefox shows the same as markers. Each entry costs 3–6 µs and is kept until
// it is cleared. So this file is loaded only on demand, and each entry is cleared at once: the panel has recorded it by
// then.
import { Spans } from "../observe/spans.ts";
import type { Scheduler, SavedScheduler } from "../schedule/scheduler.ts";

const COLOURS = ["primary", "secondary", "tertiary"] as const;

/** Draws until the returned function is called; `nameOf` returns the name of a model by its id. */
export function drawTracks(
  watch: (watcher: NonNullable<Scheduler["onEvent"]>) => { readonly saved: SavedScheduler; readonly stop: () => void },
  nameOf: (modelId: number) => string,
): () => void {
  let spans: Spans | null = null;
  const { saved, stop } = watch((event, now, _lanes, decisions) => {
    spans?.note(event, now, decisions);
  });
  spans = new Spans(saved, performance.now(), {
    batch: ({ lane, route, ids, startMs, endMs, state }) => {
      const color = state === "failed" ? "error" : "primary";
      draw(`${nameOf(route.modelId)} ×${ids.length}`, startMs, endMs, lane, color, { requests: ids.join(" ") });
    },
    request: ({ step, startMs, endMs, outcome, tries }) => {
      const isBad = outcome !== "done" && outcome !== "cancelled";
      const color = isBad ? "error" : (COLOURS[step.priority] ?? "primary");
      const track = ["interactive", "normal", "background"][step.priority] ?? "requests";
      draw(`${nameOf(step.routes[0].modelId)}: ${outcome}`, startMs, endMs, track, color, { tries: String(tries) });
    },
  });
  return () => {
    stop();
    spans.finish(performance.now());
  };
}

function draw(
  name: string,
  start: number,
  end: number,
  track: string,
  color: string,
  told: Readonly<Record<string, string>>,
): void {
  const devtools = { dataType: "track-entry", trackGroup: "Selvedge", track, color, properties: Object.entries(told) };
  performance.measure(name, { start, end: Math.max(start, end), detail: { devtools } });
  performance.clearMeasures(name);
}
