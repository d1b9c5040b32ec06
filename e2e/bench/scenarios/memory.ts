// Memory of a load: the peak and the settled memory of the browser's processes above the idle page with its runtime
// started, as a multiple of the file, and the time to load. Bare models of random numbers, fetched from loopback into a
// new profile, by Selvedge and by ONNX Runtime Web by URL. Selvedge stores and hashes what it fetches; the peer does
// not. Linux only: memory is RssAnon + RssShmem of /proc.
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { BareChromium } from "../../support/bare-chromium.ts";
import { modelOf } from "../../support/onnx-graphs.ts";
import { ROOT } from "../../support/prepare.ts";
import { Resident } from "../../support/resident.ts";
import { layersOf, STACK_KINDS, writeStack } from "../../support/stack-model.ts";
import type { StackKind } from "../../support/stack-model.ts";
import type { MemoryName } from "../../pages/memory.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

const FOLDER = join(ROOT, "e2e/.cache/memory");
const SUBJECTS: readonly MemoryName[] = ["selvedge", "onnxruntime-web by url"];
/** Size of the float32 file in MB; the others hold the same numbers of weights. */
const SIZES = [50, 200] as const;
const SETTLE_MS = 1_500;

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
        const path = writeModel(kind, size);
        const loads = new Map<MemoryName, Measured[]>(SUBJECTS.map((x) => [x, []]));
        const subject = (subject: MemoryName, value: (x: Measured) => number, measures: boolean) => ({
          name: subject,
          sample: async (): Promise<Sample> => {
            const kept = loads.get(subject) ?? [];
            if (measures) kept.push(await measure(bench, subject, backend, path));
            const one = measures ? kept.at(-1) : kept.shift();
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
        yield rows("ms to load", (x) => x.ms, 1);
      }
}

async function measure(bench: Bench, name: MemoryName, backend: "wasm" | "webgpu", path: string): Promise<Measured> {
  const bytes = statSync(join(ROOT, "e2e/.cache", path)).size;
  const { word, page, close } = await open(bench);
  const call = <T>(method: string, ...args: readonly string[]): Promise<T> =>
    page.evaluate<T>(`globalThis.memoryPage.${method}(${args.map((x) => JSON.stringify(x)).join(", ")})`);
  try {
    while (!(await page.evaluate<boolean>("globalThis.memoryPage !== undefined"))) await wait(50);
    await call("start", name, backend);
    await wait(SETTLE_MS);
    const resident = new Resident(word);
    const before = resident.bytes;
    let ms = 0;
    const peak = await resident.peak(async () => {
      ms = await call<number>("load", `/corpus/${path}`);
    });
    await wait(SETTLE_MS);
    return { peak: (peak - before) / bytes, settled: (resident.bytes - before) / bytes, ms };
  } finally {
    await close();
  }
}

/** A page of a new browser, and a word in the command lines of the browser's processes. */
interface Opened {
  readonly word: string;
  readonly page: { evaluate<T>(expression: string): Promise<T> };
  readonly close: () => Promise<void>;
}

/** Opens the page; in Chromium without Playwright, which keeps the bodies of what a page fetches. */
async function open({ browserName, newProfile, url }: Bench): Promise<Opened> {
  const address = `${url}memory.html`;
  if (browserName === "firefox") {
    const context = await newProfile();
    const page = await context.newPage();
    await page.goto(address);
    return { word: "firefox", page, close: () => context.close() };
  }
  const word = mkdtempSync(join(tmpdir(), "selvedge-memory-"));
  const browser = new BareChromium(word);
  const page = (await browser.open(address)) as Opened["page"];
  const close = async (): Promise<void> => {
    await browser.close();
    await wait(SETTLE_MS); // a closed Chromium may write for some moments more
    rmSync(word, { recursive: true, force: true, maxRetries: 50, retryDelay: 200 });
  };
  return { word, page, close };
}

/** Writes the models of a case, once; returns the path below /corpus/. */
function writeModel(kind: StackKind, megabytes: number): string {
  mkdirSync(FOLDER, { recursive: true });
  const identity = join(FOLDER, "identity.onnx");
  if (!existsSync(identity)) {
    const x = { dtype: "float32", dims: [1, 4] } as const;
    const nodes = [{ opType: "Identity", input: ["x"], output: ["y"] }];
    writeFileSync(identity, modelOf({ inputs: { x }, outputs: ["y"], nodes }).write());
  }
  const name = `${kind}-${megabytes}.onnx`;
  writeStack(join(FOLDER, name), kind, layersOf(megabytes * 1e6));
  return `memory/${name}`;
}
