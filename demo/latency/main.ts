// The page /latency/: loads every subject, then measures them in turns until each has its runs or its time is over. A
// software GPU may need seconds for one run, hence a limit on time besides the limit on runs.
//
//   ?runs=30      runs of each subject      ?seconds=20   time of each subject
//   ?start        measures at once
import { find, Status } from "../status.ts";
import { watchStalls } from "./stall.ts";
import { loadSubjects } from "./subjects.ts";
import type { Absent, Subject } from "./subjects.ts";
import { drawAbsent, drawHistogram, drawRows } from "./table.ts";
import type { Series } from "./table.ts";

const query = new URLSearchParams(location.search);
const RUNS = positive("runs", 30);
const BUDGET_MS = positive("seconds", 20) * 1000;

const status = new Status(find("status"), find("progress", HTMLProgressElement));
const startButton = find("start", HTMLButtonElement);
const stopButton = find("stop", HTMLButtonElement);
let isStopped = false;

async function measure(subjects: readonly Subject[], absent: readonly Absent[]): Promise<void> {
  isStopped = false;
  startButton.disabled = true;
  stopButton.disabled = false;
  const all: Series[] = subjects.map(({ name }) => ({ name, samples: [], stalls: [] }));
  status.show("busy", "Measuring …");
  for (let round = 0; round < RUNS && !isStopped; round++) {
    status.progress(round / RUNS);
    for (const [index, subject] of subjects.entries()) {
      const series = all[index];
      if (isStopped || series === undefined || sum(series.samples) > BUDGET_MS) continue;
      const { value, stall } = await watchStalls(() => time(subject));
      series.samples.push(value);
      series.stalls.push(stall);
      await painted();
    }
    draw(all, absent);
    await painted();
  }
  stopButton.disabled = true;
  startButton.disabled = false;
  status.show("done", isStopped ? "Stopped." : `Measured ${String(all.length)} subjects.`);
}

async function time(subject: Subject): Promise<number> {
  const startMs = performance.now();
  await subject.run();
  return performance.now() - startMs;
}

function draw(all: readonly Series[], absent: readonly Absent[]): void {
  drawRows(find("rows"), all);
  for (const { name, reason } of absent) drawAbsent(find("rows"), name, reason);
  drawHistogram(find("histogram"), all);
}

/** Resolves in a fresh task after the page could paint; hidden pages never paint, hence the timer. */
async function painted(): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      setTimeout(resolve);
    };
    if (document.hidden) done();
    else requestAnimationFrame(done);
  });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function positive(name: string, fallback: number): number {
  const value = Number(query.get(name) ?? fallback);
  return Number.isFinite(value) && value > 0 ? value : fallback;
}

function fail(error: unknown): void {
  startButton.disabled = false;
  stopButton.disabled = true;
  status.show("error", error instanceof Error ? error.message : String(error));
}

try {
  const { subjects, absent } = await loadSubjects((share, name) => {
    status.say(`Loading: ${name} …`);
    status.progress(share);
  });
  draw(
    subjects.map(({ name }) => ({ name, samples: [], stalls: [] })),
    absent,
  );
  startButton.disabled = false;
  startButton.addEventListener("click", () => void measure(subjects, absent).catch(fail));
  stopButton.addEventListener("click", () => {
    isStopped = true;
  });
  status.show("ready", `Ready: ${String(subjects.length)} subjects.`);
  if (query.has("start")) await measure(subjects, absent);
} catch (error) {
  fail(error);
}
