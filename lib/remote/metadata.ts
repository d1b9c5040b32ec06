// Metadata of models, and the checks of inputs and outputs against it. Servers differ: versions may be
// missing, empty or null, a platform may be "", and a custom model may declare no tensors at all.
import { checkFeeds, show } from "../core/check-inputs.ts";
import type { Port, Tensor } from "../core/tensor.ts";
import type { InferReply, WireOutput } from "./decode.ts";
import { datatypeOf, DTYPE_OF, isDatatype } from "./datatypes.ts";
import type { Datatype } from "./datatypes.ts";
import type { WireInput } from "./encode.ts";
import { ReplyError } from "./failure.ts";
import { asObject, brief, textOf, texts } from "./plain-json.ts";

/** An input or output that a server's model declares. */
export interface RemotePort {
  /** Name of the tensor. */
  readonly name: string;
  /** Element type on the wire. */
  readonly datatype: Datatype;
  /** Size of each axis, the slowest first; null where any size is accepted. */
  readonly dims: readonly (number | null)[];
}

/** A model as a server declares it. */
export interface ModelMetadata {
  /** Name of the model. */
  readonly name: string;
  /** Versions that are served; empty where the server has none. */
  readonly versions: readonly string[];
  /** Framework or backend; "" where the server states none. */
  readonly platform: string;
  /** Inputs; empty where the model declares none, and then only the tensors themselves are checked. */
  readonly inputs: readonly RemotePort[];
  /** Outputs; empty where the model declares none. */
  readonly outputs: readonly RemotePort[];
}

/** Reads a model's metadata. @throws ReplyError */
export function readModelMetadata(value: unknown): ModelMetadata {
  const { name, versions, platform, inputs, outputs } = asObject(value, "the model's metadata");
  return {
    name: textOf(name) ?? "",
    versions: texts(versions),
    platform: textOf(platform) ?? "",
    inputs: ports(inputs),
    outputs: ports(outputs),
  };
}

function ports(value: unknown): RemotePort[] {
  return Array.isArray(value) ? value.map(readPort) : [];
}

function readPort(value: unknown): RemotePort {
  const { name, datatype, shape } = asObject(value, "a tensor of the model's metadata");
  if (typeof name !== "string" || !isDatatype(datatype) || !Array.isArray(shape))
    throw new ReplyError(`a tensor of the model's metadata is ${brief(value)}`);
  const dims = (shape as unknown[]).map((x) => (Number.isSafeInteger(x) && (x as number) >= 0 ? (x as number) : null));
  return { name, datatype, dims };
}

/**
 * Checks a request's tensors against the model's inputs (names, types, shapes, lengths, values) and copies them. Servers
 * wrap, cut, hang or crash on such mistakes.
 * @throws TypeError for a wrong name, type, array or value; RangeError for a wrong size
 */
export function checkInputs(model: ModelMetadata, feeds: Readonly<Record<string, Tensor>>): WireInput[] {
  if (typeof feeds !== "object" || (feeds as unknown) === null)
    throw new TypeError(`inputs: expected an object of tensors, got ${show(feeds)}`);
  const declared = model.inputs.length > 0 ? model.inputs : Object.entries(feeds).map(portOf);
  for (const [name, tensor] of Object.entries(feeds))
    if (typeof tensor !== "object" || (tensor as unknown) === null)
      throw new TypeError(`input "${name}": expected a tensor, got ${show(tensor)}`);
    else if ("buffer" in tensor) throw new TypeError(`input "${name}": expected data in an array, got a GPU buffer`);
  checkFeeds(declared.map(asPort), feeds);
  return declared.map(({ name, datatype }) => {
    const tensor = feeds[name] as Tensor;
    checkValues(name, tensor);
    // A copy: the caller may change the array while the request waits.
    return { name, datatype, tensor: { ...tensor, dims: [...tensor.dims], data: tensor.data.slice() } as Tensor };
  });
}

function portOf([name, tensor]: [string, Tensor | undefined]): RemotePort {
  const datatype = datatypeOf(tensor?.dtype as Tensor["dtype"]);
  if (!isDatatype(datatype)) throw new TypeError(`input "${name}": unknown dtype ${show(tensor?.dtype)}`);
  return { name, datatype, dims: [] };
}

/** Returns a port as the engine's checks take it: an axis of any size has a name of its own. */
function asPort({ name, datatype, dims }: RemotePort): Port {
  return { name, dtype: DTYPE_OF[datatype], dims: dims.map((x, axis) => x ?? `${name}[${axis}]`), batchAxis: null };
}

function checkValues(name: string, tensor: Tensor): void {
  if (tensor.dtype === "bool") {
    const at = tensor.data.findIndex((x) => x > 1);
    if (at >= 0) throw new RangeError(`input "${name}": bool element ${at} must be 0 or 1, got ${tensor.data[at]}`);
  } else if (tensor.dtype === "string") {
    const at = tensor.data.findIndex((x) => /\p{Surrogate}/u.test(x));
    if (at >= 0) throw new TypeError(`input "${name}": element ${at} has half a surrogate pair, which UTF-8 lacks`);
  }
}

/** Checks names of outputs; MLServer never answers a request for an unknown one. @throws TypeError */
export function checkOutputNames(model: ModelMetadata, names: readonly string[] | undefined): void {
  for (const name of names ?? [])
    if (model.outputs.length > 0 && !model.outputs.some((x) => x.name === name))
      throw new TypeError(
        `outputs: the model has no output ${show(name)}, only ${model.outputs.map((x) => `"${x.name}"`).join(", ")}`,
      );
}

/**
 * Checks a reply against the model's metadata, and returns the outputs by name.
 * @throws ReplyError where another model, version, name, type or shape came
 */
export function checkReply(
  reply: InferReply,
  model: ModelMetadata,
  { version, outputs }: { readonly version: string | undefined; readonly outputs: readonly string[] | undefined },
): Record<string, Tensor> {
  const { modelName, modelVersion } = reply;
  if (modelName !== null && modelName !== model.name)
    throw new ReplyError(`model ${brief(modelName)} answered instead of "${model.name}"`);
  if (version !== undefined && modelVersion !== null && modelVersion !== version)
    throw new ReplyError(`version ${brief(modelVersion)} answered instead of "${version}"`);
  const wanted = outputs ?? model.outputs.map((x) => x.name);
  const found = wanted.length > 0 ? wanted.map((name) => outputOf(reply, name)) : reply.outputs;
  return Object.fromEntries(
    found.map((output) => [
      output.name,
      fitPort(
        output,
        model.outputs.find((x) => x.name === output.name),
      ),
    ]),
  );
}

function outputOf({ outputs }: InferReply, name: string): WireOutput {
  const found = outputs.find((x) => x.name === name);
  if (found === undefined) throw new ReplyError(`output "${name}" is missing`);
  return found;
}

/** Returns an output's tensor in its declared rank: MLServer returns [N, 1] for [N]. */
function fitPort({ name, datatype, tensor }: WireOutput, port: RemotePort | undefined): Tensor {
  if (port === undefined) return tensor;
  if (datatype !== port.datatype)
    throw new ReplyError(`output "${name}" is ${datatype}, the model declares ${port.datatype}`);
  const rank = port.dims.length;
  // No axes: a scalar, or of open rank.
  if (rank === 0) return tensor;
  const isLonger = tensor.dims.length === rank + 1 && tensor.dims[rank] === 1;
  const dims = isLonger ? tensor.dims.slice(0, rank) : tensor.dims;
  if (dims.length !== rank || port.dims.some((want, axis) => want !== null && want !== dims[axis]))
    throw new ReplyError(
      `output "${name}" has the shape [${tensor.dims.join(", ")}], the model declares [${port.dims.map((x) => x ?? -1).join(", ")}]`,
    );
  return { ...tensor, dims };
}
