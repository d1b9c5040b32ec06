import { zipSync } from "fflate";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openNpy, openNpz, readNpy, readNpz } from "./npy.ts";

/** Writes an array as NumPy does. */
function npy(descr: string, shape: string, data: ArrayBufferView, order = "False"): Uint8Array {
  const header = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`.padEnd(117) + "\n";
  const head = Uint8Array.from([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length, 0]);
  const values = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return Uint8Array.from([...head, ...new TextEncoder().encode(header), ...values]);
}

test("arrays are read with their shape", () => {
  const floats = readNpy(npy("<f4", "(2, 3)", Float32Array.of(1, 2, 3, 4, 5, 6)));
  expect(floats).toEqual({ dims: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) });
  expect(readNpy(npy("<i8", "(2,)", BigInt64Array.of(7n, -1n)))).toEqual({ dims: [2], data: Float64Array.of(7, -1) });
  expect(readNpy(npy("|u1", "()", Uint8Array.of(9))).dims).toEqual([]);
});

test("archives are read by name", () => {
  const zip = zipSync({ "x.npy": npy("<f4", "(1,)", Float32Array.of(5)), "readme.txt": new Uint8Array(3) });
  expect(readNpz(zip)).toEqual({ x: { dims: [1], data: Float32Array.of(5) } });
});

test.each<[string, Uint8Array, RegExp]>([
  ["another file", new TextEncoder().encode("<!doctype html>"), /not a NumPy array/],
  ["fewer values than its shape", npy("<f4", "(3, 3)", new Float32Array(2)), /holds 8 bytes/],
  ["big-endian numbers", npy(">f4", "(2,)", new Float32Array(2)), /big-endian/],
  ["complex numbers", npy("<c8", "(1,)", new Float32Array(2)), /c8/],
])("%s is refused", (_, bytes, message) => {
  expect(() => readNpy(bytes)).toThrow(message);
});

test("column-major values are converted to row-major; float16 and texts are read", () => {
  const columns = readNpy(npy("<f4", "(2, 3)", Float32Array.of(1, 4, 2, 5, 3, 6), "True"));
  expect([...Array.from(columns.data)]).toEqual([1, 2, 3, 4, 5, 6]);
  expect(readNpy(npy("<f2", "(2,)", Uint16Array.of(0x3c00, 0xc000))).data).toEqual(Float32Array.of(1, -2));
  expect(() => readNpy(npy("<U2", "(1,)", Uint32Array.of(0x61, 0)))).toThrow(/texts/);
});

test("a file is read piecewise", () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-npy-"));
  try {
    const path = join(folder, "x.npy");
    writeFileSync(path, npy("<i4", "(3, 2)", Int32Array.of(1, 2, 3, 4, 5, 6)));
    const source = openNpy(path);
    expect(source.dims).toEqual([3, 2]);
    expect(source.read(2, 3)).toEqual(Int32Array.of(3, 4, 5));
    writeFileSync(path, npy("<U2", "(2,)", Uint32Array.of(0x61, 0x62, 0x63, 0)));
    expect(openNpy(path).read(0, 2)).toEqual(["ab", "c"]);
    writeFileSync(join(folder, "x.npz"), "no archive");
    expect(() => openNpz(join(folder, "x.npz"))).toThrow(/not a \.npz archive/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.each([
  ["a little more than deflate can hold", 1_032 * 200],
  ["4 GiB", 2 ** 32 - 1],
])("an archive that says it holds %s is refused before memory is taken (store-C12)", (_, size) => {
  const archive = zipSync({ "x.npy": npy("<f4", "(8,)", new Float32Array(8)) });
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  // The size after expansion, in the archive's directory.
  const at = archive.findIndex((_byte, i) => i + 4 <= archive.length && view.getUint32(i, true) === 0x02014b50);
  view.setUint32(at + 24, size, true);
  expect(() => readNpz(archive)).toThrow(/x\.npy declares/);
});

test("an archive past 2 GiB is refused by the sum of its sizes (store-C12)", () => {
  const archive = zipSync({ "x.npy": new Uint8Array(2 ** 21), "y.npy": new Uint8Array(2 ** 21) }, { level: 9 });
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  for (let at = 0; at + 4 <= archive.length; at++) {
    if (view.getUint32(at, true) !== 0x02014b50) continue;
    view.setUint32(at + 20, 2 ** 21, true);
    view.setUint32(at + 24, 1.5 * 2 ** 30, true);
  }
  expect(() => readNpz(archive)).toThrow(/y\.npy declares/);
});
