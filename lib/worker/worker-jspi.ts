// Entry of the worker for browsers that can suspend wasm on promises (JSPI): WebGPU and CPU from one binary.
import * as ort from "onnxruntime-web/jspi";
import { replaceBlobStreams } from "./backend/blob-streams.ts";
import { createOrtBackend } from "./backend/ort.ts";
import { THREAD_NAME } from "../rpc/messages.ts";
import { beThread } from "./backend/threads.ts";
import type { ThreadScope } from "./backend/threads.ts";
import { serve } from "./serve.ts";

replaceBlobStreams();
// ONNX Runtime starts its threads from this same file.
if (self.name === THREAD_NAME) beThread(self as ThreadScope);
else serve(createOrtBackend(ort));
