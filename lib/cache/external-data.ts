// External data of a bare model: the graph names its files, which lie beside it (onnx.proto, TensorProto.external_data).
import type { BundleChunk } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import { bareManifest, identityOf } from "./manifest.ts";
import type { OpenedBundle } from "./opened.ts";
import { readLocations } from "./read-graph.ts";
import { externalAddress } from "./repository.ts";

/** Bound on a graph that is searched for external data: one with all weights outside is small. */
const GRAPH_MAX_BYTES = 64 * 1024 * 1024;

/**
 * Follows a bare model's external data, by the locations in the graph; returns the model itself where it has none.
 * @throws SelvedgeError `model-invalid` for bytes, which lead to no other file
 */
export async function withExternal(
  from: string | null,
  opened: OpenedBundle,
  openAddress: (url: string) => Promise<OpenedBundle>,
): Promise<OpenedBundle> {
  const { data, bundle } = opened;
  const locations = data === null || data.size > GRAPH_MAX_BYTES ? [] : await readLocations(data);
  const [path] = locations;
  if (path === undefined) return opened;
  if (from === null || /^(?:blob|data):/.test(from))
    throw new SelvedgeError(
      "model-invalid",
      `${bundle.model.name} keeps its weights in "${path}", which its bytes don't lead to: load it by its URL, or save it as one file.`,
      { path, reason: "external-data" },
    );
  const whole = await openAddress(externalAddress(from, locations));
  const { steps } = whole.bundle.model;
  const { inputs, outputs } = bundle.model;
  const model = { ...bundle.model, inputs, outputs, steps };
  // The description is part of the identity, as that of a bare model is.
  const isDescribed = opened.storedAs !== undefined;
  const identity = isDescribed ? await identityOf(bareManifest([idChunk(whole), idChunk(opened)])) : whole.identity;
  return {
    ...{ ...whole, bundle: { ...whole.bundle, model }, identity, texts: opened.texts },
    ...(isDescribed && { storedAs: whole.identity }),
  };
}

/** Returns an identity as a chunk, to hash several into one. */
function idChunk({ identity }: OpenedBundle): BundleChunk {
  return { sha256: identity, bytes: 1 };
}
