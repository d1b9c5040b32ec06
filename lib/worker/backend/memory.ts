// How much memory a worker holds: its WebAssembly memories, which only grow, and the buffers on its GPU device. Neither
// can be asked for, so both are counted where they are made: the constructor of WebAssembly.Memory, the memories that
// an instance brings along, and the device's createBuffer. What a browser keeps beside them is not seen.

/** Watches the WebAssembly memories that are made from now on; gives their size in bytes when asked. */
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

/** Watches the buffers that are made on a device from now on; gives their size in bytes when asked. */
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
