// Runs the conformance suite on the shipped worker, through the page's own side of the protocol.
import type { BackendName } from "../../lib/rpc/backend.ts";
import { CONFORMANCE } from "../../lib/test-support/backend-conformance.ts";
import { endlessModel, identityModel } from "../../lib/test-support/backend-models.ts";
import { browserEffects } from "../../lib/effects/effects.ts";
import type { ScriptUrl } from "../../lib/effects/effects.ts";
import { isSelvedgeError } from "../../lib/core/errors.ts";
import { runAlone, throughWorker } from "../../lib/test-support/through-worker.ts";
import { WorkerClient } from "../../lib/pool/worker-client.ts";

/** Options of one worker. */
export interface Setup {
  readonly build: "jspi" | "wasm";
  readonly backend: BackendName;
  readonly threads: number;
}

/** Result of a check: null if it passed. */
export interface Outcome {
  readonly name: string;
  readonly error: string | null;
}

/** Interface of this page for its tests. */
export interface BackendPage {
  /** Runs every check on one worker. */
  conform(setup: Setup): Promise<Outcome[]>;
  /** Returns the error code of a run that never ends, and the time until then. */
  hang(setup: Setup, boundMs: number): Promise<{ code: string; ms: number }>;
  /** Loads y = x verbosely; returns where ONNX Runtime assigned its one operator. */
  assign(setup: Setup): Promise<unknown>;
  /** Sends a picture as an ImageBitmap and as its pixels; returns the resulting tensors. */
  paint(setup: Setup): Promise<{ bitmap: number[]; pixels: number[] }>;
  /** Starts a worker and terminates it. */
  startPlain(setup: Setup): Promise<void>;
  /** Returns the error code of a start whose wasm is missing. */
  startFails(setup: Setup, file: string): Promise<{ code: string; message: string }>;
}

const page: BackendPage = {
  async conform(setup) {
    const client = await started(setup);
    const backend = throughWorker(client);
    const outcomes: Outcome[] = [];
    for (const { name, run } of CONFORMANCE) {
      const error = await run(backend).then(
        () => null,
        (reason: unknown) => String(reason),
      );
      outcomes.push({ name, error });
    }
    client.end(new Error("done"));
    return outcomes;
  },
  async hang(setup, boundMs) {
    const client = await started(setup);
    await throughWorker(client).load(1, { files: [{ path: "m", data: new Blob([endlessModel()]) }], session: {} });
    const began = performance.now();
    const x = { dtype: "float32", dims: [1], data: new Float32Array(1) } as const;
    const code = await client
      .run({ modelId: 1, items: [{ tensors: { x }, others: null }] }, boundMs)
      .then(() => "ended", codeOf);
    return { code, ms: performance.now() - began };
  },
  async assign(setup) {
    const client = await started(setup, true);
    const model = { files: [{ path: "m", data: new Blob([identityModel("float32")]) }], session: {} };
    const { assignment } = await throughWorker(client).load(1, model);
    client.end(new Error("done"));
    return assignment;
  },
  async paint(setup) {
    const client = await started(setup);
    const size = { width: 3, height: 2 };
    const images = { x: { channels: "rgb", layout: "nhwc", scale: 1, resize: { mode: "exact", ...size } } } as const;
    const model = { files: [{ path: "m", data: new Blob([identityModel("float32", [1, 2, 3, 3])]) }], session: {} };
    await client.load({ ...model, modelId: 1, images, decodes: {}, assets: {} }, 60_000);
    // Only opaque and fully transparent pixels: a canvas stores premultiplied colours, so others lose a bit.
    const data = Uint8ClampedArray.from({ length: 24 }, (_, i) => (i % 4 === 3 ? (i === 11 ? 0 : 255) : i * 10));
    const bitmap = await createImageBitmap(new ImageData(data, 3, 2), { premultiplyAlpha: "none" });
    const tensors: number[][] = [];
    for (const image of [bitmap, { ...size, data }]) {
      const { outputs } = await runAlone(
        client,
        { modelId: 1, items: [{ tensors: {}, others: { x: { kind: "image", image } } }] },
        60_000,
      );
      tensors.push([...(outputs["y"]?.data as Float32Array)]);
    }
    client.end(new Error("done"));
    return { bitmap: tensors[0] ?? [], pixels: tensors[1] ?? [] };
  },
  async startPlain(setup) {
    const client = await started(setup);
    client.end(new Error("done"));
  },
  async startFails(setup, file) {
    const client = clientOf(setup);
    const wasmUrl = new URL(`/dist/${file}`, location.href).href;
    const restUrl = wasmUrl;
    try {
      await client.start({ ...setup, wasmUrl, restUrl, verbose: false }, 60_000);
      return { code: "started", message: "" };
    } catch (error) {
      return { code: codeOf(error), message: error instanceof Error ? error.message : "" };
    } finally {
      client.end(new Error("done"));
    }
  },
};

async function started(setup: Setup, verbose = false): Promise<WorkerClient> {
  const client = clientOf(setup);
  const wasmUrl = new URL(`/dist/ort-${setup.build}.wasm`, location.href).href;
  const rest = new URL(`/dist/ort-${setup.build}-rest.wasm`, location.href).href;
  // A build with --whole has no second part; the tests' server answers with its page then.
  const { headers } = await fetch(rest, { method: "HEAD" });
  const restUrl = headers.get("content-type") === "application/wasm" ? rest : wasmUrl;
  await client.start({ backend: setup.backend, wasmUrl, restUrl, threads: setup.threads, verbose }, 60_000);
  return client;
}

function clientOf(setup: Setup): WorkerClient {
  const { href } = new URL(`/dist/worker-${setup.build}.js`, location.href);
  return new WorkerClient(browserEffects(), { href, script: vouch(href) });
}

/** The page's own Trusted Types policy, if the browser supports them. */
const trustedTypes = Reflect.get(globalThis, "trustedTypes") as
  { createPolicy(name: string, rules: object): { createScriptURL(url: string): ScriptUrl } } | undefined;
const policy = trustedTypes?.createPolicy("selvedge", { createScriptURL: (url: string) => url });

function vouch(href: string): ScriptUrl {
  return policy?.createScriptURL(href) ?? href;
}

function codeOf(error: unknown): string {
  return isSelvedgeError(error) ? error.code : String(error);
}

Reflect.set(globalThis, "backendPage", page);
