"""Exports small models of many architectures, with generated weights, in the Hugging Face layout, and computes reference
answers with Python's onnxruntime: python architectures.py FOLDER [NAME…]. For e2e/specs/engine/architectures.spec.ts,
which installs what it needs: architectures.txt. FOLDER/cases.json lists repository, graph, encoding, feeds and outputs."""
import base64, json, shutil, sys
from pathlib import Path
import numpy as np, onnx, onnxruntime as ort, torch, transformers as T
from optimum.exporters.onnx import main_export
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

OUT, ONLY = Path(sys.argv[1]), sys.argv[2:]
TEXT = dict(vocab_size=1000, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, max_position_embeddings=130)
IMAGE = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
RESNET = dict(embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"])
DETR = dict(use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, d_model=64, encoder_layers=1, decoder_layers=1,
            encoder_ffn_dim=96, decoder_ffn_dim=96, encoder_attention_heads=4, decoder_attention_heads=4, num_queries=12, num_labels=5)
WHISPER = dict(vocab_size=1000, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
               encoder_ffn_dim=128, decoder_ffn_dim=128, max_target_positions=64, pad_token_id=0, bos_token_id=2, eos_token_id=3,
               decoder_start_token_id=2, suppress_tokens=None, begin_suppress_tokens=None)
SEGFORMER = dict(hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 3, 4], decoder_hidden_size=64, num_labels=6)
DISTIL = dict(vocab_size=1000, dim=64, n_layers=2, n_heads=4, hidden_dim=128, max_position_embeddings=130)

# Name: model, task of the exporter, sizes of open dims, graph (by its base name).
ARCHITECTURES = {
    "text-classifier": (lambda: T.BertForSequenceClassification(T.BertConfig(**TEXT, num_labels=3)), "text-classification", {}, "model"),
    "token-classifier": (lambda: T.RobertaForTokenClassification(T.RobertaConfig(**TEXT, num_labels=5)), "token-classification", {}, "model"),
    "cross-encoder": (lambda: T.BertForSequenceClassification(T.BertConfig(**TEXT, num_labels=1)), "text-classification", {}, "model"),
    "fill-mask": (lambda: T.BertForMaskedLM(T.BertConfig(**TEXT)), "fill-mask", {}, "model"),
    "distilbert": (lambda: T.DistilBertModel(T.DistilBertConfig(**DISTIL)), "feature-extraction", {}, "model"),
    "mpnet": (lambda: T.MPNetModel(T.MPNetConfig(**TEXT)), "feature-extraction", {}, "model"),
    "vit": (lambda: T.ViTForImageClassification(T.ViTConfig(**IMAGE, image_size=96, num_labels=7)), "image-classification", dict(height=96, width=96), "model"),
    "mobilenet": (lambda: T.MobileNetV2ForImageClassification(T.MobileNetV2Config(num_labels=7, depth_multiplier=0.35, image_size=96)), "image-classification", dict(height=96, width=96), "model"),
    "convnext": (lambda: T.ConvNextForImageClassification(T.ConvNextConfig(hidden_sizes=[18, 36, 72, 96], depths=[1, 1, 1, 1], num_labels=5)), "image-classification", dict(height=96, width=96), "model"),
    "detr": (lambda: T.DetrForObjectDetection(T.DetrConfig(**DETR, backbone_config=T.ResNetConfig(**RESNET))), "object-detection", dict(height=96, width=128), "model"),
    "yolos": (lambda: T.YolosForObjectDetection(T.YolosConfig(**IMAGE, image_size=[96, 128], patch_size=16, num_detection_tokens=12, num_labels=5)), "object-detection", dict(height=96, width=128), "model"),
    "segformer": (lambda: T.SegformerForSemanticSegmentation(T.SegformerConfig(**SEGFORMER)), "image-segmentation", dict(height=64, width=64), "model"),
    "whisper": (lambda: T.WhisperForConditionalGeneration(T.WhisperConfig(**WHISPER)), "automatic-speech-recognition-with-past", dict(encoder_sequence_length=1500), "encoder_model"),
}
SIZES = dict(batch_size=2, sequence_length=9, num_channels=3)
NUMBERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32, "tensor(bool)": np.bool_}


def feeds_of(session, sizes):
    """Seeded values: ids, masks with an end, token types, pixels and features."""
    made, rng = {}, np.random.default_rng(5)
    for port in session.get_inputs():
        dims = [x if isinstance(x, int) else {**SIZES, **sizes}[x] for x in port.shape]
        dtype = NUMBERS[port.type]
        if dtype is np.float32: value = rng.standard_normal(dims)
        elif "mask" in port.name:
            value = np.ones(dims)
            value[-1, -3:] = 0
        elif "type" in port.name: value = np.arange(np.prod(dims)).reshape(dims) % dims[-1] > dims[-1] // 2
        else: value = rng.integers(4, 900, dims)
        made[port.name] = np.ascontiguousarray(value).astype(dtype)
    return made


def told(tensors):
    return {name: dict(dtype=str(x.dtype), dims=list(x.shape), data=base64.b64encode(x.tobytes()).decode()) for name, x in tensors.items()}


def encodings(path):
    """Other encodings of a graph, as the hub's repositories have them."""
    stem = path.with_suffix("")
    quantize_dynamic(path, f"{stem}_quantized.onnx", per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    small = MatMulNBitsQuantizer(onnx.load(path), block_size=32, is_symmetric=True, accuracy_level=None)
    small.process()
    onnx.save(small.model.model, f"{stem}_q4.onnx")


def main():
    cases = []
    for name, (make, task, sizes, graph) in ARCHITECTURES.items():
        if ONLY and name not in ONLY: continue
        source, folder = OUT / ".source" / name, OUT / name
        for x in (source, folder): shutil.rmtree(x, ignore_errors=True); x.mkdir(parents=True)
        torch.manual_seed(11)
        model = make().eval()
        model.save_pretrained(source)
        # A tokenizer of the right kind is not needed: tensors go in.
        main_export(str(source), output=str(folder), task=task, library_name="transformers", do_validation=False)
        (folder / "onnx").mkdir(exist_ok=True)
        for x in list(folder.glob("*.onnx*")): shutil.move(x, folder / "onnx" / x.name)
        whole = folder / "onnx" / f"{graph}.onnx"
        if name in ("text-classifier", "vit"): encodings(whole)
        if name in ("fill-mask", "yolos"):  # weights beside the graph
            loaded = onnx.load(whole)
            whole.unlink()
            onnx.save(loaded, whole, save_as_external_data=True, location=f"{whole.name}_data", size_threshold=256)
        for path in sorted((folder / "onnx").glob(f"{graph}*.onnx")):
            session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            feeds = feeds_of(session, sizes)
            outputs = dict(zip([x.name for x in session.get_outputs()], session.run(None, feeds)))
            encoding = {"": "fp32", "_quantized": "q8", "_q4": "q4"}.get(path.stem[len(graph):])
            if encoding is not None: cases.append(dict(repo=name, file=graph, dtype=encoding, feeds=told(feeds), outputs=told(outputs)))
        print(name, flush=True)
    (OUT / "cases.json").write_text(json.dumps(cases))


main()
