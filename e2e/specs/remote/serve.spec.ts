// `selvedge serve` with NVIDIA's own client, tritonclient, in the soak. lib/serve has the tests that need no Python, with
// selvedge/remote as the client. Needs no browser.
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "@playwright/test";
import { describe } from "../../../lib/compress/bundle/describe.ts";
import { writeBundle } from "../../../lib/compress/bundle/pack.ts";
import { readModel } from "../../../lib/compress/onnx/model.ts";
import { startServer } from "../../../lib/serve/server.ts";
import { makeModels } from "../../support/engine-models.ts";
import { installEngine } from "../../support/engines.ts";
import { ROOT } from "../../support/prepare.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";

if (isSoak)
  test("tritonclient reads metadata, and infers every type as bytes, in JSON and compressed @chromium", async () => {
    test.setTimeout(900_000);
    // MLServer's own environment has the client.
    const python = join(await installEngine("mlserver"), "bin/python");
    const bundles: string[] = [];
    for (const [name, bytes] of Object.entries(makeModels())) {
      const folder = join(ROOT, "e2e/.cache/serve", name);
      rmSync(folder, { recursive: true, force: true });
      const model = readModel(bytes);
      const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", model }] }];
      await writeBundle(folder, { model: await describe(model, `${name}.onnx`, undefined), variants });
      bundles.push(folder);
    }
    const server = await startServer({ bundles, port: 0, logLevel: "error" });
    try {
      await server.ready;
      const script = join(ROOT, "e2e/servers/triton_client.py");
      const { stdout } = await promisify(execFile)(python, [script, new URL(server.url).host]);
      expect(JSON.parse(stdout)).toEqual({
        ...{ server: "selvedge", live: true, ready: true, model: true, inputs: true },
        ...{ binary: "one", json: "one", gzip: "one", async: 32 },
        error: ["404", 'model "none" is not served'],
      });
    } finally {
      await server.close();
    }
  });
