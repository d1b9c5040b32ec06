// Runs the cases of profile-cases.ts in a worker, by the backend that ships, on a module that notes which of its functions
// run (lib/build/instrument.ts). The builds are exchanged by profile-functions.ts.
import * as ort from "onnxruntime-web";
import type { Backend, BackendName } from "../../lib/rpc/backend.ts";
import { replaceBlobStreams } from "../../lib/worker/backend/blob-streams.ts";
import { createOrtBackend } from "../../lib/worker/backend/ort.ts";
import { ARRAY_TYPES } from "../../lib/core/tensor.ts";
import type { NumericDtype, Tensor } from "../../lib/core/tensor.ts";
import { MARK } from "../../lib/build/instrument.ts";

/** Asks for cases by their numbers, or for the functions that ran. */
export interface UsualAsk {
  readonly backend: BackendName;
  readonly wasmUrl: string;
  readonly cases: readonly number[];
  /** Number of cases after which the functions that ran are reported. */
  readonly every: number;
}

/**
 * Progress: the case that began, its error, the functions that ran since the last report; `left` comes last, with the
 * remaining cases.
 */
export interface UsualTold {
  readonly began?: number;
  readonly failed?: string;
  readonly marks?: readonly number[];
  readonly left?: readonly number[];
}

interface Wire {
  readonly model: string;
  readonly weights: string | null;
  readonly session: Readonly<Record<string, string>>;
  /** Inputs of a run; where it fails, the next ones are tried. */
  readonly feeds: readonly (readonly { name: string; dtype: NumericDtype; dims: readonly number[]; data: string }[])[];
}

const exportsOf: WebAssembly.Exports[] = [];
const BROKEN =
  /abort|unreachable|memory access|table index|null function|signature|device was lost|OrtRun\(\) not|indirect call/i;

const tell = (told: UsualTold): void => {
  self.postMessage(told);
};

/** Keeps each instance, whose exported globals are the marks. */
function keepInstances(): void {
  const { instantiate, instantiateStreaming } = WebAssembly;
  WebAssembly.instantiate = (async (source: BufferSource | WebAssembly.Module, imports?: WebAssembly.Imports) => {
    // Of a compiled module it returns the instance alone.
    const made = await instantiate(source as BufferSource, imports);
    exportsOf.push((made instanceof WebAssembly.Instance ? made : made.instance).exports);
    return made;
  }) as typeof instantiate;
  WebAssembly.instantiateStreaming = async (source, imports) => {
    const made = await instantiateStreaming(source, imports);
    exportsOf.push(made.instance.exports);
    return made;
  };
}

/** Returns the functions that ran since it was called last. */
function takeMarks(): number[] {
  const taken: number[] = [];
  for (const all of exportsOf)
    for (const [name, value] of Object.entries(all)) {
      if (!name.startsWith(MARK) || (value as WebAssembly.Global).value !== 1) continue;
      (value as WebAssembly.Global).value = 0;
      taken.push(Number(name.slice(MARK.length)));
    }
  return taken;
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (x) => x.charCodeAt(0));
}

async function runCase(backend: Backend, wire: Wire): Promise<void> {
  const files = [{ path: "model.onnx", data: new Blob([bytesOf(wire.model)]) }];
  if (wire.weights !== null) files.push({ path: "weights.bin", data: new Blob([bytesOf(wire.weights)]) });
  await backend.load(1, { files, session: wire.session });
  for (const [at, inputs] of wire.feeds.entries()) {
    const feeds = inputs.map(({ name, dtype, dims, data }): [string, Tensor] => [
      name,
      { dtype, dims, data: new ARRAY_TYPES[dtype](bytesOf(data).buffer) } as Tensor,
    ]);
    try {
      for (let i = 0; i < 2; i += 1) await backend.run(1, Object.fromEntries(feeds));
      return;
    } catch (error) {
      if (at === wire.feeds.length - 1 || BROKEN.test(String(error))) throw error;
    }
  }
}

async function work({ backend: name, wasmUrl, cases, every }: UsualAsk): Promise<void> {
  keepInstances();
  replaceBlobStreams();
  const backend = createOrtBackend(ort);
  await backend.start({ backend: name, threads: 1, verbose: false, wasmUrl, restUrl: wasmUrl });
  for (const [i, number] of cases.entries()) {
    const response = await fetch(`/case/${number}`);
    if (!response.ok) {
      tell({ began: number, failed: await response.text() });
      continue;
    }
    const wire = (await response.json()) as Wire | null;
    if (wire === null) continue;
    tell({ began: number });
    try {
      await runCase(backend, wire);
      await backend.unload(1);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      tell({ failed: message });
      if (BROKEN.test(message)) {
        tell({ marks: takeMarks(), left: cases.slice(i + 1) });
        return;
      }
      await backend.unload(1).catch(() => undefined);
    }
    if (i % every === every - 1) tell({ marks: takeMarks() });
  }
  tell({ marks: takeMarks(), left: [] });
}

self.onmessage = ({ data }: MessageEvent<UsualAsk>): void => {
  work(data).catch((error: unknown) => {
    tell({ failed: String(error), left: [] });
  });
};
