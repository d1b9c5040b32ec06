import { expect, test } from "vitest";
import { largestDifference, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { splitLogSoftmax } from "./split-log-softmax.ts";

test.each([
  [13, -1],
  [17, 1],
  [18, 0],
])(
  "operator set %d, axis %d: decomposed LogSoftmax has the same outputs, for large numbers too",
  async (opset, axis) => {
    const make = () =>
      smallModel({
        opset,
        inputs: { x: [3, 5, 7] },
        outputs: ["y"],
        nodes: [{ opType: "LogSoftmax", input: ["x"], output: ["y"], attributes: { axis } }],
      });
    const feeds = { x: { dims: [3, 5, 7], data: seededFloats(105).map((x) => 200 * x) } };
    const model = make().transform(splitLogSoftmax());
    expect(model.graph.nodes.map((x) => x.opType)).toEqual(["ReduceMax", "Sub", "Exp", "ReduceSum", "Log", "Sub"]);
    const [[before = []], [now = []]] = [await runModel(make().write(), feeds), await runModel(model.write(), feeds)];
    expect(now).toHaveLength(105);
    expect(largestDifference(before, now)).toBeLessThan(1e-4);
  },
);
