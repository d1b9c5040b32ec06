import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { afterEach, beforeEach, expect, test } from "vitest";
import { classFolders, classLabels } from "./class-folders.ts";
import { firstFeeds, openSamples } from "./samples.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-classes-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Writes a grey image of the given brightness. */
async function image(name: string, value: number): Promise<void> {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  const background = { r: value, g: value, b: value };
  await sharp({ create: { width: 2, height: 2, channels: 3, background } })
    .png()
    .toFile(path);
}

const labelsOf = (names?: readonly string[], classes?: number): number[] =>
  classLabels(classFolders(folder) ?? [], names, classes).flat();

test("a folder for each class gives samples in turn, with labels in the same order", async () => {
  for (const [i, name] of ["owl/a", "owl/b", "owl/c", "bee/x", "fox/y", "fox/z"].entries())
    await image(`${name}.png`, i * 51);
  expect(labelsOf(undefined, 3)).toEqual([0, 1, 2, 1, 2, 2]);
  expect(labelsOf(["fox, red fox", "Owl", "bee", "cow"])).toEqual([2, 0, 1, 0, 1, 1]);
  const samples = await openSamples(folder, [{ name: "x", dtype: "float32", dims: ["n", 3, 2, 2], batchAxis: 0 }], 100);
  const values = (await firstFeeds(samples, 100)).map((x) => Math.round(Number(x["x"]?.data[0]) * 5));
  expect(values).toEqual([3, 4, 0, 5, 1, 2]);
});

test("folders that are numbers are the classes of these numbers", async () => {
  for (const name of ["10", "9", "2"]) await image(`${name}/a.png`, 1);
  expect(labelsOf(undefined, 1_000)).toEqual([2, 9, 10]);
});

test("a folder that is no class, and another number of folders than classes, are refused", async () => {
  for (const name of ["cat", "dog"]) await image(`${name}/a.png`, 1);
  expect(() => labelsOf(["cat", "hen"])).toThrow(/folder "dog" is none of the classes \(cat, hen/);
  expect(() => labelsOf(undefined, 5)).toThrow(/2 class folders, but the model has 5 classes.*--classes/);
});

test("a folder with samples of its own is no folder of classes", async () => {
  await image("cat/a.png", 1);
  writeFileSync(join(folder, "x.npy"), "");
  expect(classFolders(folder)).toBeNull();
});
