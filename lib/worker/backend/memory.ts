// Memory of a worker: its WebAssembly memories, which only grow, and the buffers on its GPU device. No API reports
// either, so both are counted where they are created: the constructor of WebAssembly.Memory, the memories that an
// instance exports, and the device's createBuffer. Further memory of the browser is not counted.

/** Tracks the WebAssembly memories created from now on; the returned function returns their size in bytes. */
export function watchWasmMemory(): () => number {
  const memories = new Set<WebAssembly.Memory>();
  const wasm = WebAssembly;
  const { Memory } = wasm;
  wasm.Memory = class extends Memory {
    constructor(descriptor: WebAssembly.MemoryDescriptor) {
      super(descriptor);
      memories.add(this);
    }
  };
  const note = (instance: WebAssembly.Instance): void => {
    for (const value of Object.values(instance.exports)) if (value instanceof Memory) memories.add(value);
  };
  refuseNullWrites(memories);
  const { instantiate, instantiateStreaming } = wasm;
  wasm.instantiate = (async (source: WebAssembly.Module, imports?: WebAssembly.Imports) => {
    const made = (await instantiate(source, imports)) as
      WebAssembly.Instance | WebAssembly.WebAssemblyInstantiatedSource;
    note("instance" in made ? made.instance : made);
    return made;
  }) as typeof instantiate;
  wasm.instantiateStreaming = async (...args) => {
    const made = await instantiateStreaming(...args);
    note(made.instance);
    return made;
  };
  return () => [...memories].reduce((sum, memory) => sum + memory.buffer.byteLength, 0);
}

/**
 * Makes a copy to address 0 of a WebAssembly memory throw. ONNX Runtime 1.30 copies the inputs of a run to where malloc
 * points and does not look whether that is 0, for want of memory: it would write over its own data, or throw "offset is
 * out of bounds". To be deleted once it looks.
 */
function refuseNullWrites(memories: ReadonlySet<WebAssembly.Memory>): void {
  const typed = Object.getPrototypeOf(Uint8Array.prototype) as Pick<Uint8Array, "set">;
  const { set } = typed;
  typed.set = function (this: Uint8Array, source, offset = 0) {
    if (offset === 0 && this.byteOffset === 0 && [...memories].some(({ buffer }) => buffer === this.buffer))
      throw new RangeError("out of memory: no address for an input");
    set.call(this, source, offset);
  };
}

/** Tracks the buffers created on a device from now on; the returned function returns their size in bytes. */
export function watchDeviceMemory(device: GPUDevice): () => number {
  let bytes = 0;
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
    const { size } = buffer;
    bytes += size;
    let isThere = true;
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      if (isThere) bytes -= size;
      isThere = false;
      destroy();
    };
    return buffer;
  };
  return () => bytes;
}
