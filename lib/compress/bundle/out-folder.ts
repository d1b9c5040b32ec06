// The folder that `compress` writes to. It may be the folder of the model itself, so no write may land on a file that is
// an input of the same run: the model, its external data, samples, labels. Files are compared by device and inode, which
// sees through links and through names that differ in case alone.
import { accessSync, constants, existsSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";
import { makeFolder } from "../onnx/make-folder.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { writeModelFile, writeWhole } from "../onnx/model-file.ts";
import type { FileSlice } from "../onnx/stored-bytes.ts";

/** A folder to write results to, with the files that must stay as they are. */
export class OutFolder {
  /** Path of the folder. */
  readonly path: string;
  readonly #inputs: readonly string[];

  /** Takes the paths of the inputs, files or folders. */
  constructor(path: string, inputs: readonly string[]) {
    this.path = path;
    this.#inputs = inputs;
  }

  /**
   * Checks that the folder can be written, and that none of these files or folders is an input or holds one; called
   * before the work begins.
   * @throws TypeError naming the folder or the input
   */
  check(names: readonly string[]): void {
    this.#checkWritable();
    for (const name of names) {
      const path = join(this.path, name);
      const input = this.#inputs.find((x) => isSame(x, path) || isInside(x, path));
      if (input === undefined) continue;
      throw new TypeError(`out: writing ${path} would overwrite ${input}, an input of this run: choose another folder`);
    }
  }

  /**
   * Writes a file of the folder, whole or not at all.
   * @throws TypeError where that is an input
   */
  async write(name: string, pieces: readonly FileSlice[]): Promise<void> {
    this.check([name]);
    await writeWhole(join(this.path, name), pieces);
  }

  /** Writes a model, past 2 GB with its weights in a file beside. */
  async writeModel(name: string, model: OnnxModel): Promise<void> {
    this.check([name]);
    await writeModelFile(join(this.path, name), model);
  }

  /** The folder, or the nearest one above it that exists, must be a folder that can be written to. */
  #checkWritable(): void {
    let path = resolve(this.path);
    while (!existsSync(path) && dirname(path) !== path) path = dirname(path);
    if (!statSync(path).isDirectory()) throw new TypeError(`out: ${path} is a file: give a folder`);
    try {
      accessSync(path, constants.W_OK);
    } catch (error) {
      throw new TypeError(`out: ${path} can't be written to: check its permissions, or choose another folder`, {
        cause: error,
      });
    }
  }

  /** Creates the folder where it is missing. */
  async create(): Promise<void> {
    await makeFolder(this.path);
  }
}

function isSame(a: string, b: string): boolean {
  const [x, y] = [a, b].map((path) => statSync(path, { bigint: true, throwIfNoEntry: false }));
  return x !== undefined && y !== undefined && x.dev === y.dev && x.ino === y.ino;
}

function isInside(path: string, folder: string): boolean {
  const isThere = [path, folder].every((x) => statSync(x, { throwIfNoEntry: false }) !== undefined);
  return isThere && realpathSync(path).startsWith(realpathSync(folder) + sep);
}
