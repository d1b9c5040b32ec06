// all-MiniLM-L6-v2 for tests, made where it is not there yet, by one of the workers that want it: each would download into
// the same folder, and remove that afterwards.
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { makeMiniLm, MINILM_FOLDER } from "../../models/minilm.ts";
import { withLock } from "./lock.ts";

/** Makes the repository; returns its folder. */
export function miniLm(): Promise<string> {
  mkdirSync(dirname(MINILM_FOLDER), { recursive: true });
  return withLock(`${MINILM_FOLDER}.lock`, () => makeMiniLm());
}
