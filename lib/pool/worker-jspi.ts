// Entry of the worker for browsers that can suspend wasm on promises (JSPI): WebGPU and CPU from one binary.
import * as ort from "onnxruntime-web/jspi";
import { createOrtBackend } from "../backend/ort.ts";
import { serve } from "./worker.ts";

// ONNX Runtime starts its threads from this same file: those must not listen to the page, or they hang without a word.
if (!self.name.startsWith("em-pthread")) serve(createOrtBackend(ort));
