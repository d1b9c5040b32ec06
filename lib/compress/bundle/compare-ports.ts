// Whether two models take the same inputs and have outputs in common, before both are run on the same inputs: ONNX
// Runtime's own errors name one of the models at most, and none of the options.
import type { Port } from "../../core/tensor.ts";

/** Inputs and outputs of a model, with its path for messages. */
export interface NamedPorts {
  readonly path: string;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
}

/** Explains why `b` cannot be run on the inputs of `a`, or not be compared with it; undefined where it can. */
export function whyUnlike(a: NamedPorts, b: NamedPorts): string | undefined {
  for (const input of b.inputs) {
    const given = a.inputs.find((x) => x.name === input.name);
    if (given === undefined)
      return `${b.path} has the input "${input.name}", which ${a.path} has not: its inputs are ${namesOf(a.inputs)}`;
    if (given.dtype !== input.dtype)
      return `the input "${input.name}" is ${given.dtype} in ${a.path} and ${input.dtype} in ${b.path}: compare models of the same inputs`;
    if (!isAlike(given.dims, input.dims))
      return `the input "${input.name}" has dims [${given.dims.join(", ")}] in ${a.path} and [${input.dims.join(", ")}] in ${b.path}`;
  }
  const missing = a.inputs.filter((x) => b.inputs.every((y) => y.name !== x.name));
  if (missing.length > 0)
    return `${a.path} has the inputs ${namesOf(missing)}, which ${b.path} has not: its inputs are ${namesOf(b.inputs)}`;
  if (a.outputs.some((x) => b.outputs.some((y) => y.name === x.name))) return undefined;
  return `the models have no output in common: ${a.path} has ${namesOf(a.outputs)}, ${b.path} has ${namesOf(b.outputs)}`;
}

/** Whether some sizes of symbolic dims make two lists of dims equal. */
function isAlike(a: Port["dims"], b: Port["dims"]): boolean {
  return a.length === b.length && a.every((x, i) => typeof x === "string" || typeof b[i] === "string" || x === b[i]);
}

function namesOf(ports: readonly Port[]): string {
  return ports.length === 0 ? "none" : ports.map((x) => `"${x.name}"`).join(", ");
}
