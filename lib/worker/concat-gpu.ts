// Concatenates tensors on the GPU, so that images that were prepared there need not be read back. The copies run in
// queue order: an image's buffer may be reused at once for the next image of its size.
import type { DeviceTensor } from "../rpc/backend.ts";
import type { Tensor } from "../core/tensor.ts";

/**
 * Concatenates float32 tensors along their first axis in a buffer of the device; `draw` makes each in turn. The caller
 * must destroy the buffer.
 */
export function joinOnGpu(device: GPUDevice, draw: readonly (() => Tensor | DeviceTensor)[]): DeviceTensor {
  let joined: GPUBuffer | null = null;
  let dims: readonly number[] = [];
  for (const [i, next] of draw.entries()) {
    const tensor = next();
    const bytes = 4 * tensor.dims.reduce((total, dim) => total * dim, 1);
    if (joined === null) {
      dims = [(tensor.dims[0] ?? 1) * draw.length, ...tensor.dims.slice(1)];
      const { COPY_DST, COPY_SRC, STORAGE } = GPUBufferUsage;
      // ONNX Runtime binds whole vectors of four.
      const size = Math.ceil((bytes * draw.length) / 16) * 16;
      joined = device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
    }
    if ("buffer" in tensor) {
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(tensor.buffer, 0, joined, i * bytes, bytes);
      device.queue.submit([encoder.finish()]);
    } else device.queue.writeBuffer(joined, i * bytes, tensor.data as Float32Array<ArrayBuffer>);
  }
  return { dtype: "float32", dims, buffer: joined as GPUBuffer };
}
