// A model is downloaded once in WebKitGTK too, where IndexedDB stores it.
import { startDelivery } from "../../support/delivery-server.ts";
import { keep, slice } from "../../support/slice.ts";
import type { Delivered } from "../../pages/delivery.ts";
import { expect, test } from "../../support/webkit.ts";
import type { WebDriver } from "../../support/webdriver.ts";

/** Chunks that one load fetches at once. */
const PARALLEL = 4;

async function open(webkit: WebDriver, pages: string): Promise<void> {
  await webkit.navigate(`${pages}/delivery.html`);
  await webkit.run(
    "while (globalThis.delivery === undefined) await new Promise((resolve) => setTimeout(resolve, 20));",
  );
}

async function load(webkit: WebDriver, pages: string, url: string): Promise<Delivered> {
  await open(webkit, pages);
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

test("a tab that is killed at any point costs the next one a chunk per stream at the most", async ({
  webkit,
  pages,
}, info) => {
  const rounds = slice(2, 25); // two kills each
  test.setTimeout(slice(300_000, 1_800_000));
  let kills = 0;
  let refetched = 0;
  for (let round = 0; round < rounds; round += 1) {
    const { server, url, chunks, bundle } = await startDelivery();
    try {
      server.trick = (path) => (path.includes("chunks") ? { kind: "trickle", parts: 4, pauseMs: 5 } : null);
      const total = bundle.variants[0]?.files.reduce((sum, x) => sum + x.bytes, 0) ?? 0;
      await open(webkit, pages);
      await webkit.run(ERASE);
      for (const part of [0.1 + 0.55 * ((round * 0.37) % 1), 0.7 + 0.25 * ((round * 0.61) % 1)]) {
        await open(webkit, pages);
        await webkit.run("await delivery.begin(args[0], args[1])", url, Math.floor(part * total));
        kills += 1;
        await webkit.killTab();
      }
      expect((await load(webkit, pages, url)).result).toBe("right");
      const extra = server.chunkRequests - chunks;
      expect(extra).toBeLessThanOrEqual(2 * PARALLEL);
      refetched += extra;
    } finally {
      server.close();
    }
  }
  await keep(info, { kills, refetched });
});

/** Clears the store. */
const ERASE = `await new Promise((resolve, reject) => {
  const request = indexedDB.deleteDatabase("selvedge-2");
  request.onsuccess = resolve;
  request.onerror = () => reject(request.error);
});`;
