// Decomposes LogSoftmax into operators with WebGPU kernels; ONNX Runtime has none there for LogSoftmax, and runs it on
// the CPU with copies both ways. With d = x − max x it is d − log Σ exp d, which does not overflow for any length of
// the axis.
import type { NodeSpec } from "../onnx/graph.ts";
import { integerOf } from "../onnx/graph.ts";
import type { Transform } from "../onnx/model.ts";
import { int64Tensor } from "../onnx/tensor-proto.ts";

/** Replaces each LogSoftmax; needs operator set 13, since which it works along one axis. */
export function splitLogSoftmax(): Transform {
  return (model) => {
    for (const graph of model.graph.all())
      for (const node of [...graph.nodes]) {
        if (node.opType !== "LogSoftmax" || node.domain !== "" || model.opset < 13) continue;
        const [input = ""] = node.input;
        const [output = ""] = node.output;
        const axes = [integerOf(node, "axis", -1)];
        const name = (what: string): string => graph.freshName(`${output}/${what}`);
        const put = (opType: string, from: string[], attributes: NonNullable<NodeSpec["attributes"]> = {}): string => {
          const made = name(opType.toLowerCase());
          graph.insertBefore(node, { opType, input: from, output: [made], attributes });
          return made;
        };
        const axis = graph.addInitializer(int64Tensor(name("axis"), [1], axes));
        const isListed = model.opset >= 18;
        const most = put("ReduceMax", isListed ? [input, axis] : [input], isListed ? {} : { axes });
        const apart = put("Sub", [input, most]);
        const sum = put("Log", [put("ReduceSum", [put("Exp", [apart]), axis])]);
        graph.insertBefore(node, { opType: "Sub", input: [apart, sum], output: [output] });
        graph.remove(new Set([node]));
      }
  };
}
