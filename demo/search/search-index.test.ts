import fc from "fast-check";
import { expect, test } from "vitest";
import { PASSAGES_MAX, SearchIndex } from "./search-index.ts";
import { MemoryStore } from "./store.ts";
import type { Embedded, Passage, PassageStore } from "./store.ts";

const EAST = Float32Array.of(1, 0);
const VECTORS: Readonly<Record<string, Int8Array>> = {
  "a cat sleeps": Int8Array.of(127, 0),
  "a kitten naps": Int8Array.of(127, 20),
  "the tax office": Int8Array.of(0, 127),
};

/** An index in which all of VECTORS have theirs, by model m. */
async function filled(store = new MemoryStore()): Promise<SearchIndex> {
  const index = await SearchIndex.open(store);
  await index.useModel("m");
  await index.replace("notes", Object.keys(VECTORS));
  await embedAll(index, "m");
  return index;
}

async function embedAll(index: SearchIndex, model: string): Promise<void> {
  const vectors = index.missing(100).map(({ id, text }) => [id, VECTORS[text] ?? Int8Array.of(-127, 0)] as const);
  await index.embed(model, vectors);
}

function texts(index: SearchIndex, query: string, mode: "both" | "meaning" | "words"): string[] {
  return index.search(query, EAST, mode, 10).map((x) => x.text);
}

test("meaning finds the near, words find the equal, and both mix their ranks", async () => {
  const index = await filled();
  expect(texts(index, "office", "meaning")).toEqual(["a cat sleeps", "a kitten naps", "the tax office"]);
  expect(texts(index, "office", "words")).toEqual(["the tax office"]);
  expect(index.search("office", EAST, "both", 1)).toEqual([
    { source: "notes", text: "the tax office", byMeaning: 2, byWords: 0 },
  ]);
  expect(index.search("office", null, "both", 10)).toHaveLength(1);
});

test("a source that comes again keeps what is known, adds what is new and removes what is gone", async () => {
  const store = new MemoryStore();
  const index = await filled(store);
  await index.replace("notes", ["a cat sleeps", "the sea"]);
  expect(index.sources).toEqual([{ name: "notes", passages: 2, missing: 1 }]);
  expect(index.missing(10).map((x) => x.text)).toEqual(["the sea"]);
  expect(texts(index, "office", "both")).toEqual(["a cat sleeps"]);
  expect((await store.all()).map((x) => x.text).sort()).toEqual(["a cat sleeps", "the sea"]);
  await index.replace("notes", []);
  expect(index.sources).toEqual([]);
  expect(texts(index, "cat", "both")).toEqual([]);
  expect(await store.all()).toEqual([]);
});

test("removed passages take no place among the best", async () => {
  const index = await filled();
  await index.replace("notes", ["a kitten naps"]);
  for (const mode of ["meaning", "words"] as const)
    expect(index.search("a cat sleeps, a kitten naps", EAST, mode, 1).map((x) => x.text)).toEqual(["a kitten naps"]);
});

test("a passage that another tab removed does not come back with its vector", async () => {
  const store = new MemoryStore();
  const index = await filled(store);
  await index.replace("more", ["the sea"]);
  await (await SearchIndex.open(store)).replace("more", []);
  await embedAll(index, "m");
  expect((await store.all()).map((x) => x.text)).not.toContain("the sea");
});

test("the same text of two sources is two passages", async () => {
  const index = await filled();
  await index.replace("other", ["a cat sleeps"]);
  await index.replace("notes", []);
  expect(texts(index, "cat", "words")).toEqual(["a cat sleeps"]);
});

test("vectors are there again for the same model, and dropped for another", async () => {
  const store = new MemoryStore();
  await filled(store);
  const same = await SearchIndex.open(store);
  expect(texts(same, "office", "words")).toEqual(["the tax office"]);
  expect(texts(same, "cat", "meaning")).toEqual([]);
  await same.useModel("m");
  expect(same.missing(10)).toEqual([]);
  expect(texts(same, "cat", "meaning")).toHaveLength(3);
  await same.useModel("another");
  expect(same.sources).toEqual([{ name: "notes", passages: 3, missing: 3 }]);
  expect(texts(same, "cat", "meaning")).toEqual([]);
  await embedAll(same, "another");
  const back = await SearchIndex.open(store);
  await back.useModel("m");
  expect(back.missing(10)).toHaveLength(3);
});

test("vectors that come late, of a model that is no longer in use or of removed passages, are dropped", async () => {
  const store = new MemoryStore();
  const index = await filled(store);
  await index.replace("more", ["first", "second"]);
  const vectors = index.missing(10).map(({ id }) => [id, Int8Array.of(1, 1)] as const);
  await index.embed("another", vectors);
  expect(index.missing(10)).toHaveLength(2);
  await index.replace("more", ["second"]);
  await index.embed("m", vectors);
  expect(index.sources.at(-1)).toEqual({ name: "more", passages: 1, missing: 0 });
  expect((await store.all()).map((x) => x.text)).not.toContain("first");
});

test("after any replacements, words find exactly the passages that are there", async () => {
  const step = fc.tuple(fc.constantFrom("a", "b"), fc.subarray(["w1", "w2", "w3", "w4"]));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const store = new MemoryStore();
      const index = await SearchIndex.open(store);
      const expected = new Map<string, string[]>();
      for (const [source, list] of steps) {
        await index.replace(source, list);
        expected.set(source, list);
      }
      const all = [...expected].flatMap(([source, list]) => list.map((text) => `${source} ${text}`)).sort();
      const found = index.search("w1 w2 w3 w4", null, "both", 100).map((x) => `${x.source} ${x.text}`);
      expect(found.sort()).toEqual(all);
      expect((await store.all()).map((x) => `${x.source} ${x.text}`).sort()).toEqual(all);
    }),
  );
});

test("a source that is too large is refused, and changes nothing", async () => {
  const index = await filled();
  const many = Array.from({ length: PASSAGES_MAX }, (_, i) => String(i));
  await expect(index.replace("many", many)).rejects.toThrow(/^many: 20003 passages would be more than 20000/);
  expect(index.sources).toHaveLength(1);
});

/** One tab’s side of a store that several share. */
class Tab extends MemoryStore {
  readonly #shared: PassageStore;
  readonly #tabs: Set<Tab>;
  #listener: (passages: readonly Passage[]) => void = () => {};

  constructor(shared: PassageStore, tabs: Set<Tab>) {
    super();
    this.#shared = shared;
    this.#tabs = tabs.add(this);
  }

  override all = (): Promise<(Passage | Embedded)[]> => this.#shared.all();
  override read: PassageStore["read"] = (passages) => this.#shared.read(passages);

  override async change(removed: readonly Passage[], added: readonly Passage[]): Promise<void> {
    await this.#shared.change(removed, added);
    this.#tell([...removed, ...added]);
  }

  override async embed(passages: readonly Embedded[]): Promise<void> {
    await this.#shared.embed(passages);
    this.#tell(passages);
  }

  override onOtherTab(listener: (passages: readonly Passage[]) => void = () => {}): void {
    this.#listener = listener;
  }

  #tell(passages: readonly Passage[]): void {
    for (const tab of this.#tabs) if (tab !== this) setTimeout(() => tab.#listener(passages));
  }
}

async function twoTabs(): Promise<{ first: SearchIndex; second: SearchIndex; seen: () => Promise<void> }> {
  const [shared, tabs] = [new MemoryStore(), new Set<Tab>()];
  let waiting = (): void => {};
  const seen = (): Promise<void> => new Promise((resolve) => (waiting = resolve));
  const first = await SearchIndex.open(new Tab(shared, tabs), () => waiting());
  const second = await SearchIndex.open(new Tab(shared, tabs), () => waiting());
  return { first, second, seen };
}

test("a tab sees the texts and vectors that another adds, and those that it removes", async () => {
  const { first, second, seen } = await twoTabs();
  for (const index of [first, second]) await index.useModel("m");
  const after = async (work: Promise<void>): Promise<void> => {
    const told = seen();
    await work;
    await told;
  };
  await after(first.replace("notes", ["a cat sleeps", "the tax office"]));
  expect(second.sources).toEqual([{ name: "notes", passages: 2, missing: 2 }]);
  expect(texts(second, "office", "words")).toEqual(["the tax office"]);
  await after(embedAll(first, "m"));
  expect(second.sources).toEqual([{ name: "notes", passages: 2, missing: 0 }]);
  expect(texts(second, "office", "meaning")).toEqual(["a cat sleeps", "the tax office"]);
  await after(second.replace("notes", ["a cat sleeps"]));
  expect(texts(first, "office", "both")).toEqual(["a cat sleeps"]);
  await after(first.clear());
  expect(second.sources).toEqual([]);
});

test("tabs that change the same source at once end with what is stored", async () => {
  const [shared, tabs] = [new MemoryStore(), new Set<Tab>()];
  const [first, second] = [
    await SearchIndex.open(new Tab(shared, tabs)),
    await SearchIndex.open(new Tab(shared, tabs)),
  ];
  await Promise.all([
    first.replace("notes", ["a", "b"]),
    second.replace("notes", ["b", "c"]),
    first.replace("notes", ["d"]),
    second.clear(),
    first.replace("notes", ["a"]),
  ]);
  await expect
    .poll(() => [first, second].map((x) => x.missing(9).map(({ text }) => text)))
    .toEqual(Array(2).fill((await shared.all()).map((x) => x.text)));
});

test("changes that are asked for at once are made one after the other", async () => {
  const store = new MemoryStore();
  const index = await SearchIndex.open(store);
  await Promise.all([
    index.replace("notes", ["a", "b"]),
    index.replace("notes", ["b", "c"]),
    index.replace("x", ["d"]),
  ]);
  expect(index.missing(9).map((x) => x.text)).toEqual(["b", "c", "d"]);
  expect((await store.all()).map((x) => x.text)).toEqual(["b", "c", "d"]);
});

test("a change that can't be stored changes nothing, and the next one is made", async () => {
  const store = new MemoryStore();
  const index = await filled(store);
  const change = store.change.bind(store);
  store.change = () => Promise.reject(new Error("full"));
  await expect(index.replace("notes", ["the sea"])).rejects.toThrow("full");
  expect(texts(index, "office sea", "words")).toEqual(["the tax office"]);
  store.change = change;
  await index.replace("notes", ["the sea"]);
  expect(texts(index, "office sea", "words")).toEqual(["the sea"]);
});

test("another text gets a name of its own, the same text none", async () => {
  const index = await SearchIndex.open(new MemoryStore());
  await index.add("Dear all", ["Dear all", "lunch"]);
  await index.add("Dear all", ["Dear all", "dinner"]);
  await index.add("Dear all", ["Dear all", "dinner"]);
  await index.add("Dear all", ["Dear all", "lunch"]);
  expect(index.sources.map((x) => x.name)).toEqual(["Dear all", "Dear all (2)"]);
});

test("words are found in code, in HTML, and in scripts with marks", async () => {
  const index = await SearchIndex.open(new MemoryStore());
  const passages = ["call `engine.load()` first", "<b>bold</b> a+b=c", "हिन्दी में खोज"];
  await index.replace("notes", passages);
  for (const [i, query] of ["engine", "bold", "खोज"].entries())
    expect(texts(index, query, "words")).toEqual([passages[i]]);
  expect(texts(index, "`", "words")).toEqual([]);
});
