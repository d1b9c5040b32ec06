// The optional packages that the toolchain needs, loaded when first asked for. They are large or native, so that who only
// wants the engine does not install them; one that is missing is named with the line that installs it.
import { SelvedgeError } from "../errors.ts";

/** Loads ONNX Runtime for Node. */
export async function loadRuntime(): Promise<typeof import("onnxruntime-node")> {
  return demand("onnxruntime-node", () => import("onnxruntime-node"));
}

/** Loads ONNX Runtime Web, whose WebAssembly runs in Node as in a browser. */
export async function loadWebRuntime(): Promise<typeof import("onnxruntime-web/wasm")> {
  return demand("onnxruntime-web", () => import("onnxruntime-web/wasm"));
}

/** Loads sharp, which reads images. */
export async function loadSharp(): Promise<typeof import("sharp")> {
  const { default: sharp } = await demand("sharp", () => import("sharp"));
  return sharp;
}

/** Loads Playwright, which drives browsers. */
export async function loadPlaywright(): Promise<typeof import("playwright-core")> {
  return demand("playwright-core", () => import("playwright-core"));
}

async function demand<Module>(name: string, load: () => Promise<Module>): Promise<Module> {
  try {
    return await load();
  } catch (error) {
    const message = `the package ${name} is missing: npm install --save-dev ${name}`;
    throw new SelvedgeError("internal", message, { package: name }, error);
  }
}
