import { expect, test } from "vitest";
import { assignmentInNode } from "./assignment-node.ts";
import { smallModel } from "../../test-support/compress/fixtures.ts";
import { raiseOpset } from "../simplify/raise-opset.ts";

const clip = () =>
  smallModel({
    opset: 10,
    inputs: { x: [1, 8] },
    outputs: ["y"],
    nodes: [
      { opType: "Tanh", input: ["x"], output: ["a"] },
      { opType: "Clip", input: ["a"], output: ["b"], attributes: { max: { float: 6 } } },
      { opType: "Sigmoid", input: ["b"], output: ["y"] },
    ],
  });

test("an old Clip runs on the CPU, with copies around it, until its operator set is raised", async () => {
  expect(await assignmentInNode(clip().write(), "webgpu")).toEqual({ device: 2, shape: 0, cpu: 1, copies: 2 });
  const raised = clip().transform(raiseOpset(13)).write();
  expect(await assignmentInNode(raised, "webgpu")).toMatchObject({ shape: 0, cpu: 0, copies: 0 });
});

test("a model that cannot be loaded is refused; the error has the end of the log", async () => {
  const bytes = new TextEncoder().encode("no model");
  await expect(assignmentInNode(bytes, "wasm")).rejects.toMatchObject({
    code: "no-backend",
    details: { backend: "wasm", exit: 1 },
  });
});
