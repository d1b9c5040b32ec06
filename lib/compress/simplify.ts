// The passes that every recipe begins with, in the one order in which they help each other: constants must be found
// before shapes and scales can be followed, and what they leave behind goes last.
import { constantsToInitializers } from "./constants-to-initializers.ts";
import { dropIdentities } from "./drop-identities.ts";
import { foldAffine } from "./fold-affine.ts";
import { fuseHardSwish } from "./fuse-hard-swish.ts";
import type { Transform } from "./onnx.ts";
import { prune } from "./prune.ts";
import { raiseOpset } from "./raise-opset.ts";
import { settleIfs } from "./settle-ifs.ts";
import { settleReshapes } from "./settle-reshapes.ts";
import { shareConstants } from "./share-constants.ts";

/** Raises a model to operator set 13 and takes out what need not be computed in a run; results change by rounding alone. */
export function simplify(): Transform {
  const passes = [
    raiseOpset(13),
    constantsToInitializers(),
    settleIfs(),
    dropIdentities(),
    settleReshapes(),
    fuseHardSwish(),
    foldAffine(),
    shareConstants(),
    prune(),
  ];
  return (model) => {
    model.transform(...passes);
  };
}
