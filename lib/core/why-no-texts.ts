// Why a model takes no texts, for the errors of `embed` and `rerank`.
import type { Port } from "./tensor.ts";

/** Returns the reason, with what mends it. */
export function whyNoTexts(inputs: readonly Pick<Port, "name" | "dims">[]): string {
  const dims = inputs.find((x) => x.name === "input_ids")?.dims;
  return typeof dims?.[0] === "number"
    ? `its input_ids takes a fixed number of rows ([${dims.join(", ")}]): export it with a dynamic batch axis, or run it with tensors`
    : "its tokenizer.json is missing";
}
