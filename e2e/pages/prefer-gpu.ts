// Makes the software adapter look like a GPU that measured faster, so that wasm remains the fallback.
import { RELEASE } from "../../lib/core/version.ts";

/** Text that replaces the measurements; no JSON can name all models. */
const MEASURED = "every model is faster on WebGPU";

/** Applies it for the life of the page. */
export function preferGpu(): void {
  const info = { vendor: "acme", architecture: "", device: "", description: "", isFallbackAdapter: false };
  Object.defineProperty(GPUAdapter.prototype, "info", { get: () => info });
  const { getItem } = Storage.prototype;
  Storage.prototype.getItem = function (this: Storage, key: string) {
    return key.startsWith("selvedge/measured/") ? MEASURED : getItem.call(this, key);
  };
  const { parse } = JSON;
  const entry = (): object => ({ wasm: [1_000, Date.now()], webgpu: [1, Date.now()] });
  const measured = { release: RELEASE, models: new Proxy({}, { get: entry }) };
  JSON.parse = (text: string, reviver) => (text === MEASURED ? measured : (parse(text, reviver) as unknown));
}
