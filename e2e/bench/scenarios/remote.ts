// Scenario `remote`: servers as lanes. The client's cost beside a bare fetch (remote-client.ts), a weak device and a server
// that is far away, each alone and together, and what that saves (remote-mixed.ts), and the rate of `selvedge serve` beside
// other servers (remote-serve.ts). Servers are processes of their own on this machine, and share its cores with the
// browser or with the load generator.
import type { Case } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";
import { clientCases } from "./remote-client.ts";
import { mixedCases } from "./remote-mixed.ts";
import { serveCases } from "./remote-serve.ts";

/** Yields the cases in order. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  yield* clientCases(bench);
  yield* mixedCases(bench);
  // No browser takes part in these.
  if (bench.browserName === "chromium") yield* serveCases(bench);
}
