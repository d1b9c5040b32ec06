// A worker seen as a backend, for tests: the conformance suite runs through the whole thread line this way.
import type { Backend } from "../rpc/backend.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Ran, RanItem, RunMessage } from "../rpc/messages.ts";
import type { WorkerClient } from "../pool/worker-client.ts";

const BOUND_MS = 60_000;

/** Runs a batch of one and returns its outputs and times. */
export async function runAlone(
  client: WorkerClient,
  message: RunMessage,
  boundMs: number,
): Promise<RanItem & Omit<Ran, "items">> {
  const { items, ...times } = await client.run(message, boundMs);
  if (items[0]?.ok !== true) throw new Error("A batch of one returned no item.");
  return { ...items[0].value, ...times };
}

/** Makes a Backend from a worker client. */
export function throughWorker(client: WorkerClient): Backend {
  return {
    onLost: null,
    onLog: null,
    start: (options) => client.start(options, BOUND_MS),
    load: (modelId, model) => client.load({ ...model, modelId, images: {}, decodes: {}, assets: {} }, BOUND_MS),
    async run(modelId, tensors: Readonly<Record<string, Tensor>>, state) {
      const message = { modelId, items: [{ tensors, others: null }], state };
      return { ...(await runAlone(client, message, BOUND_MS)).outputs };
    },
    async unload(modelId) {
      await client.unload(modelId, BOUND_MS);
    },
    async removeState(stateId) {
      await client.removeState(stateId, BOUND_MS);
    },
  };
}
