// A model arrives once in WebKitGTK too, where IndexedDB keeps it.
import { startDelivery } from "./delivery-server.ts";
import type { Delivered } from "./pages/delivery.ts";
import { expect, test } from "./webkit.ts";
import type { WebDriver } from "./webdriver.ts";

async function load(webkit: WebDriver, pages: string, url: string): Promise<Delivered> {
  await webkit.navigate(`${pages}/delivery.html`);
  await webkit.run(
    "while (globalThis.delivery === undefined) await new Promise((resolve) => setTimeout(resolve, 20));",
  );
  return (await webkit.run("return delivery.load(args[0])", url)) as Delivered;
}

test("a second page loads from the store, over what the server did wrong, and without a server", async ({
  webkit,
  pages,
}) => {
  const { server, url, chunks, bundle } = await startDelivery();
  try {
    const total = bundle.variants[0]?.files.reduce((sum, x) => sum + x.bytes, 0) ?? 0;
    server.trick = (path, nth) => (nth === 0 && /chunks\/[0-3]/.test(path) ? { kind: "flip", at: 5 } : null);
    expect(await load(webkit, pages, url)).toMatchObject({ result: "right", last: { loadedBytes: total } });
    server.trick = () => null;
    expect(server.chunkRequests).toBeGreaterThanOrEqual(chunks);
    server.asked = [];
    const second = await load(webkit, pages, url);
    expect(second).toMatchObject({ result: "right", last: { loadedBytes: total, cachedBytes: total } });
    expect(server.asked.map((x) => x.path)).toEqual(["/m/bundle.json"]);
    server.close();
    expect(await load(webkit, pages, url)).toMatchObject({ result: "right", last: { cachedBytes: total } });
  } finally {
    server.close();
  }
});
