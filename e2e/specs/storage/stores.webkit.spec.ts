// The stores of WebKitGTK, whose file system has no sync handles: IndexedDB serves instead.
import { STORE_RUNS, STORE_SCENES } from "../../support/suite.ts";
import { expect, test } from "../../support/webkit.ts";

test.beforeEach(async ({ webkit, pages }) => {
  await webkit.navigate(`${pages}/stores.html`);
  await webkit.run("while (globalThis.stores === undefined) await new Promise((resolve) => setTimeout(resolve, 20));");
});

for (const kind of ["cache", "indexeddb", "memory"]) {
  test(`${kind} passes the conformance suite`, async ({ webkit }) => {
    expect(await webkit.run("return stores.check(args[0])", kind)).toEqual({});
  });
}

for (const kind of ["cache", "indexeddb", "memory"]) {
  test(`whatever happens, ${kind} keeps its promises (store-A1, store-A2, store-B1, store-B3)`, async ({ webkit }) => {
    expect(await webkit.run("return stores.model(args[0], args[1])", kind, STORE_RUNS)).toBeNull();
  });

  for (const [title, scene] of kind === "memory" ? [] : STORE_SCENES)
    test(`${kind} keeps its promises ${title}`, async ({ webkit }) => {
      expect(await webkit.run("return stores.model(args[0], args[1], args[2])", kind, STORE_RUNS, scene)).toBeNull();
    });
}

for (const kind of ["cache", "indexeddb"]) {
  test(`${kind}: a worker that is killed while it writes leaves no partial entry`, async ({ webkit }) => {
    let whole = 0;
    for (let round = 0; round < 4; round += 1) {
      const given = [kind, 50 + round * 60, round % 2 === 1] as const;
      const found = (await webkit.run("return stores.kill(...args)", ...given)) as { whole: number; torn: string[] };
      expect(found.torn).toEqual([]);
      whole += found.whole;
    }
    // Entries that a worker put into the Cache API are gone with it in a private session, as these are.
    if (kind === "indexeddb") expect(whole).toBeGreaterThan(0);
  });
}

test("IndexedDB is the default of this browser", async ({ webkit }) => {
  expect(await webkit.run("return stores.best()")).toBe("indexeddb");
});

// Last: nothing uses IndexedDB in this browser after it.
test("a database that no longer answers is given up, and the next store serves", async ({ webkit }) => {
  // A WebDriver call takes 120 s at most, and which round wedges it is chance.
  test.setTimeout(900_000);
  let isWedged = false;
  for (let call = 0; call < 20 && !isWedged; call += 1)
    isWedged = (await webkit.run("return stores.wedge(50)")) as boolean;
  expect(isWedged).toBe(true);
  expect(await webkit.run("return stores.best()")).toBe("cache");
});
