// Compares tables of labels with the outputs of a loaded model. An output without a known number of classes is compared
// by its decoder, at the first answer.
import type { LoadMessage } from "../../rpc/messages.ts";
import type { Port } from "../../core/tensor.ts";
import { checkTable, linesOf } from "./values.ts";

/** Throws `bundle-invalid` where a table has another number of lines than its output has classes. */
export function checkTables(
  outputs: readonly Port[],
  { decodes, assets }: Pick<LoadMessage, "decodes" | "assets">,
): void {
  for (const { name, dims } of outputs) {
    const spec = Object.hasOwn(decodes, name) ? decodes[name] : undefined;
    // Boxes may have one class more, for no object; decodeBoxes compares them.
    if (spec === undefined || !("asset" in spec) || spec.asset === undefined || spec.op === "detect") continue;
    const isMap = spec.op === "segment" || spec.op === "points";
    const classes = dims[isMap ? 1 : dims.length - 1];
    const blanks = spec.op === "ctc" && spec.blank === undefined ? 1 : 0;
    if (typeof classes === "number")
      checkTable(name, spec.asset, linesOf(name, spec.asset, assets).length + blanks, classes);
  }
}
