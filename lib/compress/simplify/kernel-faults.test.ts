import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { KERNEL_FAULTS } from "../../test-support/compress/kernel-faults.ts";
import { runInChildProcess } from "../run/child-process.ts";
import type { ChildProcessRun } from "../run/child-process.ts";
import { sqnr } from "../run/metric.ts";
import { DISABLED } from "../run/session.ts";

/** The reference: no passes, on the CPU. */
const PLAIN = { [DISABLED]: "MatmulTransposeFusion" };

function ratio(run: ChildProcessRun, reference: ChildProcessRun): number {
  return sqnr([{ outputs: run.outputs[0] ?? {}, reference: reference.outputs[0] ?? {} }]);
}

test.each(KERNEL_FAULTS.map((x) => [x.id, x] as const))(
  "%s is still in the installed ONNX Runtime, and is avoided",
  { timeout: 60_000 },
  async (_, fault) => {
    const { model, feed } = fault.show();
    const reference = await runInChildProcess(model.write(), "cpu", PLAIN, [feed]);
    expect(reference.exit).toBe(0);
    const shown = await runInChildProcess(model.write(), fault.provider, {}, [feed]);
    const isThere = fault.effect === "crash" ? shown.exit !== 0 : ratio(shown, reference) < 20;
    expect(isThere, `mended upstream: ${fault.id}; remove its workaround in ${fault.avoidedIn}`).toBe(true);
    const session = fault.avoid(model);
    const avoided = await runInChildProcess(model.write(), fault.provider, session, [feed]);
    expect(avoided.exit).toBe(0);
    expect(ratio(avoided, reference)).toBeGreaterThan(60);
    expect(existsSync(fault.avoidedIn)).toBe(true);
  },
);
