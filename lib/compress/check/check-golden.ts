// Compares each variant of a bundle with its golden on the backends of this machine, as a page does on a device.
import { goldenFiles } from "../../core/bundle.ts";
import type { Variant } from "../../core/bundle.ts";
import { compare } from "../../core/compare-outputs.ts";
import type { Compared, Tensors } from "../../core/compare-outputs.ts";
import { readTensors } from "../../core/read-tensors.ts";
import type { TensorFile } from "../../core/read-tensors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { statesOf } from "../bundle/golden.ts";
import { readBundle, readBundleFile, readVariantModel } from "../bundle/read-bundle.ts";
import type { FolderBundle } from "../bundle/read-bundle.ts";
import { hasAdapter, runInChildProcess } from "../run/child-process.ts";
import type { ChildProcessRun } from "../run/child-process.ts";
import type { Feed } from "../run/feeds.ts";
import type { Outputs } from "../run/metric.ts";
import { runAll } from "../run/session.ts";

/** A backend of a browser. */
export type GoldenTarget = "wasm" | "webgpu";

/** The comparison of a variant with its golden on one backend. */
export interface GoldenVerdict {
  readonly variant: string;
  readonly target: GoldenTarget;
  readonly verdict: "passed" | "failed" | "unchecked";
  /** Reason where it did not pass. */
  readonly why?: string;
  /** The worst comparison of each output over the golden's runs. */
  readonly outputs: readonly Compared[];
  /** Names of outputs that are declared random, whose values are not compared. */
  readonly random: readonly string[];
}

/**
 * Compares the variants of the bundle in a folder with their goldens.
 * @throws SelvedgeError `bundle-invalid`; an error of the file system where the folder holds none
 */
export async function checkGolden(folder: string, targets: readonly GoldenTarget[]): Promise<GoldenVerdict[]> {
  const read = await readBundle(folder);
  const { variants, model } = read.bundle;
  const random = model.outputs.filter(({ isRandom }) => isRandom === true).map(({ name }) => name);
  const verdicts: GoldenVerdict[] = [];
  for (const variant of variants)
    for (const target of targets) {
      if (variant.needs.includes(target === "wasm" ? "webgpu" : "wasm")) continue;
      const about = { variant: variant.id, target, random };
      const found = await checkOne(read, variant, target, random).catch((error: unknown): Found => ({
        verdict: "failed",
        why: error instanceof Error ? error.message : String(error),
      }));
      verdicts.push({ outputs: [], ...found, ...about });
    }
  return verdicts;
}

type Found = Pick<GoldenVerdict, "verdict" | "why"> & Partial<Pick<GoldenVerdict, "outputs">>;

async function checkOne(
  read: FolderBundle,
  variant: Variant,
  target: GoldenTarget,
  random: readonly string[],
): Promise<Found> {
  if (variant.golden === undefined) return { verdict: "unchecked", why: "it has no golden" };
  if (target === "webgpu" && !(await hasAdapter()))
    return { verdict: "unchecked", why: "this machine has no WebGPU adapter" };
  const files: TensorFile[] = [];
  for (const file of goldenFiles(variant.golden)) {
    const tensors = await readTensors(new Blob([await readBundleFile(read, file)]));
    if (tensors === null) return { verdict: "failed", why: `${file.path} can't be read` };
    files.push(tensors);
  }
  const expected = files.filter((_, i) => i % 2 === 1);
  const feeds = feedsOf(files, statesOf(read.bundle.model));
  const isHalf = variant.needs.includes("shader-f16");
  const worst = new Map<string, Compared>();
  const ran = await run(read.folder, variant, target, feeds);
  if ("verdict" in ran) return ran;
  for (const [i, outputs] of ran.entries()) {
    const { tensors = {}, numbers: floors = {} } = expected[i] ?? {};
    for (const one of compare(asTensors(outputs), tensors, isHalf, { floors, random })) {
      const before = worst.get(one.name);
      if (before === undefined || isWorse(one, before)) worst.set(one.name, one);
    }
  }
  const outputs = [...worst.values()];
  const fault = outputs.find((x) => x.fault !== null)?.fault;
  return fault == null ? { verdict: "passed", outputs } : { verdict: "failed", why: fault, outputs };
}

/** Returns the inputs of each run; a state that they lack is the known one of the run before. */
function feedsOf(files: readonly TensorFile[], states: Readonly<Record<string, string>>): Feed[] {
  return files.flatMap(({ tensors }, i) => {
    if (i % 2 === 1) return [];
    const last = files[i - 1]?.tensors ?? {};
    const left = Object.entries(states).flatMap(([output, input]) => (last[output] ? [[input, last[output]]] : []));
    return [{ ...(Object.fromEntries(left) as Feed), ...tensors }];
  });
}

async function run(
  folder: string,
  { id, session }: Variant,
  target: GoldenTarget,
  feeds: readonly Feed[],
): Promise<readonly Outputs[] | Found> {
  const bytes = await readVariantModel(folder, id);
  const extra = session?.[target] ?? {};
  if (target === "wasm") return runAll(bytes, feeds, { provider: "wasm", extra });
  return answersOf(await runInChildProcess(bytes, "webgpu", extra, feeds), feeds.length);
}

/** Returns the outputs of a run on WebGPU, or the verdict where it gave fewer than `count`; exported for its test. */
export function answersOf(
  { exit, isLate, outputs, log }: Pick<ChildProcessRun, "exit" | "isLate" | "outputs" | "log">,
  count: number,
): readonly Outputs[] | Found {
  if (isLate) return { verdict: "unchecked", why: "timed out: this machine's WebGPU is too slow for it" };
  if (exit === 0 && outputs.length >= count) return outputs;
  return { verdict: "failed", why: `it does not run on WebGPU: ${log.trim().split("\n").at(-1) ?? ""}` };
}

function asTensors(outputs: Outputs): Tensors {
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { dims, data }]): [string, Tensor] => [
      name,
      { dtype: "float64", dims, data: Float64Array.from(data) },
    ]),
  );
}

function isWorse(one: Compared, other: Compared): boolean {
  return other.fault === null && (one.fault !== null || (one.error ?? 0) > (other.error ?? 0));
}
