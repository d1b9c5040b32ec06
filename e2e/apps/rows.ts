// The matrix: every way into an app that is tested. `npm test` runs the slice, the soak all.
import type { Row } from "./row.ts";
import { BARE_ROWS, BUNDLER_ROWS } from "./rows/bundlers.ts";
import { FRAMEWORK_ROWS } from "./rows/frameworks.ts";
import { VITE_ROWS } from "./rows/vite.ts";

/** All rows. */
export const ROWS: readonly Row[] = [...VITE_ROWS, ...BUNDLER_ROWS, ...FRAMEWORK_ROWS, ...BARE_ROWS];
