// Cost of a request before there was a scheduler: inputs checked and transferred, one lane, one request after the
// other, and answers decoded as in the bundle. Made of the package's own source, so that the scheduler is the only
// difference.
import { parseBundle } from "../../lib/core/bundle-schema.ts";
import type { BundleFile } from "../../lib/core/bundle.ts";
import { browserEffects } from "../../lib/effects/effects.ts";
import { takeInputs } from "../../lib/engine/inputs.ts";
import { Lane } from "../../lib/pool/lane.ts";
import type { Build, LaneEvents } from "../../lib/pool/lane-options.ts";
import type { LoadMessage } from "../../lib/rpc/messages.ts";
import type { Measured, Peer } from "./peers.ts";

const NOTHING = (): void => undefined;
const EVENTS: LaneEvents = {
  trying: NOTHING,
  isUnloaded: () => false,
  loaded: NOTHING,
  grown: NOTHING,
  mayStart: () => true,
  crashed: NOTHING,
  freed: NOTHING,
  idled: NOTHING,
};

/** Creates the peer; `bytesOf` returns the bytes of its models. */
export async function createLaneAlone(
  models: readonly Measured[],
  bytesOf: (name: string) => Promise<ArrayBuffer>,
): Promise<Peer> {
  const effects = browserEffects();
  const build = "wasm";
  const href = new URL(`/dist/worker-${build}.js`, location.href).href;
  const only: Build = {
    source: () => ({ href, script: href }),
    wasmUrls: () => ({
      wasmUrl: new URL(`/dist/ort-${build}.wasm`, location.href).href,
      restUrl: new URL(`/dist/ort-${build}-rest.wasm`, location.href).href,
    }),
    compiled: { modules: null, rest: null },
  };
  const lane = new Lane(
    "wasm-0",
    "wasm",
    {
      effects,
      builds: { usual: only, large: only },
      threads: 1,
      verbose: false,
      onLog: null,
      idleMs: 120_000,
      callTimeoutMs: null,
      events: EVENTS,
    },
    "usual",
  );
  const messages = new Map<string, LoadMessage>();
  for (const [i, { name }] of models.entries()) {
    const files = [{ path: "model.onnx", data: new Blob([await bytesOf(name)]) }];
    const message: LoadMessage = { modelId: i + 1, files, session: {}, images: {}, ...(await decodesOf(name)) };
    await lane.load(message);
    messages.set(name, message);
  }
  const run: Peer["run"] = async ({ name, input, dims }, data) => {
    const ports = [{ name: input, dtype: "float32", dims, batchAxis: null } as const];
    const inputs = { [input]: { dtype: "float32", dims, data } } as const;
    const feeds = await takeInputs(effects, { ports }, inputs, false);
    await lane.run(messages.get(name) as LoadMessage, [feeds]);
    return "wasm";
  };
  return {
    run,
    async offline(model, data, count) {
      for (let i = 0; i < count; i += 1) await run(model, data());
      return "wasm";
    },
  };
}

/** Returns a bundle's output decoding, and the texts for it. */
async function decodesOf(name: string): Promise<Pick<LoadMessage, "decodes" | "assets">> {
  const bundle = (await (await fetch(`/models/${name}/bundle.json`)).json()) as unknown;
  const { model, assets = [] } = parseBundle(bundle);
  const decodes = model.outputs.flatMap((port) =>
    port.decode === undefined ? [] : [[port.name, port.decode] as const],
  );
  const textOf = async ({ path }: BundleFile): Promise<readonly [string, string]> => {
    const response = await fetch(`/expanded/${name}/${path}`);
    if (!response.ok) throw new Error(`${name} has no ${path}: status ${response.status}`);
    return [path, await response.text()];
  };
  return {
    decodes: Object.fromEntries(decodes),
    assets: Object.fromEntries(await Promise.all(assets.map(textOf))),
  };
}
