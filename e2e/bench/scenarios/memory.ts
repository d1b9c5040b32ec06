// Memory of a load: the peak and the settled memory of the browser's processes above the idle page with its runtime
// started, as a multiple of the file, and the time to load. Bare models of random numbers, fetched from loopback into a
// new profile, by Selvedge and by ONNX Runtime Web by URL. Selvedge stores and hashes what it fetches; the peer does
// not.
import { statSync } from "node:fs";
import { join } from "node:path";
import { MEMORY_FOLDER, memoryOf } from "../../support/memory-page.ts";
import { layersOf, STACK_KINDS, writeStack } from "../../support/stack-model.ts";
import type { MemoryName } from "../../pages/memory.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

const SUBJECTS: readonly MemoryName[] = ["selvedge", "onnxruntime-web by url"];
/** Size of the float32 file in MB; the others hold the same numbers of weights. */
const SIZES = [50, 200] as const;

interface Measured {
  readonly peak: number;
  readonly settled: number;
  readonly ms: number;
}

/** Yields the cases: for each model and backend the peak, then the settled memory and the time of the same loads. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  for (const size of SIZES)
    for (const kind of STACK_KINDS)
      for (const backend of ["wasm", "webgpu"] as const) {
        const name = `${kind} of ${size} MB as float32, ${backend}`;
        if (!name.includes(bench.only)) continue;
        const file = `${kind}-${size}.onnx`;
        writeStack(join(MEMORY_FOLDER, file), kind, layersOf(size * 1e6));
        const loads = new Map<MemoryName, Measured[]>(SUBJECTS.map((x) => [x, []]));
        const subject = (subject: MemoryName, value: (x: Measured) => number, measures: boolean) => ({
          name: subject,
          sample: async (slowBy: number): Promise<Sample> => {
            const kept = loads.get(subject) ?? [];
            if (measures) kept.push(await measure(bench, subject, backend, file));
            const one =
              slowBy > 0 ? await measure(bench, subject, backend, file, slowBy) : measures ? kept.at(-1) : kept.shift();
            if (one === undefined) throw new Error("no load is left");
            return { value: value(one), backend, model: `${kind}-${size}`, variant: kind };
          },
        });
        const about = { statistic: "median", of: SUBJECTS[1] as string, rounds: bench.rounds(3), warmups: 0 } as const;
        const rows = (unit: string, value: (x: Measured) => number, atMost: number, measures = false): Case => ({
          ...{ ...about, name: `${name}: ${unit}`, unit },
          subjects: SUBJECTS.map((x) => subject(x, value, measures)),
          goals: [{ subject: "selvedge", on: "ratio", atMost }],
        });
        yield rows("peak, times the file", (x) => x.peak, 0.5, true);
        const after = new Map([...loads].map(([subject, list]) => [subject, [...list]]));
        yield rows("settled, times the file", (x) => x.settled, 1);
        for (const [subject, list] of after) loads.set(subject, list);
        yield { ...rows("ms to load", (x) => x.ms, 1), control: "selvedge" };
      }
}

async function measure(
  bench: Bench,
  name: MemoryName,
  backend: "wasm" | "webgpu",
  file: string,
  slowBy = 0,
): Promise<Measured> {
  const bytes = statSync(join(MEMORY_FOLDER, file)).size;
  const { peakBytes, settledBytes, result } = await memoryOf(bench, [name, backend], (call) =>
    call<number>("load", `/corpus/memory/${file}`, slowBy),
  );
  return { peak: peakBytes / bytes, settled: settledBytes / bytes, ms: result };
}
