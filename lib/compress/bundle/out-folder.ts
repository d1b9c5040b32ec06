// The folder that `compress` writes to. It may be the folder of the model itself, so no write may land on a file that is
// an input of the same run: the model, its external data, samples, labels. Files are compared by device and inode, which
// sees through links and through names that differ in case alone.
import { realpathSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, sep } from "node:path";
import { writeWhole } from "../onnx/model-file.ts";

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
   * Checks that none of these files or folders is an input or holds one; called before the work begins.
   * @throws TypeError naming the input
   */
  check(names: readonly string[]): void {
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
  async write(name: string, pieces: readonly Uint8Array[]): Promise<void> {
    this.check([name]);
    await writeWhole(join(this.path, name), pieces);
  }

  /** Creates the folder where it is missing. */
  async create(): Promise<void> {
    await mkdir(this.path, { recursive: true });
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
