import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startServer } from "../../lib/compress/check/local-server.ts";
import { BareFirefox } from "./bare-firefox.ts";
import { BROWSER_PATHS } from "./browsers.ts";

/** Asks for calls as e2e/pages/memory.ts does; `never` has no answer. */
const PAGE = `<!doctype html><script type="module">
  const calls = new URL(location.href).searchParams.get("calls");
  let answer = {};
  for (;;) {
    const asked = await fetch(calls, { method: "POST", body: JSON.stringify(answer) });
    const { method, args } = await asked.json();
    if (method === "never") await new Promise(() => {});
    answer = method === "sum" ? { value: args[0] + args[1] } : { error: "no " + method };
  }
</script>`;

test.skipIf(!existsSync(BROWSER_PATHS.firefox))(
  "calls of a page in a Firefox that ends reject, and it closes",
  async () => {
    const profile = mkdtempSync(join(tmpdir(), "selvedge-bare-firefox-"));
    const site = await startServer((_, response) => response.setHeader("content-type", "text/html").end(PAGE));
    const browser = await BareFirefox.open(profile, `${site.origin}/`);
    try {
      expect(await browser.call("sum", [1, 2])).toBe(3);
      await expect(browser.call("product", [])).rejects.toThrow("no product");
      const pending = browser.call("never", []);
      const refused = expect(pending).rejects.toThrow("Firefox ended: SIGKILL");
      process.kill(browser.pid ?? 0, "SIGKILL");
      await refused;
      await expect(browser.call("sum", [1, 2])).rejects.toThrow("Firefox ended: SIGKILL");
    } finally {
      await browser.close();
      await site.close();
      // Its other processes write until they notice.
      rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    }
  },
  120_000,
);
