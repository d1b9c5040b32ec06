// The move of a model off a GPU that computed a wrong answer. Imported when a golden check refuses a variant that is in use.
import type { SelvedgeError } from "../core/errors.ts";
import type { BackendChooser, BackendDecision } from "./backend-chooser.ts";
import type { Loader } from "./loader.ts";
import type { ModelRoutes } from "./routes.ts";
import { whyRefused } from "./why-refused.ts";

/**
 * Moves a model to the next variant for the GPU, as chosen anew, or to wasm, after the GPU computed a wrong answer. Calls
 * back with its new routes, unless it was unloaded or runs nowhere else: its requests report that.
 */
export async function leaveGpu(
  loader: Loader,
  chooser: BackendChooser,
  error: SelvedgeError,
  adopt: (routes: ModelRoutes, decision: BackendDecision | null) => void,
): Promise<void> {
  const { candidates, spares } = loader.plan;
  const wasm = candidates.find(({ backend }) => backend === "wasm");
  try {
    if (spares.length > 0) {
      const decision = await chooser.choose(loader);
      adopt(await loader.routesOf(decision.choice), decision);
    } else if (wasm !== undefined) adopt(await loader.routesOf({ ...wasm, why: whyRefused(error) }), null);
  } catch {
    // As said above.
  }
}
