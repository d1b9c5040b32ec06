// The move of a model off a GPU that computed a wrong answer. Imported when a golden check refuses a variant that is in use.
import type { SelvedgeError } from "../core/errors.ts";
import type { BackendChooser } from "./backend-chooser.ts";
import type { Loader } from "./loader.ts";
import { whyRefused } from "./why-refused.ts";

/**
 * Moves a model to the next variant for the GPU, as chosen anew, or to wasm, after the GPU computed a wrong answer. Passes
 * the model its new routes, unless it was unloaded or runs nowhere else: its requests report that.
 */
export async function leaveGpu(loader: Loader, chooser: BackendChooser, error: SelvedgeError): Promise<void> {
  const { candidates, spares } = loader.plan;
  const wasm = candidates.find(({ backend }) => backend === "wasm");
  try {
    if (spares.length > 0) {
      const decision = await chooser.choose(loader);
      loader.onRoutes?.(await loader.routesOf(decision.choice), decision);
    } else if (wasm !== undefined) loader.onRoutes?.(await loader.routesOf({ ...wasm, why: whyRefused(error) }));
  } catch {
    // As said above.
  }
}
