// Maps of SentencePiece's normalizer: by clusters and characters, and in place of the library's own.
import { expect, test } from "vitest";
import type { BundleInput } from "../../../core/bundle.ts";
import { wordTokenizer } from "../../../test-support/word-tokenizer.ts";
import { aligned } from "./aligned.ts";
import { readCharsmap } from "./charsmap.ts";
import { createTextReaders } from "../text.ts";

/** Builds a map in base64: a block of 256 units for each node, with its leaf as the first. */
function charsmapOf(texts: Readonly<Record<string, string>>): string {
  const units: number[] = [];
  let [blocks, values] = [1, ""];
  const linkTo = (at: number, block: number, rest: number): void => {
    units[at] = rest | ((at ^ (block * 256)) << 10);
  };
  linkTo(0, 1, 0);
  for (const [key, text] of Object.entries(texts)) {
    let block = 1;
    let at = 0;
    for (const byte of new TextEncoder().encode(key)) {
      at = (block * 256) ^ byte;
      const known = units[at];
      block = known === undefined ? (blocks += 1) : (at ^ (known >>> 10)) / 256;
      if (known === undefined) linkTo(at, block, byte);
    }
    units[at] = (units[at] ?? 0) | 0x100;
    units[block * 256] = 0x80000000 | new TextEncoder().encode(values).length;
    values += `${text}\0`;
  }
  const size = (blocks + 1) * 256 * 4;
  const bytes = new DataView(new ArrayBuffer(4 + size));
  bytes.setUint32(0, size, true);
  units.forEach((unit, i) => {
    bytes.setUint32(4 + 4 * i, unit, true);
  });
  const all = Uint8Array.from([...new Uint8Array(bytes.buffer), ...new TextEncoder().encode(values)]);
  return Array.from({ length: Math.ceil(all.length / 3) }, (_, i) =>
    btoa(String.fromCharCode(...all.subarray(3 * i, 3 * i + 3))),
  ).join("");
}

/** Returns the function that changes texts by a map. */
const normalizerOf =
  (map: string) =>
  (text: string): string | undefined =>
    readCharsmap(map)?.(aligned(text)).text;

const MAP = charsmapOf({ A: "a", "①": "1", "e\u0301": "é", "\r": " ", "\u200b": "", ﬁ: "fi" });

test("characters are replaced as the map says, and others stay, joined emoji too", () => {
  const normalize = normalizerOf(MAP);
  expect(normalize("AB ①ﬁx\u200by")).toBe("aB 1fixy");
  expect(normalize("A👨\u200d👩")).toBe("a👨\u200d👩");
  expect(normalize("")).toBe("");
});

test("a cluster of few bytes is looked up whole, by the shortest key that it begins with", () => {
  const normalize = normalizerOf(MAP);
  expect(normalize("e\u0301e")).toBe("ée");
  expect(normalize("x\r\ny")).toBe("x y");
});

test("what is no map is none", () => {
  for (const x of ["", "AAAA", btoa("\x08\0\0\0abcd")]) expect(readCharsmap(x)).toBeNull();
});

test("a tokenizer's file normalizes by its map, in a list too", () => {
  const input: BundleInput = {
    ...{ name: "input_ids", dtype: "int64", dims: ["batch", "length"], batchAxis: 0 },
    text: { tokenizer: "tokenizer.json", maxLength: 8 },
  };
  const json = JSON.parse(wordTokenizer(["a", "B"])) as Record<string, unknown>;
  const part = { type: "Precompiled", precompiled_charsmap: MAP };
  for (const normalizer of [part, { type: "Sequence", normalizers: [{ type: "NFC" }, part] }]) {
    const assets = { "tokenizer.json": JSON.stringify({ ...json, normalizer }) };
    const read = createTextReaders([input], assets)["input_ids"]?.read(["A B"]);
    expect(read?.["input_ids"]?.data).toEqual(BigInt64Array.of(2n, 4n, 5n, 3n));
  }
});
