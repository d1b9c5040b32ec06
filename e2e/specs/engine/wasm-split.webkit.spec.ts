// ONNX Runtime's binary in two parts, in WebKitGTK.
import { isWhole, RARE, startSplitSite } from "../../support/split-site.ts";
import { expect, test } from "../../support/webkit.ts";

for (const isUnforeseen of [false, true])
  test(`the second part is fetched ${isUnforeseen ? "in the middle of a call" : "before a load"}`, async ({
    webkit,
  }) => {
    const site = await startSplitSite();
    site.isUnforeseen = isUnforeseen;
    try {
      await webkit.navigate(site.url);
      await webkit.run("while (globalThis.app === undefined) await new Promise((resolve) => setTimeout(resolve, 20));");
      expect(await webkit.run("return app.answer('/usual.onnx', 1)")).toEqual([1, 3, 2]);
      expect(site.restCount()).toBe(0);
      expect(await webkit.run("return app.answer('/rare.onnx', 1)")).toEqual(RARE);
      expect(site.restCount()).toBe(isWhole ? 0 : 1);
    } finally {
      await site.close();
    }
  });
