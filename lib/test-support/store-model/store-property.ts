// The store against a model: random sequences of actions of tabs, servers, users, disks and other releases, then the
// properties after each step (store-step.ts, trust.ts). A model that was stored whole stays loadable until a newer one is whole;
// nothing pinned or in use is evicted; nothing is stored that a load would refuse; a load with trusted keys uses nothing
// without a good signature, and nothing older than was seen; what an older release stored is read, moved, and its place
// is never written. In Node over memory and over OPFS's code in a stand-in folder (lib/cache/model-based.test.ts), in
// browsers over the real stores (e2e/specs/storage/stores.spec.ts).
import fc from "fast-check";
import { OLD_RELEASE_STEPS } from "./old-release-steps.ts";
import { SIGNATURE_STEPS } from "./signature-steps.ts";
import { STEPS } from "./steps.ts";
import { StoreWorld } from "./store-world.ts";
import type { Places } from "./store-world.ts";

type Sequence = Iterable<fc.AsyncCommand<object, StoreWorld>>;

/** Actors beside tabs, servers, users and disks. */
export interface StoreScene {
  /** Apps have trusted keys, and servers lie. */
  readonly isSigned?: boolean;
  /** An older release stores models in `Places.old`. */
  readonly hasOlder?: boolean;
}

/**
 * Returns the property that a store keeps the model's promises, whatever happens. `make` returns empty places, for each
 * sequence of steps.
 */
export function storeProperty(
  make: () => Places | Promise<Places>,
  { isSigned = false, hasOlder = false }: StoreScene = {},
): fc.IAsyncProperty<[Sequence]> {
  const steps = [...STEPS, ...(isSigned ? SIGNATURE_STEPS : []), ...(hasOlder ? OLD_RELEASE_STEPS : [])];
  return fc.asyncProperty(fc.commands(steps, { maxCommands: 30, size: "max" }), (list) =>
    fc.asyncModelRun(async () => ({ model: {}, real: await StoreWorld.make(await make(), isSigned) }), list),
  );
}
