// The subjects: the recogniser on every backend and variant of this device, and the same model run by plain ONNX
// Runtime Web on the main thread, as its documentation shows.
import { createEngine } from "selvedge";
import type { BackendName, Bundle, Engine } from "selvedge";
import ortWasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

/** Something that is measured. */
export interface Subject {
  readonly name: string;
  /** Runs one line. */
  run(): Promise<void>;
}

/** A subject that can't run here, with the reason. */
export interface Absent {
  readonly name: string;
  readonly reason: string;
}

const DIMS = [1, 3, 48, 320];
const BACKENDS: readonly BackendName[] = ["wasm", "webgpu"];

/** Loads every subject; one that can't run here is reported, not hidden. */
export async function loadSubjects(
  onProgress: (share: number, name: string) => void,
): Promise<{ subjects: Subject[]; absent: Absent[] }> {
  const bundleUrl = new URL("../models/ocr-rec/bundle.json", document.baseURI);
  const response = await fetch(bundleUrl);
  if (!response.ok) throw new Error(`The recogniser's bundle could not be downloaded (${response.status}).`);
  const bundle = (await response.json()) as Bundle;
  const engine = await createEngine({ threads: 1 }); // as plain ONNX Runtime Web below: variants are compared, not threads
  const line = typicalLine();
  const makers: { name: string; make: () => Promise<Subject["run"]> }[] = BACKENDS.flatMap((backend) =>
    bundle.variants.map(({ id }) => ({
      name: `Selvedge, ${backend}, ${id}`,
      make: () => engineRun(engine, bundleUrl, { backend, variant: id }, line),
    })),
  );
  makers.push({ name: "onnxruntime-web, main thread, f32", make: () => plainRun(line) });
  const subjects: Subject[] = [];
  const absent: Absent[] = [];
  for (const [index, { name, make }] of makers.entries()) {
    onProgress(index / makers.length, name);
    try {
      const run = await make();
      await run(); // the first run compiles, so it is not representative
      subjects.push({ name, run });
    } catch (error) {
      absent.push({ name, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  return { subjects, absent };
}

async function engineRun(
  engine: Engine,
  bundleUrl: URL,
  pins: { backend: BackendName; variant: string },
  line: Float32Array<ArrayBuffer>,
): Promise<Subject["run"]> {
  const model = await engine.load(bundleUrl.href, pins);
  const input = model.inputs[0]?.name ?? "x";
  return async () => {
    await model.run({ [input]: { dtype: "float32", dims: DIMS, data: line } });
  };
}

async function plainRun(line: Float32Array<ArrayBuffer>): Promise<Subject["run"]> {
  const ort = await import("onnxruntime-web/wasm");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { wasm: new URL(ortWasmUrl, document.baseURI).href };
  // The f32 variant as one file, which the site's build makes from the bundle.
  const session = await ort.InferenceSession.create(new URL("../models/ocr-rec/f32.onnx", document.baseURI).href);
  const input = session.inputNames[0] ?? "x";
  return async () => {
    await session.run({ [input]: new ort.Tensor("float32", line, DIMS) });
  };
}

/** A line of dark strokes on paper: values do not affect the time, but zeros would be a special case. */
function typicalLine(): Float32Array<ArrayBuffer> {
  const size = DIMS.reduce((product, dim) => product * dim, 1);
  return Float32Array.from({ length: size }, (_, index) => (Math.sin(index / 7) > 0.6 ? -0.9 : 0.95));
}
