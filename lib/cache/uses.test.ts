// Models that may not be evicted: those that load or are loaded, in this tab and in others.
import { expect, test } from "vitest";
import type { BundleChunk } from "../core/bundle.ts";
import type { TabLocks } from "./tab-locks.ts";
import { Uses } from "./uses.ts";

const chunk = (sha256: string): BundleChunk => ({ sha256, bytes: 1 });

/** Uses, and the names that other tabs see as used. */
function scene(elsewhere: readonly string[] = []) {
  const locked = new Set<string>();
  const locks = {
    use: (id: string) => locked.add(id),
    unuse: (id: string) => locked.delete(id),
    used: () => Promise.resolve([...elsewhere, ...locked]),
  };
  const uses = new Uses(locks as unknown as TabLocks);
  return { uses, locked, kept: async () => [...(await uses.kept())].sort() };
}

test("a model that loads is kept with its chunks until the load ends, and while it is loaded", async () => {
  const { uses, locked, kept } = scene();
  const end = uses.begin("m", [chunk("1")]);
  uses.name("m", chunk("2"));
  uses.name("other", chunk("3"));
  expect(await kept()).toEqual(["1", "2", "m"]);
  end(true);
  expect(await kept()).toEqual(["1", "2", "m"]);
  uses.unloaded("m");
  uses.unloaded("never loaded");
  expect([await kept(), [...locked]]).toEqual([[], []]);
  uses.begin("m")(false);
  expect(await kept()).toEqual([]);
});

test("of two loads of a model the last that ends lets it go, unless one of them loaded it", async () => {
  const { uses, kept } = scene();
  const [first, second] = [uses.begin("m", [chunk("1")]), uses.begin("m", [chunk("2")])];
  first(false);
  expect(await kept()).toEqual(["1", "2", "m"]);
  second(false);
  expect(await kept()).toEqual([]);
  const [third, fourth] = [uses.begin("m"), uses.begin("m")];
  third(true);
  fourth(false);
  expect(await kept()).toEqual(["m"]);
  const again = uses.begin("m");
  uses.unloaded("m");
  expect(await kept(), "it is loaded anew").toEqual(["m"]);
  again(false);
  expect(await kept()).toEqual([]);
});

test("a draft that holds the chunks of a loaded model is kept, for as long as any model needs it", async () => {
  const { uses, locked, kept } = scene();
  uses.loaded("a", [chunk("1")], "draft");
  uses.loaded("b", [], "draft");
  const end = uses.begin("draft");
  expect(await kept()).toEqual(["1", "a", "b", "draft"]);
  uses.unloaded("a");
  expect([...locked].sort()).toEqual(["b", "draft"]);
  uses.unloaded("b");
  expect([await kept(), [...locked]]).toEqual([["draft"], ["draft"]]);
  uses.loaded("c", [], "draft");
  end(false);
  expect([await kept(), [...locked].sort()]).toEqual([
    ["c", "draft"],
    ["c", "draft"],
  ]);
  uses.loaded("c");
  expect([await kept(), [...locked]], "it is stored by now").toEqual([["c"], ["c"]]);
});

test("what other tabs use is kept, and the bytes of other pages are counted", async () => {
  const { uses, kept } = scene(["m", "bytes/100/page-1", "bytes/20/page-2", "bytes/3/page-3", "other/7/page-2"]);
  expect(await kept()).toContain("m");
  expect([await uses.bytesElsewhere("page-1"), await uses.bytesElsewhere(undefined)]).toEqual([23, 123]);
});

test("where no other tab sees the store, this one's models are kept all the same", async () => {
  const uses = new Uses(null);
  uses.loaded("m", [chunk("1")], "draft");
  expect([...(await uses.kept())].sort()).toEqual(["1", "draft", "m"]);
  expect(await uses.bytesElsewhere("page")).toBe(0);
  uses.unloaded("m");
  expect((await uses.kept()).size).toBe(0);
});
