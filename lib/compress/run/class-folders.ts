// Class folders: the usual layout of labelled images, a folder for each class (`photos/cat/1.jpg`). The images are the
// samples, and the folders' names are their labels.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { ARRAYS, IMAGES, TEXTS } from "./sample-files.ts";

/** The images of one class. */
export interface ClassFolder {
  readonly name: string;
  readonly images: readonly string[];
}

/** Lists the class folders in a folder, by name; null where it holds samples itself, or no folder has images. */
export function classFolders(path: string): readonly ClassFolder[] | null {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return null;
  const entries = readdirSync(path, { withFileTypes: true });
  if (entries.some((x) => !x.isDirectory() && [ARRAYS, IMAGES, TEXTS].some((kind) => kind.test(x.name)))) return null;
  const folders = entries
    .filter((x) => x.isDirectory() && !x.name.startsWith("."))
    .map(({ name }) => ({ name, images: imagesIn(join(path, name)) }))
    .filter((x) => x.images.length > 0);
  const byName = folders.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  return folders.length === 0 ? null : byName;
}

/** Lists the images of all classes in turn, so that the first of them show every class; `at` is the folder's place. */
export function inTurn(folders: readonly ClassFolder[]): { readonly image: string; readonly at: number }[] {
  const most = Math.max(0, ...folders.map((x) => x.images.length));
  return Array.from({ length: most }, (_, i) =>
    folders.flatMap(({ images }, at) => (images[i] === undefined ? [] : [{ image: images[i], at }])),
  ).flat();
}

/**
 * Returns the label of each image, in the order of `inTurn`: the class of the folder's name among `names`; else the
 * number that is its name; else its place, where the model has as many classes as there are folders.
 * @throws TypeError naming a folder that is no class
 */
export function classLabels(
  folders: readonly ClassFolder[],
  names: readonly string[] | undefined,
  classes: number | undefined,
): number[][] {
  const numbers = folders.map(({ name }) => labelOf(name, names));
  if (numbers.every((x) => x !== undefined)) return inTurn(folders).map(({ at }) => [numbers[at] ?? 0]);
  const unknown = folders.find((_, i) => numbers[i] === undefined)?.name ?? "";
  if (names !== undefined)
    throw new TypeError(`samples: the folder "${unknown}" is none of the classes (${names.slice(0, 5).join(", ")} …)`);
  if (classes !== undefined && classes !== folders.length)
    throw new TypeError(
      `samples: there are ${folders.length} class folders, but the model has ${classes} classes: give --classes, or name the folders by class number`,
    );
  return inTurn(folders).map(({ at }) => [at]);
}

function labelOf(name: string, names: readonly string[] | undefined): number | undefined {
  if (names === undefined) return /^\d+$/.test(name) ? Number(name) : undefined;
  const plain = (text: string): string =>
    text
      .trim()
      .toLowerCase()
      .replaceAll(/[\s_-]+/g, " ");
  const whole = names.findIndex((x) => plain(x) === plain(name));
  // "tabby, tabby cat": a label may list several words for its class.
  const at = whole === -1 ? names.findIndex((x) => x.split(",").some((y) => plain(y) === plain(name))) : whole;
  return at === -1 ? undefined : at;
}

function imagesIn(folder: string): string[] {
  const names = readdirSync(folder).filter((x) => IMAGES.test(x));
  return names.sort().map((x) => join(folder, x));
}
