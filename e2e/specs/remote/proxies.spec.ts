// The configurations of nginx and Caddy in docs/serve.md, with the real programs in front of NVIDIA Triton, which has no
// CORS headers: a page gets answers as bytes, a page of another origin does not, and a server that is away is named.
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type * as Remote from "selvedge/remote";
import { makeModels } from "../../support/engine-models.ts";
import { startEngine } from "../../support/engines.ts";
import { freePort } from "../../support/free-port.ts";
import { ROOT } from "../../support/prepare.ts";
import { startProxy } from "../../support/proxies.ts";

/** An answer in the page: the sum of the logits of each row, or the error's reason. */
interface Inferred {
  readonly sums: readonly number[];
  readonly isBinary: boolean;
  readonly reason: string | null;
}

for (const name of ["nginx", "caddy"] as const)
  test(`a page infers through ${name} as the docs configure it, and no other origin does @chromium`, async ({
    page,
  }) => {
    test.setTimeout(900_000);
    const { pages } = test.info().config.metadata as { pages: string };
    const folder = join(ROOT, `e2e/.cache/servers/behind-${name}`);
    const triton = await startEngine("triton", makeModels(), folder, await freePort());
    try {
      const proxy = await startProxy(name, triton.url, new URL(pages).origin);
      try {
        await page.goto(`${pages}/blank.html`);
        const direct = await infer(page, triton.url);
        // An isolated page can't tell a server that is away from one without CORS headers.
        expect(direct).toMatchObject({ sums: [], reason: "unreachable" });
        const behind = await infer(page, proxy.url);
        expect(behind).toMatchObject({ isBinary: true, reason: null });
        expect(behind.sums).toHaveLength(2);
        expect(await triton.countAnswers("fashion-mlp", 1)).toBeGreaterThan(0);
        for (const path of ["/v2/repository/models/fashion-mlp/unload", "/v2/logging", "/v2/models/a/b/infer"])
          expect((await fetch(proxy.url + path, { method: "POST", body: "{}" })).status, path).toBe(403);
        expect((await fetch(`${proxy.url}/v2/repository/index`, { method: "POST", body: "{}" })).status).toBe(200);
        await page.goto(`${pages.replace("127.0.0.1", "localhost")}/blank.html`);
        expect(await infer(page, proxy.url)).toMatchObject({ sums: [], reason: "unreachable" });
        await triton.stop("SIGKILL");
        await page.goto(`${pages}/blank.html`);
        expect(await infer(page, proxy.url)).toMatchObject({ sums: [], reason: "server" });
      } finally {
        await proxy.stop();
      }
    } finally {
      await triton.stop("SIGKILL");
    }
  });

/** Has the page classify two pictures through an endpoint. */
function infer(page: Page, endpoint: string): Promise<Inferred> {
  return page.evaluate(async (endpoint) => {
    const path = "/dist/remote/index.js";
    const { connectRemote } = (await import(path)) as typeof Remote;
    const remote = connectRemote({ endpoints: [endpoint], timeoutMs: 10_000, attempts: 2 });
    try {
      const data = Float32Array.from({ length: 2 * 784 }, (_, i) => Math.sin(i));
      const model = await remote.model("fashion-mlp");
      const { outputs, info } = await model.infer({ image: { dtype: "float32", dims: [2, 1, 28, 28], data } });
      const logits = [...(outputs["logits"]?.data as Float32Array)];
      const sums = [logits.slice(0, 10), logits.slice(10)].map((row) => row.reduce((a, b) => a + b, 0));
      return { sums, isBinary: info.isBinary, reason: null };
    } catch (error) {
      const details = Reflect.get(error as object, "details") as { reason?: string } | undefined;
      return { sums: [], isBinary: false, reason: details?.reason ?? String(error) };
    } finally {
      remote.close();
    }
  }, endpoint);
}
