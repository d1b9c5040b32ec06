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
