// Identity of a build of the package: the page and its workers must be of the same one. `npm run build` writes it here
// and into the workers; code that runs from its source has none, and is not checked.

/** Version and hash of the build; begins with `@` where the code runs from its source. */
export const BUILD_ID: string = "@selvedge-build@";

/** First message of every worker: the build that it is of. */
export interface WorkerReady {
  readonly selvedge: "ready";
  readonly build: string;
}

/**
 * Returns the build of a worker by its first message where it is not this one, or "unknown" for a message of a release
 * without this message; null where both are of one build.
 */
export function otherBuild(first: Partial<WorkerReady>, own: string = BUILD_ID): string | null {
  const { selvedge, build = "unknown" } = first;
  const theirs = selvedge === "ready" ? build : "unknown";
  return own.startsWith("@") || theirs.startsWith("@") || theirs === own ? null : theirs;
}
