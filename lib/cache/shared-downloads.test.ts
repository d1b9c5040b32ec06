// Requests for the same bytes that share a download.
import { expect, test, vi } from "vitest";
import { SharedDownloads } from "./shared-downloads.ts";
import type { LoadedChunk } from "./shared-downloads.ts";

const chunk = { sha256: "a", bytes: 3 };
const loaded = (): LoadedChunk => ({ chunk, blob: new Blob(), from: "network", isStored: false });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Downloads that a test ends, in the order in which they begin. */
function scene() {
  const shared = new SharedDownloads();
  const begun: {
    readonly url: string;
    readonly signal: AbortSignal;
    readonly report: (bytes: number) => void;
    readonly end: (result: LoadedChunk) => void;
    readonly fail: (error: Error) => void;
  }[] = [];
  const join = (url: string, signal = new AbortController().signal, onBytes: (bytes: number) => void = vi.fn()) =>
    shared.join("key", url, signal, onBytes, (own, report) => {
      return new Promise<LoadedChunk>((end, fail) => {
        begun.push({ url, signal: own, report, end, fail });
      });
    });
  const nth = (n: number) => {
    const found = begun[n];
    if (found === undefined) throw new Error(`no download ${n}`);
    return found;
  };
  return { shared, begun, join, nth };
}

test("requests for the same bytes share one download, and each hears of all bytes", async () => {
  const { shared, begun, join, nth } = scene();
  expect(shared.has("key")).toBe(false);
  const [early, late] = [vi.fn(), vi.fn()];
  const one = join("/a", undefined, early);
  await turn();
  nth(0).report(5);
  const two = join("/a", undefined, late);
  nth(0).report(7);
  nth(0).report(-2);
  expect([shared.has("key"), shared.has("other"), begun.length]).toEqual([true, false, 1]);
  expect([early.mock.calls, late.mock.calls]).toEqual([
    [[5], [7], [-2]],
    [[5], [7], [-2]],
  ]);
  const result = loaded();
  nth(0).end(result);
  expect([await one, await two]).toEqual([result, result]);
  expect(shared.has("key")).toBe(false);
});

test("a request that joins before a byte came hears of none", async () => {
  const { join, nth } = scene();
  const tell = vi.fn();
  const all = [join("/a"), join("/a", undefined, tell)];
  await turn();
  expect(tell).not.toHaveBeenCalled();
  nth(0).end(loaded());
  await Promise.all(all);
});

test("one that cancels rejects with its reason, hears no more, and the others go on", async () => {
  const { join, nth } = scene();
  const stop = new AbortController();
  const tell = vi.fn();
  const [one, two] = [join("/a", stop.signal, tell), join("/a")];
  await turn();
  stop.abort(new Error("enough"));
  await expect(one).rejects.toThrow("enough");
  nth(0).report(4);
  expect(tell).not.toHaveBeenCalled();
  expect(nth(0).signal.aborted).toBe(false);
  nth(0).end(loaded());
  expect(await two).toMatchObject({ chunk });
});

test("the last that cancels ends the download, with its reason; a request after it starts another", async () => {
  const { shared, begun, join, nth } = scene();
  const stop = new AbortController();
  const one = join("/a", stop.signal);
  await turn();
  stop.abort(new Error("enough"));
  await expect(one).rejects.toThrow("enough");
  expect([nth(0).signal.aborted, nth(0).signal.reason]).toMatchObject([true, { message: "enough" }]);
  expect(shared.has("key")).toBe(false);
  const again = join("/a");
  await turn();
  expect(begun).toHaveLength(2);
  nth(0).fail(new Error("late")); // the cancelled one ends only now
  await turn();
  expect(shared.has("key")).toBe(true);
  nth(1).end(loaded());
  expect(await again).toMatchObject({ chunk });
});

test("a request that is cancelled beforehand starts nothing", async () => {
  const { shared, begun, join } = scene();
  await expect(join("/a", AbortSignal.abort(new Error("no")))).rejects.toThrow("no");
  await turn();
  expect([begun.length, shared.has("key")]).toEqual([0, false]);
});

test("where another address fails, its bytes are taken back and the own one is tried, once", async () => {
  const { begun, join, nth } = scene();
  const tell = vi.fn();
  const one = join("/a");
  const two = join("/b", undefined, tell);
  await turn();
  nth(0).report(6);
  nth(0).fail(new Error("gone from a"));
  await expect(one).rejects.toThrow("gone from a");
  await turn();
  expect(begun.map((x) => x.url)).toEqual(["/a", "/b"]);
  expect(tell.mock.calls).toEqual([[6], [-6]]);
  nth(1).report(3);
  nth(1).fail(new Error("gone from b"));
  await expect(two).rejects.toThrow("gone from b");
  expect(tell.mock.calls).toEqual([[6], [-6], [3]]);
});

test("a failed download is over: the next request starts another", async () => {
  const { shared, begun, join, nth } = scene();
  const one = join("/a");
  await turn();
  nth(0).fail(new Error("broken"));
  await expect(one).rejects.toThrow("broken");
  expect(shared.has("key")).toBe(false);
  const again = join("/a");
  await turn();
  expect(begun).toHaveLength(2);
  nth(1).end(loaded());
  await again;
});

test("one that is cancelled as another address fails does not try its own", async () => {
  const { begun, join, nth } = scene();
  const stop = new AbortController();
  const one = join("/a");
  const two = join("/b", stop.signal);
  await turn();
  nth(0).fail(new Error("broken"));
  stop.abort(new Error("enough"));
  await expect(two).rejects.toThrow();
  await expect(one).rejects.toThrow("broken");
  await turn();
  expect(begun).toHaveLength(1);
});

test("a download that throws at once rejects, and is over", async () => {
  const shared = new SharedDownloads();
  const { signal } = new AbortController();
  const fail = (): never => {
    throw new Error("at once");
  };
  await expect(shared.join("key", "/a", signal, vi.fn(), fail)).rejects.toThrow("at once");
  expect(shared.has("key")).toBe(false);
});
