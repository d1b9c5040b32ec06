// The messages between test-runner.ts and its worker, kept-tests.ts, over a BroadcastChannel.

export const CHANNEL = "selvedge-mutants";

/** Tests of a file: all, or those with these titles. */
export interface TestsOfFile {
  readonly file: string;
  readonly titles?: readonly string[] | undefined;
}

/** Runs all tests of some files, or tries a mutant on tests. */
export type Request =
  | { readonly files: readonly string[] }
  | {
      readonly mutant: string;
      /** Whether it is active while modules are imported. */
      readonly isStatic: boolean;
      /** Number of times that the mutant's code may be run. */
      readonly hitLimit: number | undefined;
      readonly tests: readonly TestsOfFile[];
    };

/** Number of times that each test reached each mutant. */
export interface Coverage {
  readonly static: Record<string, number>;
  readonly perTest: Record<string, Record<string, number>>;
}

export interface RunTest {
  readonly file: string;
  readonly title: string;
  readonly ms: number;
  readonly isSkipped: boolean;
}

export interface Failure {
  /** Title of the test; undefined for what happens around the tests. */
  readonly title: string | undefined;
  readonly message: string;
}

export type Tried =
  { readonly isTimeout: true } | { readonly isSurvivor: true } | (Failure & { readonly file: string });

export type Answer =
  | { readonly isReady: true }
  | { readonly error: string }
  | { readonly tests: readonly RunTest[]; readonly coverage: Coverage }
  | { readonly tried: Tried };
