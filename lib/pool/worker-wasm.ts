// Entry of the worker for browsers without JSPI: CPU only.
import * as ort from "onnxruntime-web/wasm";
import { createOrtBackend } from "../backend/ort.ts";
import { serve } from "./worker.ts";

// ONNX Runtime starts its threads from this same file: those must not listen to the page, or they hang without a word.
if (!self.name.startsWith("em-pthread")) serve(createOrtBackend(ort));
