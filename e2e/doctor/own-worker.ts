// A worker of the app that holds the engine: answers a message, the model's address, with the page's title.
import { createEngine } from "selvedge";

addEventListener("message", ({ data }: MessageEvent<string>) => {
  void (async () => {
    try {
      const engine = await createEngine({ backends: ["wasm"] });
      const model = await engine.load(data);
      const { outputs } = await model.run({
        a: { dtype: "float32", dims: [1, 3], data: new Float32Array([1, 2, 3]) },
        b: { dtype: "float32", dims: [1, 3], data: new Float32Array([10, 20, 30]) },
      });
      postMessage(`answer ${[...(outputs["y"]?.data ?? [])].join(" ")}`);
    } catch (error) {
      postMessage(`failed: ${String(error)}`);
    }
  })();
});
