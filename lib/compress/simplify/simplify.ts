// The passes at the start of every recipe, in the order in which they enable each other: constants must be found before
// shapes and scales can be traced, and dead nodes are removed last.
import { constantsToInitializers } from "./constants-to-initializers.ts";
import { dropIdentities } from "./drop-identities.ts";
import { foldAffine } from "./fold-affine.ts";
import { fuseHardSwish } from "./fuse-hard-swish.ts";
import type { Transform } from "../onnx/model.ts";
import { plainNames } from "./plain-names.ts";
import { removeUnused } from "./remove-unused.ts";
import { raiseOpset } from "./raise-opset.ts";
import { inlineFunctions } from "./inline-functions.ts";
import { inlineIfBranches } from "./inline-if-branches.ts";
import { constantReshapes } from "./constant-reshapes.ts";
import { shareConstants } from "./share-constants.ts";

/**
 * Raises a model to operator set 13 and removes computation that a run does not need; results change by rounding only.
 */
export function simplify(): Transform {
  const passes = [
    plainNames(),
    inlineFunctions(),
    raiseOpset(13),
    constantsToInitializers(),
    inlineIfBranches(),
    dropIdentities(),
    constantReshapes(),
    fuseHardSwish(),
    foldAffine(),
    shareConstants(),
    removeUnused(),
  ];
  return (model) => {
    model.transform(...passes);
  };
}
