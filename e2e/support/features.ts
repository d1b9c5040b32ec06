// Detects a browser's features, in the page and in a worker. Written as the text of an async function's body, since
// WebDriver and Playwright both take that. `expectedFeatures` lists the known features of each browser of the tests: a
// browser that lost one is misconfigured, and its tests would silently test something else.
import { chromiumAdapter } from "./browsers.ts";
import type { BrowserName } from "./browsers.ts";

/** Features of one realm; `adapter` is the adapter's own name if it has WebGPU. */
export interface RealmFeatures {
  readonly webgpu: boolean;
  readonly adapter: string;
  readonly shaderF16: boolean;
  readonly device: boolean;
  readonly jspi: boolean;
  readonly offscreenCanvas: boolean;
  readonly imageBitmap: boolean;
  readonly sharedMemory: boolean;
  readonly isolated: boolean;
  readonly opfs: boolean;
  readonly syncHandle: boolean;
  readonly cacheApi: boolean;
  readonly indexedDb: boolean;
}

/** Features of a page and its worker. */
export interface Features {
  readonly page: RealmFeatures;
  readonly worker: RealmFeatures;
}

const ASK = `async function ask() {
  let webgpu = false, adapter = "", shaderF16 = false, device = false;
  try {
    const found = await navigator.gpu?.requestAdapter();
    webgpu = found != null;
    if (found != null) {
      adapter = [found.info.vendor, found.info.architecture, found.info.device, found.info.description].join(" ");
      shaderF16 = found.features.has("shader-f16");
      const made = await found.requestDevice();
      device = true;
      made.destroy();
    }
  } catch {}
  let opfs = false, syncHandle = false;
  try {
    const root = await navigator.storage.getDirectory();
    opfs = true;
    const file = await root.getFileHandle("probe", { create: true });
    const handle = await file.createSyncAccessHandle();
    syncHandle = handle.write(new Uint8Array(16)) === 16;
    handle.close();
    await root.removeEntry("probe");
  } catch {}
  let offscreenCanvas = false, imageBitmap = false;
  try {
    const canvas = new OffscreenCanvas(4, 4);
    canvas.getContext("2d").fillRect(0, 0, 4, 4);
    offscreenCanvas = canvas.getContext("2d").getImageData(0, 0, 1, 1).data[3] === 255;
    imageBitmap = (await createImageBitmap(await canvas.convertToBlob())).width === 4;
  } catch {}
  return {
    webgpu, adapter, shaderF16, device, opfs, syncHandle, offscreenCanvas, imageBitmap,
    jspi: "Suspending" in WebAssembly,
    sharedMemory: typeof SharedArrayBuffer !== "undefined",
    isolated: self.crossOriginIsolated === true,
    cacheApi: typeof caches !== "undefined",
    indexedDb: typeof indexedDB !== "undefined",
  };
}`;

/** Body of an async function that returns `Features`. */
export const ASK_FEATURES = `${ASK}
const source = ${JSON.stringify(`${ASK}; ask().then((features) => postMessage(features));`)};
const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
const inWorker = new Promise((resolve, reject) => {
  const worker = new Worker(url);
  worker.onmessage = ({ data }) => { worker.terminate(); resolve(data); };
  worker.onerror = () => reject(new Error("the worker failed"));
});
return { page: await ask(), worker: await inWorker };`;

const EVERYWHERE = {
  jspi: true,
  offscreenCanvas: true,
  imageBitmap: true,
  sharedMemory: true,
  isolated: true,
  cacheApi: true,
  indexedDb: true,
};

/** Returns the known features of a browser of the tests, on an isolated page. */
export function expectedFeatures(browser: BrowserName): {
  page: Partial<RealmFeatures>;
  worker: Partial<RealmFeatures>;
} {
  switch (browser) {
    case "chromium": {
      const shaderF16 = chromiumAdapter() === "lavapipe";
      const all = { ...EVERYWHERE, webgpu: true, device: true, shaderF16, opfs: true };
      return { page: all, worker: { ...all, syncHandle: true } };
    }
    case "firefox": {
      const all = { ...EVERYWHERE, webgpu: true, device: true, shaderF16: true, opfs: true };
      return { page: all, worker: { ...all, syncHandle: true } };
    }
    case "webkit": {
      // No WebGPU in WebKitGTK: it tests the fallback without it. It claims that a page is isolated, but has no
      // SharedArrayBuffer, so no threads.
      const all = { ...EVERYWHERE, webgpu: false, sharedMemory: false };
      return { page: all, worker: all };
    }
  }
}
