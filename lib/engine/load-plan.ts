// The path of a load: opens the source, loads the chosen candidate onto a lane, and makes the model. load-other.ts
// has the loads that take the place of a failed one.
import type { BackendName } from "../rpc/backend.ts";
import type { Placement } from "../core/device.ts";
import type { FetchOptions } from "./cache-client.ts";
import type { Plan } from "../cache/messages.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { Loader } from "./loader.ts";
import type { LoaderHost } from "./loader.ts";
import { Model } from "./model.ts";
import type { ModelHost } from "./model.ts";
import type { SourceOptions } from "./options.ts";

/** Collaborators of loads and of their models. */
export interface LoadHost extends LoaderHost, ModelHost {
  readonly backends: readonly BackendName[];
  readonly placement: Placement;
}

/** Loads a model from an address or bytes. */
export async function loadModel(
  host: LoadHost,
  from: string | Blob,
  options: SourceOptions,
  download: FetchOptions,
): Promise<Model> {
  const { opener, executor, chooser } = host;
  const { placement = host.placement } = options;
  const loadHere = async (plan: Plan): Promise<Model> => {
    const load = (planned: Plan): Promise<Model> => loadPlan(host, planned, from, options, download);
    try {
      return await load(plan);
    } catch (error) {
      const module = isSelvedgeError(error) ? await import("./load-other.ts").catch(() => null) : null;
      if (module === null) throw error;
      return module.loadOther({ opener, plan, from, options, download, load }, error as SelvedgeError);
    }
  };
  if (placement !== "local") {
    const remote = host.remote ?? (await import("./remote-lanes.ts")).refuse(placement);
    return remote.load(host, { from, options: { ...options, placement }, download }, { Loader, Model, loadHere });
  }
  const backends = options.backend === undefined ? host.backends : [options.backend];
  // With one backend, its worker and WebAssembly load in parallel to the bundle; with two, what measures them.
  if (backends.length === 1) executor.pool.warm(backends[0] as BackendName, typeof from === "string" ? 0 : from.size);
  else chooser.prepare();
  return loadHere(await opener.open(from, options, download));
}

/** Loads what a plan names, and makes the model. */
async function loadPlan(
  host: LoadHost,
  plan: Plan,
  from: string | Blob,
  options: SourceOptions,
  download: FetchOptions,
): Promise<Model> {
  const loader = new Loader(host, plan, from, options, download);
  try {
    // Fetched beside the weights, by models that have a state.
    const state = Object.keys(plan.states).length > 0 ? import("./stateful.ts") : null;
    state?.catch(() => undefined); // awaited below
    const decision = await host.chooser.choose(loader);
    const { choice } = decision;
    const routes = await loader.routesOf(plan.spared === null ? choice : { ...choice, why: plan.spared });
    download.signal.throwIfAborted();
    const model = new Model(host, loader, options, routes, decision, (await state)?.Stateful ?? null);
    host.models.add(model);
    return model;
  } catch (error) {
    loader.end(new SelvedgeError("closed", "The load failed.")); // the part that was loaded so far
    throw error;
  }
}
