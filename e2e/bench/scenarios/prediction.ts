// Predicted memory against the memory that a load and two runs took: the peak of the browser's processes above the idle
// page with its runtime started. Models whose weights outweigh their values between operators, and the reverse, as
// bundles, imported and bare; the prediction was fitted to none of them.
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { withGolden } from "../../../lib/compress/bundle/golden.ts";
import { describe } from "../../../lib/compress/bundle/describe.ts";
import { writeBundle } from "../../../lib/compress/bundle/pack.ts";
import { importRepository } from "../../../lib/compress/import-repository.ts";
import { readModelFile } from "../../../lib/compress/onnx/model-file.ts";
import { JUDGED } from "../../../lib/test-support/onnx/activation-models.ts";
import { memoryOf, withProfile } from "../../support/memory-page.ts";
import { MEMORY_FOLDER } from "../../support/server.ts";
import { layersOf, STACK_WIDTH, writeStack } from "../../support/stack-model.ts";
import type { StackKind } from "../../support/stack-model.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

/** The most that a prediction may be off, as a factor. */
const OFF_MAX = 1.3;

/** How a model is given to the engine. */
type Way = "bundle" | "import" | "bare";

/** A model in a file. */
interface Written {
  readonly dims: readonly number[];
  /** Writes the file unless it is there, and returns its path. */
  readonly write: () => string;
  readonly ways: readonly Way[];
}

const STACKS: Readonly<Record<string, readonly [StackKind, number]>> = {
  "float32 stack of 100 MB": ["f32", 100],
  "int8 stack of 25 MB": ["int8", 100],
};

function modelsOf(): Map<string, Written> {
  const models = new Map<string, Written>();
  for (const [name, { dims, make }] of Object.entries(JUDGED))
    models.set(name, {
      dims,
      write: () => {
        const path = join(MEMORY_FOLDER, `${wordOf(name)}.onnx`);
        mkdirSync(MEMORY_FOLDER, { recursive: true });
        if (!existsSync(path)) writeFileSync(path, make().write());
        return path;
      },
      ways: ["bundle", "import"],
    });
  for (const [name, [kind, megabytes]] of Object.entries(STACKS))
    models.set(name, {
      dims: [1, STACK_WIDTH],
      write: () => {
        const path = join(MEMORY_FOLDER, `${wordOf(name)}.onnx`);
        writeStack(path, kind, layersOf(megabytes * 1e6));
        return path;
      },
      ways: ["bundle", "bare"],
    });
  return models;
}

/** Yields a case for each model, way and backend. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  let isFirst = true;
  for (const [name, { dims, write, ways }] of modelsOf())
    for (const way of ways)
      for (const backend of ["wasm", "webgpu"] as const) {
        const title = `${name}, ${way}, ${backend}`;
        if (!title.includes(bench.only)) continue;
        const address = await publish(name, way, write());
        const sample = async (slowBy: number): Promise<Sample> => {
          let predicted = Number.NaN;
          const { peakBytes } = await withProfile((profile) =>
            memoryOf(
              bench,
              { name: "selvedge", backend, profile },
              async (call) => {
                if (slowBy > 0) await call("hold", Math.round(slowBy * predicted));
                await call("load", address, 0);
                await call("run", dims, 2);
              },
              async (call) => {
                predicted = await call<number>("predict", address);
              },
            ),
          );
          console.log(`  ${title}: ${(peakBytes / 1e6).toFixed(0)} MB of ${(predicted / 1e6).toFixed(0)} predicted`);
          return { value: peakBytes / predicted, backend, model: wordOf(name), variant: way };
        };
        yield {
          ...{ name: title, unit: "times the prediction", statistic: "median", rounds: bench.rounds(3), warmups: 0 },
          subjects: [{ name: "selvedge", sample }],
          goals: [{ subject: "selvedge", on: "value", atLeast: 1 / OFF_MAX, atMost: OFF_MAX }],
          ...(isFirst && { control: "selvedge" }),
        };
        isFirst = false;
      }
}

/** Writes a model in one way to where the server finds it; returns its address. */
async function publish(name: string, way: Way, path: string): Promise<string> {
  const word = `${wordOf(name)}-${way}`;
  const folder = join(MEMORY_FOLDER, word);
  if (way === "bare") return `/memory/${wordOf(name)}.onnx`;
  rmSync(folder, { recursive: true, force: true });
  if (way === "bundle") {
    const model = readModelFile(path);
    const description = await describe(model, path, undefined);
    const variant = { id: "f32", needs: [], files: [{ path: "model.onnx", model }] };
    const variants = [await withGolden(variant, description)];
    await writeBundle(folder, { model: description, variants }, { compress: false });
    return `/memory/${word}/bundle.json`;
  }
  mkdirSync(join(folder, "source/onnx"), { recursive: true });
  writeFileSync(join(folder, "source/config.json"), "{}");
  writeFileSync(join(folder, "source/onnx/model.onnx"), readModelFile(path).write());
  await importRepository(join(folder, "source"), { out: folder });
  return `/memory/${word}/bundle/bundle.json`;
}

function wordOf(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, "-");
}
