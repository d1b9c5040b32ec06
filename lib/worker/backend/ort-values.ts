// ONNX Runtime's descriptions and tensors as the rest of the package has them.
import type * as Ort from "onnxruntime-web";
import { SelvedgeError } from "../../core/errors.ts";
import type { Dtype, Port, Tensor } from "../../core/tensor.ts";

/**
 * Describes an input or output. ONNX Runtime reports "" or −1, also as an unsigned number, for a dim without a name,
 * and no dims for an open rank.
 */
export function portOf(metadata: Ort.InferenceSession.ValueMetadata): Port {
  const { name } = metadata;
  if (!metadata.isTensor) {
    throw new SelvedgeError(
      "model-invalid",
      `"${name}" is not a tensor; sequences, maps and optionals are not supported.`,
      { name },
    );
  }
  if (metadata.type === "int4" || metadata.type === "uint4") {
    throw new SelvedgeError(
      "model-invalid",
      `"${name}" has type ${metadata.type}, which has no JavaScript typed array.`,
      { name },
    );
  }
  const dims = metadata.shape.map((dim, axis) =>
    dim === "" || (typeof dim === "number" && (dim < 0 || dim === 2 ** 32 - 1)) ? `${name}_${axis}` : dim,
  );
  return { name, dtype: metadata.type, dims, batchAxis: typeof dims[0] === "string" ? 0 : null };
}

/** Returns the output locations that keep a state on the device. */
export function onDevice(states: Readonly<Record<string, string>>): Record<string, "gpu-buffer"> {
  return Object.fromEntries(Object.keys(states).map((output) => [output, "gpu-buffer"]));
}

/** Takes ownership of an output, which ONNX Runtime has copied out of its memory. float16 stays as its bits. */
export function fromOrt(value: Ort.Tensor): Tensor {
  const dtype = value.type as Dtype;
  let data = value.data;
  if (dtype === "float16" && !(data instanceof Uint16Array)) {
    const view = data as unknown as ArrayBufferView;
    data = new Uint16Array(view.buffer, view.byteOffset, view.byteLength / 2);
  }
  return { dtype, dims: [...value.dims], data } as Tensor;
}
