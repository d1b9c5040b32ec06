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
import type { GraphSpec } from "../../support/onnx-graphs.ts";
import { ROOT } from "../../support/prepare.ts";
import { Resident } from "../../support/resident.ts";
import type { MemoryName } from "../../pages/memory.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

const FOLDER = join(ROOT, "e2e/.cache/memory");
const SUBJECTS: readonly MemoryName[] = ["selvedge", "onnxruntime-web by url"];
const KINDS = ["f32", "int8", "int4"] as const;
type Kind = (typeof KINDS)[number];
/** Size of the float32 file in MB; the others hold the same numbers of weights. */
const SIZES = [50, 200] as const;
/** Rows and columns of a layer. */
const WIDTH = 2_048;
const BLOCK = 32;
const SETTLE_MS = 1_500;

interface Measured {
  readonly peak: number;
  readonly settled: number;
  readonly ms: number;
}

/** Yields the cases: for each model and backend the peak, then the settled memory and the time of the same loads. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  for (const size of SIZES)
    for (const kind of KINDS)
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

/** Writes a stack of products with random weights, once; returns its path below /corpus/. */
function writeModel(kind: Kind, megabytes: number): string {
  mkdirSync(FOLDER, { recursive: true });
  const write = (name: string, make: () => GraphSpec): string => {
    const path = join(FOLDER, name);
    if (!existsSync(path)) writeFileSync(path, modelOf(make()).write());
    return `memory/${name}`;
  };
  const x = { dtype: "float32", dims: [1, 4] } as const;
  write("identity.onnx", () => ({
    ...{ inputs: { x }, outputs: ["y"], nodes: [{ opType: "Identity", input: ["x"], output: ["y"] }] },
  }));
  const layers = Math.round((megabytes * 1e6) / (4 * WIDTH * WIDTH));
  return write(`${kind}-${megabytes}.onnx`, () => stackOf(kind, layers));
}

function stackOf(kind: Kind, layers: number): GraphSpec {
  const constants: Record<string, NonNullable<GraphSpec["constants"]>[string]> = {};
  const nodes: GraphSpec["nodes"][number][] = [];
  let seed = 1;
  const random = (): number => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  const numbers = (count: number, least: number, most: number): number[] =>
    Array.from({ length: count }, () => least + random() * (most - least));
  const count = WIDTH * WIDTH;
  for (let i = 0; i < layers; i += 1) {
    const [input, output] = [i === 0 ? "x" : `h${i - 1}`, i === layers - 1 ? "y" : `h${i}`];
    const [w, s, f] = [`w${i}`, `s${i}`, `f${i}`];
    if (kind === "f32") constants[w] = { dtype: "float32", dims: [WIDTH, WIDTH], values: numbers(count, -0.02, 0.02) };
    if (kind === "int8") {
      constants[w] = { dtype: "int8", dims: [WIDTH, WIDTH], values: numbers(count, -127, 127).map(Math.trunc) };
      constants[s] = { dtype: "float32", dims: [WIDTH], values: numbers(WIDTH, 1e-4, 2e-4) };
      nodes.push({ opType: "DequantizeLinear", input: [w, s], output: [f], attributes: { axis: 1 } });
    }
    if (kind === "int4") {
      const dims = [WIDTH, WIDTH / BLOCK, BLOCK / 2];
      constants[w] = { dtype: "uint8", dims, values: numbers(count / 2, 0, 256).map(Math.trunc) };
      constants[s] = { dtype: "float32", dims: [count / BLOCK], values: numbers(count / BLOCK, 1e-3, 2e-3) };
      const attributes = { K: WIDTH, N: WIDTH, bits: 4, block_size: BLOCK };
      nodes.push({
        opType: "MatMulNBits",
        domain: "com.microsoft",
        input: [input, w, s],
        output: [output],
        attributes,
      });
    } else nodes.push({ opType: "MatMul", input: [input, kind === "f32" ? w : f], output: [output] });
  }
  return { inputs: { x: { dtype: "float32", dims: [1, WIDTH] } }, constants, outputs: ["y"], nodes };
}
