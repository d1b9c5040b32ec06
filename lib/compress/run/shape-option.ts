// Sizes of open dims given by the user, for a model without samples: `--shape pixel_values=1x3x224x224` by input, or
// `--shape sequence_length=64` by the dim's name.
import type { BundleInput } from "../../core/bundle.ts";

const FORM = 'give NAME=SIZES, as "pixel_values=1x3x224x224" for an input or "sequence_length=64" for a dim';

/**
 * Resolves shapes to sizes by the name of the dim.
 * @throws TypeError naming the shape, the contradiction and what the model has.
 */
export function resolveShapes(
  shapes: readonly string[],
  inputs: readonly Pick<BundleInput, "name" | "dims">[],
): Record<string, number> {
  const sizes: Record<string, number> = {};
  const set = (dim: string, size: number, shape: string): void => {
    const before = sizes[dim];
    if (before !== undefined && before !== size)
      throw new TypeError(`shape: ${shape} sets "${dim}" to ${size}, but it is ${before} already`);
    sizes[dim] = size;
  };
  for (const shape of shapes) {
    const [, name = "", list = ""] = /^(.+)=(\d+(?:[x×,]\d+)*)$/.exec(shape) ?? [];
    if (name === "") throw new TypeError(`shape: expected sizes, got "${shape}": ${FORM}`);
    const given = list.split(/[x×,]/).map(Number);
    const input = inputs.find((x) => x.name === name);
    const [only] = given;
    if (input !== undefined) for (const [dim, size] of pairs(input, given, shape)) set(dim, size, shape);
    else if (given.length === 1 && only !== undefined && inputs.some((x) => x.dims.includes(name)))
      set(name, only, shape);
    else {
      const known = inputs.map((x) => `${x.name} [${x.dims.join(", ")}]`).join(", ");
      throw new TypeError(`shape: the model has no input or open dim "${name}": it takes ${known}`);
    }
  }
  return sizes;
}

function* pairs(
  { name, dims }: Pick<BundleInput, "name" | "dims">,
  sizes: readonly number[],
  shape: string,
): Generator<[string, number]> {
  const told = `"${name}" [${dims.join(", ")}]`;
  if (sizes.length !== dims.length)
    throw new TypeError(`shape: ${shape} has ${sizes.length} sizes, but ${told} has ${dims.length} dims`);
  for (const [i, dim] of dims.entries()) {
    const size = sizes[i] ?? 0;
    if (typeof dim === "string") yield [dim, size];
    else if (dim !== size)
      throw new TypeError(`shape: ${shape} sets axis ${i} to ${size}, but ${told} has ${dim} there`);
  }
}
