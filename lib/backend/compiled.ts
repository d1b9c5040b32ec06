// ONNX Runtime's wasm, compiled once for all workers of an engine: the first one compiles, those after it, and those that
// take the place of one that died, are handed the module. It has no option for that; its glue calls
// `WebAssembly.instantiateStreaming`, or `instantiate` where it is given a binary, so the module is caught there, and put
// in the binary's place.

/** Stands for the binary where the module is given; ONNX Runtime then fetches nothing. */
export const NO_BINARY: Uint8Array = new Uint8Array(8);

/**
 * Has `given` instantiated in place of what is asked for from now on; null leaves that as it is. Gives what tells the
 * module that was instantiated first; null while none was.
 */
export function shareModule(given: WebAssembly.Module | null): () => WebAssembly.Module | null {
  const wasm = WebAssembly;
  const { instantiate, instantiateStreaming } = wasm;
  let first = given;
  wasm.instantiate = (async (source: BufferSource | WebAssembly.Module, imports?: WebAssembly.Imports) => {
    if (source instanceof WebAssembly.Module) return instantiate(source, imports);
    if (given !== null) return { module: given, instance: await instantiate(given, imports) };
    const made = await instantiate(source, imports);
    first ??= made.module;
    return made;
  }) as typeof instantiate;
  wasm.instantiateStreaming = async (source, imports) => {
    const made = await instantiateStreaming(source, imports);
    first ??= made.module;
    return made;
  };
  return () => first;
}
