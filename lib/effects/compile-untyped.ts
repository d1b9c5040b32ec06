// Compiles WebAssembly that a server sends under another type, and says so once: browsers compile no such response
// while it loads. Imported then.

/** Compiles a response's body after its last byte. */
export async function compileUntyped(url: string, response: Response): Promise<WebAssembly.Module> {
  const module = await WebAssembly.compile(await response.arrayBuffer());
  const type = response.headers.get("content-type") ?? "";
  globalThis.console.warn(`selvedge: ${url} is served as "${type}": as application/wasm it compiles while it loads`);
  return module;
}
