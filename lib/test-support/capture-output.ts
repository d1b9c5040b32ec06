// Output of a command in a test of the command line.
import { vi } from "vitest";

/** Passes on what is written to stdout and stderr, in place of the terminal, until `vi.restoreAllMocks()`. */
export function captureOutput(take: (text: string) => void): void {
  for (const stream of [process.stdout, process.stderr])
    vi.spyOn(stream, "write").mockImplementation((text) => {
      take(String(text));
      return true;
    });
}
