/** An Identity over one float, in ONNX's protobuf: loading it starts the runtime and its provider. */
export const STARTER: Uint8Array = Uint8Array.from(
  '\b\b:8\n\x10\n\x01x\x12\x01y"\bIdentity\x12\x02idZ\x0f\n\x01x\x12\n\n\b\b\x01\x12\x04\n\x02\b\x01b\x0f\n\x01y\x12\n\n\b\b\x01\x12\x04\n\x02\b\x01B\x02\x10\r',
  (character) => character.charCodeAt(0),
);
