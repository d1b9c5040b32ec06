// The page of the broken sites: loads a model and puts its answer, or the error, into the title.
import { createEngine } from "selvedge";
import type { App } from "./site.ts";

const { model, load, assetsBase, threads, policy, isLazy, isQuiet, serviceWorker } = JSON.parse(
  document.querySelector("meta[name=app]")?.getAttribute("content") ?? "{}",
) as App;

interface Factory {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

/** Registers a service worker, and waits until it answers requests of the page. */
async function controlledBy(script: string): Promise<void> {
  await navigator.serviceWorker.register(script);
  if (navigator.serviceWorker.controller === null)
    await new Promise((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
    });
}

async function answer(): Promise<void> {
  try {
    if (serviceWorker !== undefined) await controlledBy(serviceWorker);
    const { trustedTypes } = globalThis as { trustedTypes?: Factory };
    const trustedTypesPolicy =
      policy === undefined ? undefined : trustedTypes?.createPolicy(policy, { createScriptURL: (url) => url });
    const engine = await createEngine({ backends: ["wasm"], assetsBase, threads, trustedTypesPolicy });
    const loaded = await engine.load(new URL(model, document.baseURI).href, load);
    if (!model.endsWith(".onnx")) {
      document.title = "loaded";
      return;
    }
    const { outputs } = await loaded.run({
      a: { dtype: "float32", dims: [1, 3], data: new Float32Array([1, 2, 3]) },
      b: { dtype: "float32", dims: [1, 3], data: new Float32Array([10, 20, 30]) },
    });
    document.title = `answer ${[...(outputs["y"]?.data ?? [])].join(" ")}`;
  } catch (error) {
    if (isQuiet !== true) console.error(error);
    document.title = `failed: ${String(error)}`;
  }
}

if (isLazy === true) addEventListener("click", () => void answer());
else void answer();
