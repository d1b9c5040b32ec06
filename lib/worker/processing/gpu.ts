// Images to tensors on the GPU: the counterpart of image.ts, with the same formula and no read-back. The image is
// copied to a texture as 8-bit sRGB, not premultiplied; a first shader resizes its rows, a second one its columns and
// writes the layout. Both compute the triangle filter's weights on the fly: in f32, which changes a value by less than
// 0.2 of 255 at the largest sizes. Differences from the CPU have another cause: a canvas stores colours premultiplied,
// so that it returns partly transparent ones with an error of up to 1 of 255 over white; a texture keeps them.
//
// A GPU may compute wrongly without an error: the conversion of a known image is compared with the CPU's before the first
// image of a model, which all go to the CPU where it differs. Models have a check of their own (engine/golden-check.ts).
//
// Float32 alone: other dtypes, and images over the device's limits, run on the CPU (prepare.ts chooses). Textures and
// buffers are kept by input and size for the next frame, the most recently used up to a bound. Nothing here awaits, so
// a GPU error belongs to the run that it spoils; ort.ts listens for it.
import type { DeviceTensor } from "../../rpc/backend.ts";
import type { ImageSpec } from "../../core/bundle.ts";
import type { StillImage } from "../../rpc/messages.ts";
import { imageToTensor, normalising } from "./image.ts";
import { planImage } from "./plan-image.ts";
import type { ImagePlan } from "./plan-image.ts";

/** Bound on the number of sizes, and on their bytes, that are kept between runs. */
const KEEP = { sizes: 16, bytes: 64 * 2 ** 20 } as const;
/** Pixels on each side of a workgroup. */
const TILE = 8;

/** The known image, which is enlarged in one axis, reduced in the other and padded; and bound on a difference, of 255. */
const KNOWN = { width: 23, height: 41 } as const;
const KNOWN_SPEC: ImageSpec = {
  channels: "bgr",
  layout: "nchw",
  scale: 1,
  resize: { mode: "fit", width: 20, height: 33 },
};
const KNOWN_BOUND = 1;

const SHADER = /* wgsl */ `
struct Plan {
  source: vec2u,            // the image's width and height
  picture: vec2u,           // its size after resizing
  tensor: vec2u,            // size of the tensor, which the image fills from the top left
  scale: vec2f,             // source size / scaled size
  origin: vec2u,            // columns and rows of the scaled image that are cropped before the picture
  step: u32,                // stride from one pixel to the next in a row, in values
  plane: u32,               // stride from one channel to the next, in values
  channels: u32,
  mix: array<vec4f, 3>,     // per channel: weights of red, green and blue, and the offset subtracted
}
@group(0) @binding(0) var<uniform> plan: Plan;
@group(0) @binding(1) var image: texture_2d<f32>;
@group(0) @binding(2) var<storage, read_write> rows: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;

struct Span { start: u32, end: u32, centre: f32, reach: f32 }

fn spanOf(at: u32, scale: f32, size: u32) -> Span {
  let reach = max(1.0, scale);
  let centre = (f32(at) + 0.5) * scale;
  let start = u32(max(0.0, floor(centre - reach - 0.5) + 1.0));
  return Span(start, min(size, u32(ceil(centre + reach - 0.5))), centre, reach);
}

fn weightOf(at: u32, span: Span) -> f32 {
  return max(0.0, 1.0 - abs(f32(at) + 0.5 - span.centre) / span.reach);
}

@compute @workgroup_size(${TILE}, ${TILE})
fn across(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= plan.picture.x || id.y >= plan.source.y) { return; }
  let span = spanOf(id.x + plan.origin.x, plan.scale.x, plan.source.x);
  var sum = vec3f(0.0);
  var total = 0.0;
  for (var x = span.start; x < span.end; x++) {
    let weight = weightOf(x, span);
    let pixel = textureLoad(image, vec2u(x, id.y), 0);
    sum += weight * (pixel.rgb * pixel.a + (1.0 - pixel.a));
    total += weight;
  }
  rows[id.y * plan.picture.x + id.x] = vec4f(255.0 * sum / total, 0.0);
}

@compute @workgroup_size(${TILE}, ${TILE})
fn down(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= plan.tensor.x || id.y >= plan.tensor.y) { return; }
  let at = (id.y * plan.tensor.x + id.x) * plan.step;
  if (id.x >= plan.picture.x || id.y >= plan.picture.y) {
    for (var channel = 0u; channel < plan.channels; channel++) { values[at + channel * plan.plane] = 0.0; }
    return;
  }
  let span = spanOf(id.y + plan.origin.y, plan.scale.y, plan.source.y);
  var sum = vec3f(0.0);
  var total = 0.0;
  for (var y = span.start; y < span.end; y++) {
    let weight = weightOf(y, span);
    sum += weight * rows[y * plan.picture.x + id.x].xyz;
    total += weight;
  }
  let pixel = sum / total;
  for (var channel = 0u; channel < plan.channels; channel++) {
    let mix = plan.mix[channel];
    values[at + channel * plan.plane] = dot(mix.xyz, pixel) - mix.w;
  }
}
`;

/** Device resources for one size of image. */
interface FrameBuffers {
  readonly texture: GPUTexture;
  readonly buffers: readonly GPUBuffer[];
  readonly group: GPUBindGroup;
  readonly plan: ImagePlan;
  readonly tensor: DeviceTensor;
  readonly bytes: number;
}

/** The compiled shader. */
interface Program {
  readonly layout: GPUBindGroupLayout;
  readonly across: GPUComputePipeline;
  readonly down: GPUComputePipeline;
}

/** Converts the images of one model to tensors on a device. */
export class GpuImages {
  readonly #device: GPUDevice;
  /** By input and size, the most recently used last. */
  readonly #frames: Map<string, FrameBuffers> = new Map();
  #program: Program | null = null;
  #checked: Promise<void> | null = null;
  #isWrong = false;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Compares the conversion of a known image with the CPU's, once; where it differs, `prepare` converts none. */
  check(): Promise<void> {
    this.#checked ??= this.#compare().catch(() => {
      this.#checked = null; // the device is lost, and with it this run
    });
    return this.#checked;
  }

  async #compare(): Promise<void> {
    const data = new Uint8ClampedArray(KNOWN.width * KNOWN.height * 4).map((_, i) =>
      i % 4 === 3 ? 255 : (i * 89) % 256,
    );
    const image = { ...KNOWN, data };
    const made = this.prepare("", image, KNOWN_SPEC);
    if (made === null) return;
    const expected = imageToTensor(image, KNOWN_SPEC, "float32").data as Float32Array;
    const { MAP_READ, COPY_DST } = GPUBufferUsage;
    const read = this.#device.createBuffer({ size: expected.byteLength, usage: MAP_READ | COPY_DST });
    try {
      const encoder = this.#device.createCommandEncoder();
      encoder.copyBufferToBuffer(made.buffer, 0, read, 0, expected.byteLength);
      this.#device.queue.submit([encoder.finish()]);
      await read.mapAsync(GPUMapMode.READ);
      const values = new Float32Array(read.getMappedRange());
      this.#isWrong = !expected.every((x, i) => Math.abs((values[i] ?? NaN) - x) <= KNOWN_BOUND);
    } finally {
      read.destroy();
      this.close();
    }
  }

  /**
   * Converts an image to a float32 tensor that stays on the device, valid until `trim` or the next image of the same
   * input and size; closes a bitmap. Returns null, and leaves the image alone, where the device can't hold it, and for
   * the filters of other libraries.
   */
  prepare(input: string, image: StillImage, spec: ImageSpec): DeviceTensor | null {
    if (spec.resize.mode === "resample" || this.#isWrong) return null;
    const plan = planImage(image.width, image.height, spec.resize);
    if (!this.#canHold(image, plan)) return null;
    const program = (this.#program ??= compile(this.#device));
    const key = `${image.width} ${image.height} ${input}`;
    const frame = this.#frames.get(key) ?? allocate(this.#device, program, image, plan, spec);
    this.#frames.delete(key);
    this.#frames.set(key, frame);
    const { height } = image; // a closed bitmap has none
    this.#upload(image, frame.texture);
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setBindGroup(0, frame.group);
    pass.setPipeline(program.across);
    pass.dispatchWorkgroups(Math.ceil(plan.pictureWidth / TILE), Math.ceil(height / TILE));
    pass.setPipeline(program.down);
    pass.dispatchWorkgroups(Math.ceil(plan.width / TILE), Math.ceil(plan.height / TILE));
    pass.end();
    this.#device.queue.submit([encoder.finish()]);
    return frame.tensor;
  }

  /**
   * Frees the least recently used resources, down to the bound. Between runs only: a run may use all that it was given.
   */
  trim(): void {
    let bytes = 0;
    for (const frame of this.#frames.values()) bytes += frame.bytes;
    for (const [key, frame] of this.#frames) {
      if (bytes <= KEEP.bytes && this.#frames.size <= KEEP.sizes) return;
      bytes -= frame.bytes;
      this.#free(key, frame);
    }
  }

  /** Frees all resources. */
  close(): void {
    for (const [key, frame] of this.#frames) this.#free(key, frame);
  }

  #canHold(image: StillImage, plan: ImagePlan): boolean {
    const { maxTextureDimension2D, maxStorageBufferBindingSize, maxBufferSize } = this.#device.limits;
    const most = Math.min(maxStorageBufferBindingSize, maxBufferSize);
    return (
      Math.max(image.width, image.height) <= maxTextureDimension2D &&
      rowBytes(image, plan) <= most &&
      plan.width * plan.height * 3 * 4 <= most
    );
  }

  #upload(image: StillImage, texture: GPUTexture): void {
    const { queue } = this.#device;
    const { width, height } = image;
    if ("data" in image) {
      queue.writeTexture({ texture }, image.data, { bytesPerRow: width * 4 }, { width, height });
      return;
    }
    queue.copyExternalImageToTexture(
      { source: image },
      { texture, premultipliedAlpha: false, colorSpace: "srgb" },
      { width, height },
    );
    image.close();
  }

  #free(key: string, frame: FrameBuffers): void {
    this.#frames.delete(key);
    frame.texture.destroy();
    for (const buffer of frame.buffers) buffer.destroy();
  }
}

function compile(device: GPUDevice): Program {
  const visibility = GPUShaderStage.COMPUTE;
  const layout = device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility, buffer: { type: "uniform" } },
      { binding: 1, visibility, texture: {} },
      { binding: 2, visibility, buffer: { type: "storage" } },
      { binding: 3, visibility, buffer: { type: "storage" } },
    ],
  });
  const module = device.createShaderModule({ code: SHADER });
  const pipeline = (entryPoint: "across" | "down"): GPUComputePipeline =>
    device.createComputePipeline({
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint },
    });
  return { layout, across: pipeline("across"), down: pipeline("down") };
}

function allocate(
  device: GPUDevice,
  program: Program,
  image: StillImage,
  plan: ImagePlan,
  spec: ImageSpec,
): FrameBuffers {
  const channels = spec.channels === "gray" ? 1 : 3;
  const { COPY_DST, COPY_SRC, STORAGE, UNIFORM } = GPUBufferUsage;
  const texture = device.createTexture({
    size: [image.width, image.height],
    format: "rgba8unorm",
    usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST | GPUTextureUsage.RENDER_ATTACHMENT,
  });
  const described = describe(image, plan, spec);
  const uniform = device.createBuffer({ size: described.byteLength, usage: UNIFORM | COPY_DST });
  device.queue.writeBuffer(uniform, 0, described);
  const rows = device.createBuffer({ size: rowBytes(image, plan), usage: STORAGE });
  // ONNX Runtime binds whole vectors of four.
  const size = Math.ceil((plan.width * plan.height * channels) / 4) * 16;
  const values = device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
  const group = device.createBindGroup({
    layout: program.layout,
    entries: [
      { binding: 0, resource: { buffer: uniform } },
      { binding: 1, resource: texture.createView() },
      { binding: 2, resource: { buffer: rows } },
      { binding: 3, resource: { buffer: values } },
    ],
  });
  const dims = spec.layout === "nchw" ? [1, channels, plan.height, plan.width] : [1, plan.height, plan.width, channels];
  const bytes = image.width * image.height * 4 + described.byteLength + rows.size + size;
  const tensor = { dtype: "float32", dims, buffer: values } as const;
  return { texture, buffers: [uniform, rows, values], group, plan, tensor, bytes };
}

/** Bytes of the image after its rows are resized: four floats per pixel. */
function rowBytes(image: StillImage, plan: ImagePlan): number {
  return plan.pictureWidth * image.height * 16;
}

/** Encodes the shader's Plan. */
function describe(image: StillImage, plan: ImagePlan, spec: ImageSpec): ArrayBuffer {
  const buffer = new ArrayBuffer(112);
  const { channels, step, plane, mix } = normalising(plan, spec);
  const { pictureWidth, pictureHeight } = plan;
  new Uint32Array(buffer, 0, 6).set([image.width, image.height, pictureWidth, pictureHeight, plan.width, plan.height]);
  new Float32Array(buffer, 24, 2).set([image.width / plan.scaledWidth, image.height / plan.scaledHeight]);
  new Uint32Array(buffer, 32, 5).set([plan.left, plan.top, step, plane, channels]);
  mix.forEach(({ shares, factor, shift }, channel) => {
    new Float32Array(buffer, 64 + channel * 16, 4).set([...shares.map((share) => share * factor), shift]);
  });
  return buffer;
}
