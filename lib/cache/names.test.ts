// Names of files, as errors show them, and of a store's entries, which are its index.
import { expect, test } from "vitest";
import { chunkName, chunksOf, fileNameOf, identityIn, newest, pieceIn, pieceName } from "./names.ts";
import { piecesOf, seriesOf, storedKeys, timeOf, usedMs } from "./names.ts";

test("a file is named by the end of its path; a data: URL has no name", () => {
  expect(fileNameOf("https://a.test/m/cat.onnx?v=2#x")).toBe("cat.onnx");
  expect(fileNameOf(`data:application/octet-stream;base64,${"AAAA/".repeat(2_000)}AA`)).toBe("model");
});

const hash = (digit: string): string => digit.repeat(64);
const chunk = (digit: string, bytes: number): { sha256: string; bytes: number } => ({ sha256: hash(digit), bytes });

test("chunks, manifests and pieces are found by their names, and nothing else is taken for them", () => {
  const name = chunkName(chunk("a", 12));
  expect(chunksOf([name, `x${name}`, `${name}x`, "chunk-ab-12", `chunk-${hash("a")}-`])).toEqual(
    new Set([`${hash("a")}-12`]),
  );
  expect(identityIn(`bundle-${hash("a")}`)).toBe(hash("a"));
  for (const other of [`xbundle-${hash("a")}`, `bundle-${hash("a")}x`, "bundle-ab"])
    expect(identityIn(other)).toBeUndefined();
  const piece = pieceName(chunk("a", 30), 12, chunk("b", 20));
  expect(pieceIn(piece)).toEqual({ file: `${hash("a")}-30`, index: 12, piece: chunk("b", 20) });
  for (const other of [`x${piece}`, `${piece}x`, name]) expect(pieceIn(other)).toBeNull();
});

test("a file is stored once all of its pieces are, up to its size", () => {
  const file = chunk("a", 30);
  const key = `${hash("a")}-30`;
  const [first, second] = [chunk("b", 20), chunk("c", 10)];
  const records = [pieceName(file, 1, second), "other", pieceName(file, 0, first)];
  expect(piecesOf(records)).toEqual(new Map([[key, [first, second]]]));
  const stored = (names: readonly string[]): boolean => storedKeys(names).has(key);
  const chunks = [chunkName(first), chunkName(second)];
  expect(stored([...records, ...chunks])).toBe(true);
  expect(stored([...records, ...chunks.slice(1)]), "a chunk is missing").toBe(false);
  expect(stored([...records.slice(0, 1), ...chunks]), "the record of a piece is missing").toBe(false);
  expect(stored([...records.slice(1), ...chunks]), "the last record is missing").toBe(false);
  expect(storedKeys(chunks)).toEqual(new Set([`${hash("b")}-20`, `${hash("c")}-10`]));
});

test("the newest of a series counts, by the time at its end", () => {
  const names = [
    "used-a-900",
    "used-a-1000",
    "used-a-99",
    "used-a-x",
    "used-b-5000",
    "used-a-1000-2000",
    "my-used-a-7000",
  ];
  expect(seriesOf(names, "used-a")).toEqual(["used-a-1000", "used-a-900", "used-a-99"]);
  expect([newest(names, "used-a"), newest(names, "used-c")]).toEqual(["used-a-1000", null]);
  expect([usedMs(names, "a"), usedMs(names, "c"), timeOf(null)]).toEqual([1_000, 0, 0]);
});
