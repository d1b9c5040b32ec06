"""Exports small models of 20 architectures and packs their graphs without the weights: python pack-graphs.py OUT [NAME…].
Makes e2e/support/exported-graphs.br again, node for node but for one Constant of deberta-v3; needs the packages of
architectures.txt, and brotli. Large tensors become external data, all of them the beginning of one file, weights.bin. OUT is a
brotli stream of, for each model, the length of its name and the name, then the length of its graph and the graph
(exported-graphs.ts)."""
import struct, sys, tempfile
from pathlib import Path
import brotli, onnx, torch, transformers as T
from optimum.exporters.onnx import main_export

BASE = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
TEXT = dict(vocab_size=1000, max_position_embeddings=130, **BASE)
FOUR = dict(BASE, num_hidden_layers=4)
DEBERTA = dict(relative_attention=True, position_buckets=32, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"])
MODERN = dict(cls_token_id=0, bos_token_id=0, sep_token_id=2, eos_token_id=2, pad_token_id=1, reference_compile=False, attn_implementation="eager",
              global_attn_every_n_layers=2, local_attention=16)
LAYERS = dict(hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1])
RESNET = dict(embedding_size=16, layer_type="basic", out_features=["stage4"], **LAYERS)
RT_BASE = dict(embedding_size=16, hidden_sizes=[16, 24, 32, 40], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage2", "stage3", "stage4"])
RT = dict(encoder_hidden_dim=32, encoder_in_channels=[24, 32, 40], backbone=None, backbone_kwargs=None, use_pretrained_backbone=False, use_timm_backbone=False,
          d_model=32, encoder_layers=1, encoder_ffn_dim=48, encoder_attention_heads=4, decoder_in_channels=[32] * 3, decoder_ffn_dim=48, decoder_layers=2,
          decoder_attention_heads=4, num_queries=20, hidden_expansion=0.5, anchor_image_size=None, num_labels=5)
TABLE = dict(use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, d_model=64, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=96,
             decoder_ffn_dim=96, encoder_attention_heads=4, decoder_attention_heads=4, num_queries=20, num_labels=3)
DPT = dict(image_size=64, patch_size=16, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 24, 32, 40], fusion_hidden_size=24, use_auxiliary_head=False)
SOUND = dict(BASE, intermediate_size=96, conv_dim=[32] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, classifier_proj_size=32)
SWIN = dict(image_size=64, embed_dim=24, depths=[1, 1], num_heads=[2, 4], window_size=4, num_labels=5)
EFFICIENT = dict(image_size=64, width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320, dropout_rate=0, num_labels=5)


def rt_detr():
    return T.RTDetrForObjectDetection(T.RTDetrConfig(backbone_config=T.RTDetrResNetConfig(**RT_BASE), **RT))


# Name: model, and the task of optimum's exporter, or what torch's own one needs: input, its sizes, open axes, outputs, opset.
MODELS = {
    "electra": (lambda: T.ElectraForSequenceClassification(T.ElectraConfig(embedding_size=32, num_labels=3, **TEXT)), "text-classification"),
    "deberta-v3": (lambda: T.DebertaV2ForSequenceClassification(T.DebertaV2Config(type_vocab_size=0, num_labels=3, **DEBERTA, **TEXT)), "text-classification"),
    "roberta-ner": (lambda: T.RobertaForTokenClassification(T.RobertaConfig(type_vocab_size=1, num_labels=4, **TEXT)), "token-classification"),
    "modernbert": (lambda: T.ModernBertForSequenceClassification(T.ModernBertConfig(num_labels=3, **MODERN, **TEXT)), "text-classification"),
    "gpt2-cls": (lambda: T.GPT2ForSequenceClassification(T.GPT2Config(vocab_size=1000, n_embd=64, n_layer=2, n_head=4, n_positions=128, num_labels=3, pad_token_id=1)), "text-classification"),
    "t5-encoder": (lambda: T.T5EncoderModel(T.T5Config(vocab_size=1000, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4)), "feature-extraction"),
    "swin": (lambda: T.SwinForImageClassification(T.SwinConfig(**SWIN)), "image-classification"),
    "swin2sr": (lambda: T.Swin2SRForImageSuperResolution(T.Swin2SRConfig(image_size=32, embed_dim=24, depths=[1, 1], num_heads=[2, 2], window_size=4, upscale=2)), "image-to-image"),
    "rt-detr-dynamo": (rt_detr, ("pixel_values", [2, 3, 96, 96], [0], ["logits", "pred_boxes"], 18)),
    "rt-detr": (rt_detr, "object-detection"),
    "dinov2": (lambda: T.Dinov2ForImageClassification(T.Dinov2Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=70, patch_size=14, num_labels=5)), "image-classification"),
    "dpt": (lambda: T.DPTForDepthEstimation(T.DPTConfig(**DPT, **FOUR)), "depth-estimation"),
    "segformer-labels": (lambda: T.SegformerForSemanticSegmentation(T.SegformerConfig(num_attention_heads=[1, 2, 3, 4], decoder_hidden_size=32, num_labels=6, **LAYERS)), "image-segmentation"),
    "convnextv2": (lambda: T.ConvNextV2ForImageClassification(T.ConvNextV2Config(hidden_sizes=[18, 36, 72, 96], depths=[1, 1, 1, 1], num_labels=5)), "image-classification"),
    "efficientnet": (lambda: T.EfficientNetForImageClassification(T.EfficientNetConfig(**EFFICIENT)), "image-classification"),
    "st-qwen": (lambda: T.Qwen2Model(T.Qwen2Config(num_key_value_heads=2, **TEXT)), ("input_ids", [2, 9], [0, 1], ["last_hidden_state"], 20)),
    "vit-dynamo": (lambda: T.ViTForImageClassification(T.ViTConfig(image_size=64, num_labels=5, **BASE)), ("pixel_values", [2, 3, 64, 64], [0], ["logits"], 20)),
    "table-transformer": (lambda: T.TableTransformerForObjectDetection(T.TableTransformerConfig(backbone_config=T.ResNetConfig(**RESNET), **TABLE)), "object-detection"),
    "wav2vec2-ctc": (lambda: T.Wav2Vec2ForCTC(T.Wav2Vec2Config(vocab_size=32, pad_token_id=0, **SOUND)), "automatic-speech-recognition"),
    "wavlm-cls": (lambda: T.WavLMForSequenceClassification(T.WavLMConfig(num_labels=4, **SOUND)), "audio-classification"),
}
BYTES = {onnx.TensorProto.FLOAT: 4, onnx.TensorProto.FLOAT16: 2}


class Outputs(torch.nn.Module):
    """A model whose outputs are a tuple of those that are named; texts have a mask too."""

    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, x, mask=None):
        inputs = dict(pixel_values=x) if mask is None else dict(input_ids=x, attention_mask=mask)
        found = self.model(**inputs)
        return tuple(found[name] for name in self.names)


def export_by_torch(model, path, name, sizes, axes, outputs, opset):
    isText = name == "input_ids"
    inputs = (torch.ones(sizes, dtype=torch.int64), torch.ones(sizes, dtype=torch.int64)) if isText else (torch.rand(sizes),)
    names = [name, "attention_mask"] if isText else [name]
    dynamic = tuple({axis: torch.export.Dim.AUTO for axis in axes} for _ in inputs)
    torch.onnx.export(Outputs(model, outputs).eval(), inputs, str(path), dynamo=True, opset_version=opset, input_names=names, output_names=outputs,
                      dynamic_shapes=dynamic, verbose=False)


def graph_of(name, folder):
    """Returns the exported model of a name."""
    make, how = MODELS[name]
    torch.manual_seed(11)
    model = make().eval()
    # Equal weights, as biases of 0, would be stored once, behind nodes of Identity that trained models do not have.
    norms = [x for key, x in model.named_buffers() if key.endswith(("weight", "bias", "running_mean", "running_var"))]
    with torch.no_grad():
        for x in [*model.parameters(), *norms]: x.add_(0.1 * torch.rand(x.shape))
    path = folder / "model.onnx"
    if isinstance(how, str):
        model.save_pretrained(folder / "source")
        # The exporter of DINOv2 reads the sizes of its example from the file of its processor.
        if name == "dinov2": T.BitImageProcessor(crop_size=dict(height=70, width=70)).save_pretrained(folder / "source")
        main_export(str(folder / "source"), output=str(folder), task=how, library_name="transformers", do_validation=False)
    else: export_by_torch(model, path, *how)
    return onnx.load(path)


def drop(tensor):
    count = 1
    for dim in tensor.dims: count *= dim
    if tensor.data_type not in BYTES or count <= 64: return
    for field in ("raw_data", "float_data", "external_data"): tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in dict(location="weights.bin", offset=0, length=count * BYTES[tensor.data_type]).items():
        tensor.external_data.add(key=key, value=str(value))


def strip(graph):
    for tensor in graph.initializer: drop(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR: drop(attribute.t)
            if attribute.type == onnx.AttributeProto.GRAPH: strip(attribute.g)


packed = b""
for name in sys.argv[2:] or MODELS:
    with tempfile.TemporaryDirectory() as folder: model = graph_of(name, Path(folder))
    strip(model.graph)
    for part in (name.encode(), model.SerializeToString()): packed += struct.pack("<I", len(part)) + part
    print(name, len(part), flush=True)
Path(sys.argv[1]).write_bytes(brotli.compress(packed, quality=11, lgwin=24))
